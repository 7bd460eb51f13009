"""The variants of the plain chain: each is exported with equal results, has both forms, and has the shortest config."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from sharpbit import model as models
from sharpbit.arch.plain import Config, Layer
from sharpbit.errors import UsageError
from sharpbit.export.onnx import export
from sharpbit.reparam.receipt import receipt

VARIANTS = {
    "prelu": {"act": "prelu"},
    "shortcut": {"skip": True, "clip": "none"},
    "clipped by relu": {"clip": "relu"},
    "clipped by relu, prelu": {"clip": "relu", "act": "prelu"},
    "irregular": {"layers": [[7, 5, "prelu"], [4, 1, "none"], [30, 3, "none"]], "clip": "none"},
}


@pytest.fixture(params=VARIANTS)
def model(request):
    torch.manual_seed(3)
    return models.build("plain", scale=3, blocks=2, width=8, **VARIANTS[request.param])


def test_onnx(model, tmp_path):
    header = export(model, tmp_path / "a.onnx")
    assert header.parameters == model.parameters
    session = ort.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    for height, width in [(1, 1), (5, 8)]:
        x = torch.rand(1, 3, height, width)
        with torch.no_grad():
            expected = model.net(x).numpy()
        assert np.abs(session.run(None, {"picture": x.numpy()})[0] - expected).max() < 1e-5


@pytest.mark.parametrize("form", ["plain", "et"])
def test_forms(model, form):
    after = models.reparameterize(model, form)
    assert receipt(model.net, after.net, 3).difference < 1e-5


def test_files(model, tmp_path):
    models.save(model, tmp_path / "a.safetensors")
    again = models.load(tmp_path / "a.safetensors")
    assert again.config == model.config
    x = torch.rand(1, 3, 6, 5)
    assert torch.equal(again.net(x), model.net(x))


def test_the_shortest_config():
    for options in ({}, {"skip": True}, {"act": "prelu", "clip": "none"}, {"clip": "relu"}):
        config = Config(3, 4, 16, **options)
        clip = "none" if config.clip == "relu" else config.clip
        assert Config.of(3, config.chain, skip=config.skip, clip=clip) == config
    layers = (Layer(8, 5), Layer(27, 3, "none"))
    assert Config.of(3, layers, clip="clamp").layers == layers


def test_wrong_options_are_named():
    with pytest.raises(UsageError, match="relu, prelu, none after a convolution, not 'gelu'"):
        models.build("plain", scale=2, act="gelu")
    with pytest.raises(UsageError, match="clamp, relu, none, not 'tanh'"):
        models.build("plain", scale=2, clip="tanh")
