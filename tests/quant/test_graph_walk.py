"""What else ordinary networks have: wide kernels, softmax and norms over channels, their largest, odd activations."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sharpbit
from sharpbit.arch.graph import graph_of
from sharpbit.errors import ModelError, QuantizeError
from sharpbit.model.foreign import of_module
from sharpbit.modelfile.integer_graph_arithmetic import run
from sharpbit.quant.graph import quantize_graph
from sharpbit.quant.graph.lowering import lowered
from sharpbit.quant.graph.steps import Convolve


def conv(inputs, outputs, side=3, **more):
    return nn.Conv2d(inputs, outputs, side, padding=more.pop("dilation", 1) * (side // 2), **more)


class Wide(nn.Module):
    """Kernels of 11 and 17 pixels, for each channel too, and 7 that lie two apart."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8, 11), conv(8, 8, 17, groups=8)
        self.c, self.p = nn.Conv2d(8, 8, 7, padding=6, dilation=2, groups=2), nn.PReLU(8)
        self.d = conv(8, 12)

    def forward(self, x):
        y = self.p(self.a(x))
        return F.pixel_shuffle(self.d(F.relu(self.b(y)) + self.c(y)), 2) + F.interpolate(x, scale_factor=2)


class Softmax(nn.Module):
    """Branches in the shares that a softmax gives them."""

    def __init__(self):
        super().__init__()
        self.a, self.g, self.d = conv(3, 12), conv(12, 3, 1), conv(12, 12)
        self.branches = nn.ModuleList(conv(12, 12) for _ in range(3))

    def forward(self, x):
        y = F.elu(self.a(x))
        gate = F.softmax(self.g(y), 1)
        y = sum(branch(y) * gate[:, k : k + 1] for k, branch in enumerate(self.branches))
        return F.pixel_shuffle(self.d(y), 2) + F.interpolate(x, scale_factor=2)


class Norm(nn.Module):
    """Layer norm over channels, as ConvNeXt and restorers have it, in both layouts."""

    def __init__(self):
        super().__init__()
        self.a, self.n, self.m = conv(3, 12), nn.LayerNorm(12), nn.LayerNorm(12)
        self.b, self.u, self.v, self.d = conv(12, 12, 7, groups=12), nn.Linear(12, 24), nn.Linear(24, 12), conv(12, 12)

    def forward(self, x):
        y = self.a(x)
        z = self.v(F.gelu(self.u(self.n(self.b(y).permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)
        mean = y.mean(1, keepdim=True)
        variance = (y - mean).pow(2).mean(1, keepdim=True)
        return F.pixel_shuffle(self.d(z + (y - mean) / torch.sqrt(variance + 1e-2)), 2)


class Spatial(nn.Module):
    """A gate of the largest, the smallest, the mean and the sum of the channels."""

    def __init__(self):
        super().__init__()
        self.a, self.g, self.d = conv(3, 11), conv(4, 1, 7), conv(11, 12)

    def forward(self, x):
        y = F.selu(self.a(x))
        four = [y.amax(1, keepdim=True), y.amin(1)[:, None], y.mean(1, keepdim=True), y.sum(1, keepdim=True) / 9]
        y = torch.maximum(y * torch.sigmoid(self.g(torch.cat(four, 1))), F.elu(y, alpha=0.5))
        return F.pixel_shuffle(self.d(y), 2) + F.interpolate(x, scale_factor=2)


class Pooled(nn.Module):
    """The largest of all pixels."""

    def __init__(self):
        super().__init__()
        self.a = conv(3, 12)

    def forward(self, x):
        y = self.a(x)
        return F.pixel_shuffle(y * torch.sigmoid(y.amax((2, 3), keepdim=True)), 2)


NETS = {"wide": Wide, "softmax": Softmax, "norm": Norm, "spatial": Spatial}


def images(count=8):
    smooth = F.interpolate(torch.rand(count, 3, 7, 7, generator=torch.Generator().manual_seed(2)), 28, mode="bicubic")
    return (smooth.clamp(0, 1) * 255).round().to(torch.uint8)


def seen(name):
    """The model of a network whose result is mostly between black and white."""
    torch.manual_seed(0)
    net = NETS[name]().eval()
    with torch.no_grad():
        found = net(images().float() / 255)
        skip = 0 if name == "norm" else F.interpolate(images().float() / 255, scale_factor=2)
        size = 0.15 / (found - skip).std()
        net.d.weight *= size
        net.d.bias *= size
        net.d.bias += (0.5 if name == "norm" else 0.0) - (found - skip).mean() * size
    return of_module(net, scale=2, white=1.0)


@pytest.mark.parametrize("name", NETS)
def test_steps_are_the_network(name):
    model = seen(name)
    image = images(9)[8:, :, :23].float() / 255
    values = [image]
    with torch.no_grad():
        for step in lowered(graph_of(model.net)):
            values.append(step.run(values))
        assert torch.allclose(values[-1], model.net(image), atol=3e-5)


@pytest.mark.parametrize("name", NETS)
def test_near_the_float_network(name):
    model, other = seen(name), images(10)[8:]
    made = quantize_graph(graph_of(model.net), 2, images())
    with torch.no_grad():
        wanted = model.net(other.float() / 255).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    found = np.stack([run(made, image) for image in other.permute(0, 2, 3, 1).numpy()])
    assert 10 * np.log10(255**2 / np.mean((found - wanted) ** 2)) > 45


def test_a_wide_kernel_is_four():
    steps = lowered(graph_of(seen("wide").net))
    sides = [step.weight.shape[2] for step in steps if isinstance(step, Convolve)]
    assert sides.count(7) == 4 + 4 + 4 + 4  # those of 11, what moves them, those of 13 with what moves them
    assert max(sides) == 9


def test_what_has_no_form_is_named_with_a_way_out():
    with pytest.raises(ModelError, match=r"the largest of all pixels; train with their mean \(GlobalAveragePool\)"):
        of_module(Pooled().eval(), scale=2, white=1.0)
    net = nn.Sequential(conv(3, 12, 19), nn.PixelShuffle(2)).eval()
    with pytest.raises(QuantizeError, match=r"conv of 19x19, .* where 17x17 is the most"):
        lowered(graph_of(of_module(net, scale=2, white=1.0).net))


def test_an_integer_graph_is_not_exported_again(tmp_path):
    model = seen("spatial")
    photos = [image.permute(1, 2, 0).numpy().repeat(4, 0).repeat(4, 1) for image in images()]
    path = tmp_path / "net.sharpbit"
    sharpbit.export(sharpbit.quantize(model, photos), path)
    with pytest.raises(
        ModelError, match=r"is an integer graph, which runs on the native engine alone as it is; export"
    ):
        sharpbit.load(path)
