"""Golden files of networks."""

import json

import pytest
import torch
from safetensors import safe_open

from sharpbit import model as models
from sharpbit.arch import ARCHITECTURES


class Golden:
    """What the authors' code gave: tensors under `state/`, `input/`, `output/`, `grad/`, and how near we must come."""

    def __init__(self, path):
        with safe_open(path, "pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.tolerance = json.loads(file.metadata()["meta"])["tolerance"]

    def __getitem__(self, key):
        return self.tensors[key]

    def part(self, prefix):
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    def model(self, arch, prefix="state/", **config):
        """The network `arch` with the weights under `prefix`; its sizes from them, where none are given."""
        state = self.part(prefix)
        if not config:
            model = models.from_state(state, "golden")
            assert model.arch.name == arch
            return model
        model = models.build(arch, **config)
        model.net.load_state_dict(model.arch.rename(state))
        return model

    def check(self, value, key):
        expected = self[key]
        torch.testing.assert_close(value, expected, **{"rtol": 0, **self.tolerance["output"]})

    def check_weights(self, net, prefix):
        expected = ARCHITECTURES["plain"].rename(self.part(prefix))
        own = net.state_dict()
        assert set(own) == set(expected)
        for name, weight in own.items():
            torch.testing.assert_close(weight, expected[name], rtol=0, **self.tolerance["converted"])

    def check_gradients(self, net):
        expected = self.part("grad/")
        assert set(expected) == {name for name, _ in net.named_parameters()}
        for name, weight in net.named_parameters():
            torch.testing.assert_close(weight.grad, expected[name], **self.tolerance["grad"])


@pytest.fixture
def golden(golden_path):
    """The golden file of a name."""
    return lambda name: Golden(golden_path(name))
