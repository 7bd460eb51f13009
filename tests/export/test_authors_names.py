"""Files for the programs of the authors: the names and the bits of what they published."""

import copy
import os
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import sharpbit
from sharpbit import model as models
from sharpbit.arch import ARCHITECTURES
from sharpbit.errors import ModelError, UsageError
from sharpbit.export import EXPORTS
from sharpbit.export.authors import export, named, unnamed_bits
from sharpbit.quant import recorded
from sharpbit.quant.core import METHODS, quantizers
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq.published_clipping import bounds

CONVERTED = [f"{family}_{size}_x{scale}" for family, sizes in {
    "ABPN": ("M4C28", "M6C40"), "ECBSR": ("M4C16", "M4C32", "M6C40"),
}.items() for size in sizes for scale in (2, 3, 4)]  # fmt: skip
KNOWN = ARCHITECTURES["craft"].clipped


def written(model, path):
    sharpbit.export(model, path, overwrite=True)
    return torch.load(path, weights_only=True)


def assert_same(ours, theirs):
    assert list(ours) == list(theirs) or set(ours) == set(theirs)
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


def test_every_released_file_of_etds_is_written_as_it_was(shared, tmp_path):
    paths = sorted((shared / "weights" / "etds").rglob("*.pth"))
    assert len(paths) == 53
    for path in paths:
        assert_same(written(models.load(path), tmp_path / "out.pth"), torch.load(path, weights_only=True))


@pytest.mark.parametrize("name", CONVERTED)
def test_converted_networks_are_the_released_ones(shared, tmp_path, name):
    family, size, scale = name.split("_")
    folder = shared / "weights" / "etds" / family
    after = models.reparameterize(models.load(folder / f"{name}.pth"), "et")
    ours = written(after, tmp_path / "out.pth")
    assert_same(ours, torch.load(folder / f"{family}_ET_{size}_{scale}.pth", weights_only=True))
    models.save(after, tmp_path / "out.safetensors")  # which keeps what it was made of
    assert_same(named(models.load(tmp_path / "out.safetensors")), ours)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_converted_etds(golden_path, scale):
    tensors = load_file(golden_path(f"etds_x{scale}"))
    state = {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}
    theirs = {key.removeprefix("output/converted/"): value for key, value in tensors.items() if "/converted/" in key}
    ours = named(models.reparameterize(models.from_state(state, "golden"), "et"))
    assert set(ours) == set(theirs)
    assert all(torch.allclose(ours[key], value, atol=1e-6) for key, value in theirs.items())


def test_craft_in_float(shared, tmp_path):
    path = shared / "weights" / "craft_x4_ntire2024.pth"
    ours = written(models.load(path), tmp_path / "out.pth")
    assert list(ours) == ["params"]
    assert_same(ours["params"], torch.load(path, weights_only=True)["params"])


def published(shared, golden_path, bits):
    """The state of the authors' quantized network: its float weights, and the stored bounds and position linears."""
    stored = load_file(golden_path(f"craft_ptq_adc_{bits}bit"))
    state = torch.load(shared / "weights" / "craft_x4_ntire2024.pth", weights_only=True)["params"]
    state = {key: value for key, value in state.items() if not (".pos.pos" in key and key.split(".")[-2] == "2")}
    return {**state, **{key.removeprefix("state/"): value for key, value in stored.items() if key.startswith("state/")}}


@pytest.mark.parametrize("bits", [4, 8])
def test_craft_quantized_is_read_and_written_back(shared, golden_path, tmp_path, bits):
    state = published(shared, golden_path, bits)
    torch.save({"params": state}, tmp_path / f"CRAFT_{bits}bit_x4.pth")
    model = models.load(tmp_path / f"CRAFT_{bits}bit_x4.pth")
    own = dict(quantizers(model.net))
    assert own["conv_after_body.act"].bits == bits
    pairs = bounds(state, KNOWN)
    assert set(pairs) == set(own)
    assert all(torch.equal(own[name].range.lo, low) for name, (low, _) in pairs.items())
    assert all(torch.equal(own[name].range.hi, high) for name, (_, high) in pairs.items())
    ours = written(model, tmp_path / "out.pth")["params"]
    assert set(ours) == set(state)
    assert all(ours[key].shape == value.shape for key, value in state.items())
    idle = {key for key in state if ".pos." in key and ".quantizer." in key}
    assert len(idle) == 448
    assert_same({key: ours[key] for key in ours.keys() - idle}, {key: state[key] for key in state.keys() - idle})
    models.save(model, tmp_path / "again.safetensors")
    assert_same(named(models.load(tmp_path / "again.safetensors")), ours)


@pytest.fixture
def small():
    torch.manual_seed(0)
    model = models.build("craft", scale=2, width=8, depths=(1,), heads=2)
    plan = Plan.after_training(model.arch.rounding, 4, METHODS["minmax"].maps)
    return recorded.calibrate(recorded.insert_quantizers(model, plan, "minmax"), [torch.rand(2, 3, 16, 16)])


class Theirs(nn.Module):
    """A stand-in for the authors' class: whatever tensors it is given, in modules of modules."""

    def __init__(self, state):
        super().__init__()
        for key, value in state.items():
            *places, name = key.split(".")
            part = self
            for place in places:
                if not hasattr(part, place):
                    part.add_module(place, nn.Module())
                part = getattr(part, place)
            if value.is_floating_point():
                part.register_parameter(name, nn.Parameter(value.clone()))
            else:
                part.register_buffer(name, value.clone())


def pickled(state, path, monkeypatch, **more):
    """A file with a whole network of a class that nobody here can import."""
    module = types.ModuleType("basicsr_stand_in")
    module.Q_CRAFT = type("Q_CRAFT", (Theirs,), {"__module__": "basicsr_stand_in"})
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "basicsr_stand_in", module)
        net = module.Q_CRAFT(state)
        for key, value in more.items():
            setattr(net, key, value)
        torch.save(net, path)


def test_a_pickled_network_is_read_without_its_class(small, tmp_path, monkeypatch):
    pickled(named(small), tmp_path / "q_4bit.pth", monkeypatch)
    x = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        assert torch.equal(models.load(tmp_path / "q_4bit.pth").net(x), small.net(x))


def test_a_name_without_bits_is_said(small):
    assert "put 4bit into it" in unnamed_bits(small, Path("craft.pth"))
    assert unnamed_bits(small, Path("craft_4bit.pth")) == ""
    assert unnamed_bits(models.build("espcn", scale=2), Path("espcn.pth")) == ""


class Payload:
    """Something that runs a program when it is unpickled."""

    def __init__(self, function, *given):
        self.made = (function, given)

    def __reduce__(self):
        return self.made


def test_nothing_of_a_pickled_network_is_run(small, tmp_path, monkeypatch):
    mark = tmp_path / "ran"
    text = f"open({str(mark)!r}, 'w')"
    for number, payload in enumerate((Payload(exec, text), Payload(eval, text))):
        path = tmp_path / f"{number}_4bit.pth"
        pickled(named(small), path, monkeypatch, extra=payload)
        assert models.load(path).arch.name == "craft"
    for number, payload in enumerate(
        (Payload(subprocess.call, ["touch", str(mark)]), Payload(Path.touch, mark), Payload(os.system, f"touch {mark}"))
    ):
        path = tmp_path / f"alone{number}.pth"
        torch.save(payload, path)
        with pytest.raises(ModelError, match="can run programs"):
            models.load(path)
    assert not mark.exists()


def test_what_the_authors_have_no_names_for(small, tmp_path):
    with pytest.raises(UsageError, match="frozen"):
        named(recorded.freeze(small))
    with pytest.raises(UsageError, match="frozen"):
        models.save(recorded.freeze(small), tmp_path / "frozen.safetensors")
        named(models.load(tmp_path / "frozen.safetensors"))
    with pytest.raises(UsageError, match="read, but not written"):
        named(models.build("span", scale=2, **ARCHITECTURES["span"].small))
    graph = replace(models.build("graph", scale=2), about={"name": "theirs"})
    with pytest.raises(UsageError, match="theirs was read from the file of somebody else"):
        named(graph)
    with pytest.raises(UsageError, match="theirs is none"):
        EXPORTS["tflite"](graph, tmp_path / "x.tflite")
    with pytest.raises(UsageError, match="theirs is none"):
        EXPORTS["native"](graph, tmp_path / "x.sharpbit")
    with pytest.raises(UsageError, match=r"\.pth"):
        export(small, tmp_path / "x.onnx")


def test_a_missing_bound_is_said(small, tmp_path):
    state = dict(named(small))
    del state["qact_inpt2.quantizer.max_val"]
    torch.save(state, tmp_path / "q_4bit.pth")
    with pytest.raises(ModelError, match="qact_inpt2"):
        models.load(tmp_path / "q_4bit.pth")
    state = copy.copy(named(small))
    torch.save({**state, "qact_inpt2.quantizer.max_val": torch.zeros(3)}, tmp_path / "q_4bit.pth")
    with pytest.raises(ModelError, match="conv_after_body"):
        models.load(tmp_path / "q_4bit.pth")
