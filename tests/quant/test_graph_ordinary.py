"""What ordinary networks have becomes integers: attention, edges, bicubic, U-Nets, brightness alone."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sharpbit
from sharpbit.arch.graph import graph_of
from sharpbit.graph import Graph, Node
from sharpbit.graph.colours import of_rgb
from sharpbit.model.foreign import of_module
from sharpbit.modelfile.integer_graph_arithmetic import operator, run
from sharpbit.quant.graph import quantize_graph
from sharpbit.quant.graph.lowering import lowered


class Attention(nn.Module):
    """Channel attention of means, and of deviations around them as IMDN has it, with linear layers and with 1x1."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 12), (12, 12), (12, 12)))
        self.d, self.e, self.f = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1), nn.Linear(12, 12)

    def forward(self, x):
        y = F.relu(self.a(x))
        mean = y.mean((2, 3), keepdim=True)
        deviation = ((y - mean) ** 2).mean((2, 3), keepdim=True).sqrt()
        y = y + self.b(y) * torch.sigmoid(self.e(F.relu(self.d(mean + deviation))))
        y = y * F.hardsigmoid(self.f(F.adaptive_avg_pool2d(y, 1).flatten(1)))[:, :, None, None]
        return F.pixel_shuffle(self.c(y), 2)


class Edges(nn.Module):
    """Mirrored and repeated edges, zeros on one side, a convolution without padding, bicubic beside all that."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 12, 5, padding=2, padding_mode="reflect")
        self.b = nn.Conv2d(12, 12, 3, padding=1, padding_mode="replicate")
        self.c, self.d = nn.Conv2d(12, 12, 2), nn.Conv2d(12, 12, 3)

    def forward(self, x):
        y = F.leaky_relu(self.b(F.relu(self.a(x))), 0.1)
        y = self.d(F.pad(self.c(F.pad(y, (0, 1, 0, 1))), (1, 1, 1, 1), mode="reflect"))
        return F.pixel_shuffle(y, 2) + F.interpolate(x, scale_factor=2, mode="bicubic")


class Steps(nn.Module):
    """A U-Net: kernels of 2, 3 and 4 with a stride, a mean of four pixels, and all the way up again."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 4, stride=2, padding=1)
        self.c, self.d = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2), nn.Conv2d(8, 8, 2, stride=2)
        self.e, self.f = nn.ConvTranspose2d(8, 8, 4, stride=4), nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.g = nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, x):
        first = F.relu(self.a(x))
        second = F.relu(self.b(first))
        y = self.e(F.leaky_relu(self.d(self.c(second)), 0.1)) + F.interpolate(F.avg_pool2d(second, 2), scale_factor=2)
        return F.pixel_shuffle(self.g(self.f(y + second) + first), 2)


class Grey(nn.Module):
    """A network of brightness alone."""

    def __init__(self, channels=1):
        super().__init__()
        self.a, self.b = nn.Conv2d(channels, 8, 5, padding=2), nn.ConvTranspose2d(8, channels, 4, stride=2, padding=1)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class Last(nn.Module):
    """A result that is only interpolated, or cut, after the last convolution."""

    def __init__(self, end):
        super().__init__()
        self.a, self.end = nn.Conv2d(3, 3, 3, padding=1), end

    def forward(self, x):
        return self.end(self.a(x))


def images(count=6):
    smooth = F.interpolate(torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(2)), 24, mode="bicubic")
    return (smooth.clamp(0, 1) * 255).round().to(torch.uint8)


NETS = {
    "attention": Attention,
    "edges": Edges,
    "grey": Grey,
    "steps": Steps,
    "opaque": lambda: Grey(4),
    "bilinear": lambda: Last(nn.Upsample(scale_factor=2, mode="bilinear")),
    "cut": lambda: Last(nn.ConvTranspose2d(3, 3, 6, stride=2, padding=2)),
}


def seen(name):
    """A network whose result is mostly between black and white, and its model."""
    torch.manual_seed(0)
    net = NETS[name]().eval()
    convs = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    with torch.no_grad():
        given = images().float() / 255
        given = torch.cat([given, given[:, :1]], 1)[:, : 1 if name == "grey" else convs[0].weight.shape[1]]
        found = net(given)
        convs[-1].weight *= 0.2 / found.std()
        convs[-1].bias *= 0.2 / found.std()
        convs[-1].bias += 0.5 - found.mean() * 0.2 / found.std()
    return of_module(net, scale=2, white=1.0)


def as_rgb(model):
    return of_rgb(graph_of(model.net), 2)


@pytest.mark.parametrize("name", NETS)
def test_steps_are_the_network(name):
    model = seen(name)
    image = images(8)[6:7, :, : 23 // model.config.multiple * model.config.multiple, :].float() / 255
    values = [image]
    with torch.no_grad():
        for step in lowered(as_rgb(model)):
            values.append(step.run(values))
        assert torch.allclose(values[-1], model.net(image), atol=2e-5)


@pytest.mark.parametrize("name", NETS)
def test_near_the_float_network(name):
    model, other = seen(name), images(8)[6:]
    made = quantize_graph(as_rgb(model), 2, images())
    with torch.no_grad():
        wanted = model.net(other.float() / 255).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    found = np.stack([run(made, image) for image in other.permute(0, 2, 3, 1).numpy()])
    assert 10 * np.log10(255**2 / np.mean((found - wanted) ** 2)) > 45


def test_means_are_spread_by_products_and_sums():
    made = quantize_graph(as_rgb(seen("attention")), 2, images())
    kinds = [operator(node) for node in made.nodes]
    assert (kinds.count("mean"), made.halo) == (3, None)
    assert [tensor.size.single for tensor in made.tensors].count(True) >= 8


def test_brightness_keeps_the_colours_of_the_image():
    made = quantize_graph(as_rgb(seen("grey")), 2, images())
    assert "sum" not in [operator(node) for node in made.nodes]  # colours are added before the pixel shuffle
    result = run(made, np.full((9, 9, 3), (190, 150, 130), np.uint8)).astype(int)
    inside = result[((result > 0) & (result < 255)).all(2)]
    assert len(inside) > 250
    assert np.abs(inside[:, 0] - inside[:, 1] - 40).max() <= 2
    assert np.abs(inside[:, 1] - inside[:, 2] - 20).max() <= 2


@pytest.mark.parametrize("kernel", range(2, 10))
def test_transposed_convolutions(kernel):
    """Every padding and output padding, whether the result is a whole factor larger or not."""
    checked = 0
    for stride in (2, 3, 4):
        for padding in range(kernel):
            for more in range(stride):
                checked += transposed(nn.ConvTranspose2d(3, 2, kernel, stride, padding, more).eval())
    assert checked > 15


def transposed(layer):
    image = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(5))
    (kernel, _), (stride, _), (padding, _), (more, _) = (
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.output_padding,
    )
    if 8 * stride - 2 * padding + kernel + more < 1:
        return False
    with torch.no_grad():
        wanted = layer(image)
    settings = {"inputs": 3, "outputs": 2, "groups": 1, "bias": True}
    settings |= {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "padding": (padding,) * 2}
    settings |= {"dilation": (1, 1), "more": (more,) * 2}
    weights = {f"up.{key}": value.detach().numpy() for key, value in layer.named_parameters()}
    values = [image]
    with torch.no_grad():
        for step in lowered(Graph((Node("up", "deconv", ("image",), settings),), weights)):
            values.append(step.run(values))
    assert torch.allclose(values[-1], wanted, atol=1e-5)
    return True


def test_a_network_of_brightness_through_the_front_door(tmp_path):
    photos = [np.random.default_rng(k).integers(0, 256, (64, 64, 3), np.uint8) for k in range(2)]
    model = sharpbit.quantize(seen("grey"), photos)
    assert (model.arch.name, model.scale) == ("integer_graph", 2)
