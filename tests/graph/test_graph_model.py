"""Networks of others as models: loaded, saved, exported, quantized and inspected as any other."""

import warnings

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sharpbit
from sharpbit import model as models
from sharpbit.errors import ModelError, UsageError
from sharpbit.graph import IMAGE, Graph, Node
from sharpbit.graph.geometry import geometry
from sharpbit.model.foreign import of_module


class Residual(nn.Module):
    """An ordinary network: residual blocks with PReLU, a concatenation, a skip of the image."""

    def __init__(self, width=8, scale=2):
        super().__init__()
        torch.manual_seed(0)
        self.scale = scale
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.PReLU(width),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(2)
        )
        self.last = nn.Conv2d(2 * width, 3 * scale**2, 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.2)

    def forward(self, x):
        first = y = self.first(x)
        for block in self.blocks:
            y = y + block(y)
        y = F.pixel_shuffle(self.last(torch.cat([first, y], 1)), self.scale)
        return y + F.interpolate(x, scale_factor=self.scale, mode="nearest")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Its file, as somebody else exports it."""
    path = tmp_path_factory.mktemp("foreign") / "ordinary.onnx"
    axes = {"x": {0: "n", 2: "h", 3: "w"}, "y": {0: "n", 2: "h", 3: "w"}}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Residual().eval(), (torch.rand(1, 3, 16, 16),), path, opset_version=17, dynamo=False, **names)
    return path


def test_a_file_of_others_is_a_model(foreign, tmp_path):
    model = sharpbit.load(foreign)
    assert (model.arch.name, model.scale, model.about["name"]) == ("graph", 2, "ordinary")
    x = torch.rand(1, 3, 21, 34)
    (wanted,) = ort.InferenceSession(foreign).run(None, {"x": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(model.net(x).numpy(), wanted, atol=1e-5)
    header = sharpbit.save(model, tmp_path / "own.safetensors")
    assert (header.name, header.receptive_field) == ("ordinary", 2 * 6 + 1)
    again = sharpbit.load(tmp_path / "own.safetensors")
    with torch.no_grad():
        assert torch.allclose(again.net(x), model.net(x), atol=1e-6)


def test_any_module_is_a_model():
    net = Residual(scale=3).eval()
    model = of_module(net, scale=3)
    x = torch.rand(1, 3, 9, 14)
    with torch.no_grad():
        assert torch.allclose(model.net(x), net(x), atol=1e-5)
    with pytest.raises(UsageError, match="upscales 3 times"):
        of_module(net, scale=2)


def test_a_module_that_cannot_be_followed_says_how_it_runs():
    class Attention(nn.Module):
        def forward(self, x):
            return F.interpolate(x * F.softmax(x, 3), scale_factor=2)

    with pytest.raises(ModelError, match=r"Attention: the operator Softmax .*torch.onnx.export"):
        of_module(Attention())


class Bytes(nn.Module):
    """Takes and gives values from 0 to 255, shifted by a mean colour inside."""

    def __init__(self):
        super().__init__()
        self.inner = Residual().eval()

    def forward(self, x):
        return self.inner((x - 100) / 255) * 255 + 100


def test_images_of_somebody_elses_range():
    net = Bytes().eval()
    model = of_module(net)
    x = torch.rand(1, 3, 12, 12)
    with torch.no_grad():
        wanted = net(x * 255) / 255
        assert torch.allclose(model.net(x), wanted, atol=1e-4)
        assert torch.allclose(of_module(net, white=(255, 255)).net(x), model.net(x))


def test_what_a_trial_leaves_open_is_said(foreign):
    with pytest.warns(sharpbit.ResultWarning, match="0 to 1 as well as 0 to 255"):
        plain = sharpbit.load(foreign)
    other = sharpbit.load(foreign, range=255)
    x = torch.rand(1, 3, 12, 12)
    with torch.no_grad():
        assert torch.allclose(other.net(x), plain.net(x * 255) / 255, atol=1e-5)
    with pytest.raises(UsageError, match="not dark"):
        sharpbit.load(foreign, range="dark")


def test_a_graph_is_quantized_and_exported_as_any_network(foreign, tmp_path):
    photos = [np.random.default_rng(k).integers(0, 256, (96, 96, 3), np.uint8) for k in range(2)]
    model = sharpbit.load(foreign, range=1)
    small = sharpbit.quantize(model, photos, method="minmax")
    from sharpbit.export import EXPORTS

    EXPORTS["onnx"](small, tmp_path / "small.onnx")
    x = torch.rand(1, 3, 20, 24)
    (out,) = ort.InferenceSession(tmp_path / "small.onnx").run(None, {"picture": x.numpy()})
    with torch.no_grad():
        assert np.abs(out - model.net(x).numpy()).mean() < 0.05
        assert np.abs(out - small.net(x).numpy()).mean() < 0.005
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(tmp_path / "small.onnx").graph.node)


def test_python_takes_any_module(tmp_path):
    net = Residual(width=4).eval()
    header = sharpbit.save(net, tmp_path / "net.safetensors")
    assert (header.architecture, header.scale) == ("graph", 2)
    facts = sharpbit.inspect(net, (72, 128))
    assert (facts.architecture, facts.scale, facts.receptive_field, facts.input_size) == ("graph", 2, 13, (36, 64))
    assert facts.macs > 0
    photos = [np.random.default_rng(k).integers(0, 256, (64, 64, 3), np.uint8) for k in range(2)]
    small = sharpbit.quantize(Gated(net), photos, method="minmax")
    assert small.arch.name == "graph"
    assert sharpbit.export(net, tmp_path / "net.onnx").architecture == "graph"
    x = torch.rand(1, 3, 12, 16)
    (out,) = ort.InferenceSession(tmp_path / "net.onnx").run(None, {"picture": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(out, net(x).numpy(), atol=1e-4)
    with pytest.raises(UsageError, match=r"net\.coreml"):
        sharpbit.export(net, tmp_path / "net.coreml")


class Gated(nn.Module):
    """Has no plain form."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        y = self.inner(x)
        return y * torch.sigmoid(8 * y + 4)


def test_a_header_with_nodes_that_are_no_graph_is_refused():
    node = {"name": "conv_0", "op": "explode", "inputs": ["image"], "settings": {}}
    with pytest.raises(ModelError, match="explode"):
        models.build("graph", scale=2, nodes=(node,))


def test_a_network_that_cannot_be_traced(capfd):
    """One sentence, and nothing of what the exporter prints from C++."""

    class Net(nn.Module):
        def forward(self, x):
            return F.interpolate(torch.special.i0(x), scale_factor=2)

    with pytest.raises(ModelError, match=r"^Net cannot be traced: .*aten::i0"):
        of_module(Net())
    assert capfd.readouterr().out == ""


def test_a_size_that_an_exporter_kept_is_named():
    pool = Node("p", "maxpool", (IMAGE,), {"kernel": (64, 64), "stride": (64, 64), "padding": (0, 0)})
    kept = Graph((pool, Node("m", "mul", (IMAGE, "p"), {})), {})
    with pytest.raises(ModelError, match="images of some sizes alone, such as 64x64: an operator keeps the size"):
        geometry(kept)
    assert geometry(kept, (64, 64)).scale == 1
    half = Node("r", "resize", (IMAGE,), {"factor": (1.5, 1.5), "mode": "nearest", "aligned": False})
    with pytest.raises(ModelError, match="no upscaling by a whole factor"):
        geometry(Graph((half,), {}))
