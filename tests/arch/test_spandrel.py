"""Weights that only spandrel knows, by a stand-in of its interface: as a graph where that can be, else as they are."""

import importlib
import sys

import numpy as np
import pytest
import torch

import sharpbit
from sharpbit.errors import BrokenPackage, ModelError, UsageError
from sharpbit.quant import recorded
from spandrel_stand_in import CODE


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    def write(code=CODE):
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / "spandrel.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.delitem(sys.modules, "spandrel", raising=False)
        return importlib.import_module("spandrel") if code is CODE else None

    yield write
    sys.modules.pop("spandrel", None)


def weights(net, path):
    torch.manual_seed(0)
    torch.save(net.state_dict(), path)
    return path


def image(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_known_operators_become_a_graph(stand_in, tmp_path, channels):
    net = stand_in().Plain(channels)
    path = weights(net, tmp_path / "plain.pth")
    model = sharpbit.load(path)
    assert (model.arch.name, model.scale, model.about["name"]) == ("graph", 2, "plain")
    if channels == 3:
        torch.testing.assert_close(model.net(image(9, 7)), net(image(9, 7)), atol=1e-5, rtol=0)
    sharpbit.save(model, tmp_path / "own.safetensors")
    assert sharpbit.load(tmp_path / "own.safetensors").scale == 2


def test_others_stay_what_they_are(stand_in, tmp_path):
    """Sides are continued to what the network wants; it runs in upscale, and is quantized after training."""
    net = stand_in().Tokens(3)
    path = weights(net, tmp_path / "tokens.pth")
    model = sharpbit.load(path)
    assert (model.arch.name, model.scale, model.config.multiple, model.config.least) == ("spandrel:Tokens", 2, 8, 16)
    torch.testing.assert_close(model.net(image(16, 24)), net(image(16, 24)))
    assert model.net(image(9, 21)).shape == (1, 3, 18, 42)
    pixels = np.random.default_rng(0).integers(90, 160, (20, 30, 3)).astype(np.uint8)
    assert sharpbit.upscale(pixels, model=path, threads=1).shape == (40, 60, 3)
    after = recorded.calibrate(recorded.insert_quantizers(model), [image(16, 16)])
    apart = (after.net(image(16, 16)) - model.net(image(16, 16))).detach().abs().mean()
    assert 0 < float(apart) < 0.05
    with pytest.raises(UsageError, match=r"spandrel:Tokens is code that no \.safetensors file holds"):
        sharpbit.save(model, tmp_path / "own.safetensors")


@pytest.mark.slow
def test_others_are_exported(stand_in, tmp_path):
    model = sharpbit.load(weights(stand_in().Tokens(3), tmp_path / "tokens.pth"))
    sharpbit.export(model, tmp_path / "tokens.onnx")
    pixels = np.random.default_rng(0).integers(90, 160, (16, 24, 3)).astype(np.uint8)
    expected = sharpbit.upscale(pixels, model=tmp_path / "tokens.pth", threads=1)
    found = sharpbit.upscale(pixels, model=tmp_path / "tokens.onnx", threads=1)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_none_that_is_an_upscaler(stand_in, tmp_path):
    with pytest.raises(ModelError, match="from 5 to 5 channels"):
        sharpbit.load(weights(stand_in().Plain(5), tmp_path / "five.pth"))
    with pytest.raises(ModelError, match="images that are square"):
        sharpbit.load(weights(stand_in().Plain(3), tmp_path / "square.pth"))


def test_what_spandrel_does_not_know_either(stand_in, tmp_path):
    stand_in()
    torch.save({"strange": torch.zeros(2)}, tmp_path / "strange.pth")
    with pytest.raises(ModelError, match=r"no network that sharpbit knows.*does not open it either .*of mine\)$"):
        sharpbit.load(tmp_path / "strange.pth")


def test_the_way_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("sharpbit.model.of_spandrel.find_spec", lambda name: None)
    torch.save({"strange": torch.zeros(2)}, tmp_path / "strange.pth")
    with pytest.raises(ModelError, match=r"holds no network that sharpbit knows.*pip install 'sharpbit\[spandrel\]'$"):
        sharpbit.load(tmp_path / "strange.pth")


def test_one_that_is_broken(stand_in, tmp_path):
    stand_in("raise RuntimeError('operator torchvision::nms does not exist')")
    torch.save({"strange": torch.zeros(2)}, tmp_path / "strange.pth")
    with pytest.raises(BrokenPackage, match=r"needs the package spandrel.*nms does not exist"):
        sharpbit.load(tmp_path / "strange.pth")


def test_what_was_stated_is_an_error_of_ours(stand_in, tmp_path):
    stand_in()
    path = weights(importlib.import_module("spandrel").Plain(3), tmp_path / "plain.pth")
    with pytest.raises(ModelError, match="do not fit"):
        sharpbit.load(path, arch="espcn", scale=2)
