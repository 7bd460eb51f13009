"""Float graphs become integer graphs: what is fused, how near the result is, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sharpbit
from sharpbit.arch.graph import graph_of
from sharpbit.errors import QuantizeError, UsageError
from sharpbit.export import EXPORTS
from sharpbit.model.foreign import of_module
from sharpbit.modelfile import integer_chain
from sharpbit.modelfile.integer_graph import Convolution, Product, Rearrangement, Sum, Table
from sharpbit.modelfile.integer_graph_arithmetic import operator, run
from sharpbit.modelfile.integer_graph_payload import read
from sharpbit.quant.graph import Candidate, GraphSettings, least, quantize_graph
from sharpbit.quant.graph.finer import with_finer
from sharpbit.quant.graph.lowering import lowered
from sharpbit.quant.graph.ranges import RULES, Rule, extremes, ranges_of
from sharpbit.quant.graph.steps import Convolve
from sharpbit.quant.graph.widths import Choice


class Residual(nn.Module):
    """Blocks with skips, an inner shuffle and a slope after it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 12), (12, 12), (12, 12), (12, 48)))
        self.slope, self.last = nn.PReLU(12), nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x):
        first = self.convs[0](x)
        y = self.convs[2](F.relu(self.convs[1](first))) * 0.2 + first
        y = self.slope(F.pixel_shuffle(self.convs[3](y), 2))
        return self.last(y) * 0.1 + F.interpolate(x, scale_factor=2)


class Dense(nn.Module):
    """Concatenation, nearest upsampling inside, SiLU, a gate of each pixel, a depthwise and a 1x1 convolution."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.c, self.d, self.e = nn.Conv2d(16, 9, 1), nn.Conv2d(9, 1, 1), nn.Conv2d(9, 3, 3, padding=1)

    def forward(self, x):
        y = F.leaky_relu(self.a(x), 0.2)
        y = F.silu(self.c(torch.cat([y, self.b(y)], 1)))
        y = y * torch.sigmoid(self.d(y))
        return self.e(F.interpolate(y, scale_factor=2)) * 0.2 + F.interpolate(x, scale_factor=2)


def images(count=6):
    smooth = F.interpolate(torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(2)), 24, mode="bicubic")
    return (smooth.clamp(0, 1) * 255).round().to(torch.uint8)


def graph(net):
    return graph_of(of_module(net, scale=2, white=1.0).net)


def test_a_function_times_and_plus_numbers_is_one_table():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(3)
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1), nn.Conv2d(3, 8, 1)

        def forward(self, x):
            y = self.a(x)
            return self.b((y + self.c(x)) * (torch.sigmoid(y) * 2 - 0.5)) * 0.2 + x

    model = of_module(Gate().eval(), scale=1, white=1.0)
    graph = quantize_graph(graph_of(model.net), 1, images(), GraphSettings(compensate=False))
    assert sum(isinstance(node, Table) for node in graph.nodes) == 1
    assert not any(isinstance(node, Convolution) and node.groups > 1 for node in graph.nodes)
    image = images(1)[0].permute(1, 2, 0).numpy()
    wanted = model.net(torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    assert np.abs(run(graph, image) - (255 * wanted.detach().numpy()).clip(0, 255)).max() < 1


@pytest.mark.parametrize("net", [Residual, Dense])
def test_near_the_float_network(net):
    float_net = net().eval()
    assert psnr(quantize_graph(graph(float_net), 2, images()), float_net) > 45


def test_sums_and_slopes_go_into_convolutions():
    made = quantize_graph(graph(Residual().eval()), 2, images())
    kinds = [operator(node) for node in made.nodes]
    assert kinds.count("convolution") == 5
    assert not any(isinstance(node, Sum | Table) for node in made.nodes)
    skip, inner = made.nodes[2], made.nodes[3]
    assert isinstance(skip, Convolution)
    assert [term.tensor for term in skip.terms] == [1]
    assert isinstance(inner, Convolution)
    assert (inner.negative != inner.multiplier).all()  # the slope that stood behind the shuffle
    assert isinstance(made.nodes[4], Rearrangement)


def test_a_function_and_its_product_are_one_table():
    made = quantize_graph(graph(Dense().eval()), 2, images())
    kinds = [operator(node) for node in made.nodes]
    assert kinds.count("table") == 2
    assert kinds.count("product") == 1


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.Conv2d(3, 3, 19, padding=9), "conv of 19x19"),
        (nn.Conv2d(3, 3, 7, padding=9, dilation=3), "conv of 19x19"),
    ],
)
def test_what_has_no_form_in_integers(layer, said):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return F.interpolate(x + self.layer(x) * 0.01, scale_factor=2)

    with pytest.raises(QuantizeError, match=rf"{said}.* has no form in integers yet"):
        lowered(graph(Net().eval()))


@pytest.mark.parametrize(("kernel", "dilation"), [((1, 3), 1), ((5, 1), 1), ((1, 3), 2)])
def test_kernels_that_are_not_square(kernel, dilation):
    conv = nn.Conv2d(3, 12, kernel, padding=tuple(k // 2 * dilation for k in kernel), dilation=dilation)
    net = nn.Sequential(conv, nn.PixelShuffle(2)).eval()
    image = images(1).float() / 255
    with torch.no_grad():
        wanted = net(image)
    assert torch.allclose(values(lowered(graph(net)), image)[-1], wanted, atol=1e-5)


class Loud(Residual):
    """The same, with a result that shows what is rounded."""

    def forward(self, x):
        return (super().forward(x) - F.interpolate(x, scale_factor=2)) * 30 + 0.5


class Coarse(nn.Module):
    """Strides, pools, bilinear upsampling to a size and by a factor, large kernels, a transposed convolution."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.a, self.b, self.c = nn.Conv2d(3, 8, 7, padding=3), nn.Conv2d(8, 8, 3, 2), nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 3, 9, 2, 4, output_padding=1)
        self.d = nn.Conv2d(8, 8, 3, padding=2, dilation=2)

    def forward(self, x):
        y = F.relu(self.a(x))
        z = F.avg_pool2d(F.max_pool2d(self.b(y), 5, 3), 3, 1, 1)
        y = y * torch.sigmoid(self.c(F.interpolate(z, size=y.shape[2:], mode="bilinear")))
        return self.up(self.d(y)) * 0.2 + F.interpolate(x, scale_factor=2, mode="bilinear")


def test_sizes_and_windows():
    made = quantize_graph(graph(Coarse().eval()), 2, images())
    kinds = [operator(node) for node in made.nodes]
    assert (kinds.count("largest"), kinds.count("bilinear"), made.halo) == (1, 2, None)
    assert psnr(made, Coarse().eval()) > 45


def test_more_convolutions_read_both_bytes_under_a_higher_gate():
    net = Loud().eval()
    low, high = (quantize_graph(graph(net), 2, images(), GraphSettings(gate=gate)) for gate in (0, 70))
    count = [sum(isinstance(node, Convolution) and node.both for node in made.nodes) for made in (low, high)]
    assert count[0] == 0 < count[1]
    assert psnr(high, net) > psnr(low, net) + 0.5


class Uneven(nn.Module):
    """A weight in each output that leaves the others few of 8 bits, with a slope behind it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        with torch.no_grad():
            self.b.weight[:, 0, 0, 0] *= 300

    def forward(self, x):
        return F.pixel_shuffle(F.leaky_relu(self.b(self.a(x)), 0.3), 2) * 0.05 + 0.5


def test_weights_have_16_bits_where_8_are_too_few():
    net = Uneven().eval()
    noise = torch.randint(0, 256, (6, 3, 24, 24), generator=torch.Generator().manual_seed(4)).to(torch.uint8)
    low, high = (quantize_graph(graph(net), 2, noise, GraphSettings(gate=gate)) for gate in (20, 56))
    count = [sum(isinstance(node, Convolution) for node in made.nodes) for made in (low, high)]
    assert count[0] == 3 < count[1]
    assert (low.pairs, high.pairs) == (0, count[1] - 3)
    assert psnr(low, net, noise) + 5 < psnr(high, net, noise) > 57


@pytest.mark.parametrize(("most", "tried"), [(5.0, 3), (0.9, 1), (0.69, 2), (0.3, 3), (-1.0, 4)])
def test_the_gate_is_met_and_not_passed_by_far(most, tried):
    """Of shares of the error that 16 bits leave, one just below the most that is near enough."""
    seen = []

    def rounded(share):
        seen.append(share)
        above = 7 * np.log10(most / share) if most > 0 else -1 - share
        return Candidate(Choice(frozenset(), frozenset([share])), share, above)

    share = least(rounded, lambda share: Choice(frozenset(), frozenset([share])))
    assert len(seen) <= tried
    assert most / 2 < share <= most or share == max(0, most)


def test_pairs_of_convolutions_are_the_network_in_float():
    steps = lowered(graph(Residual().eval()))
    image = images(1).float() / 255
    found = ranges_of(steps, extremes(steps, images().float(), lambda *_: None), RULES[0])
    convolutions = frozenset(k for k, step in enumerate(steps) if isinstance(step, Convolve))
    both = frozenset([1, 2])
    pairs, reading = with_finer(steps, found, both, convolutions)[:2]
    assert [pairs[k].weight.shape for k in sorted(reading)] == [steps[k].weight.shape for k in sorted(both)]
    assert sum(isinstance(step, Convolve) for step in pairs) == 2 * len(convolutions)
    assert torch.allclose(values(pairs, image)[-1], values(steps, image)[-1], atol=1e-5)


def values(steps, image):
    with torch.no_grad():
        found = [image]
        for step in steps:
            found.append(step.run(found))
    return found


def test_ranges_have_room_but_below_a_relu():
    steps = lowered(graph(Residual().eval()))
    seen = extremes(steps, images().float(), lambda *_: None)
    plain, spare = (ranges_of(steps, seen, rule) for rule in (Rule(), Rule(spare=0.5)))
    assert torch.allclose(spare[1].step, plain[1].step * 2, rtol=0.02)
    relu = next(k for k, step in enumerate(steps) if isinstance(step, Convolve) and not step.below.any())
    assert torch.allclose(spare[relu + 1].step, plain[relu + 1].step * 1.5, rtol=0.02)
    assert not spare[relu + 1].zero.any()


def test_a_gate_is_kept_in_16_bits():
    """The function between two entries of its table, and the product with all bits."""
    made = quantize_graph(graph(Dense().eval()), 2, images())
    assert [node.wide for node in made.nodes if isinstance(node, Table)] == [True, True]
    (product,) = (node for node in made.nodes if isinstance(node, Product))
    assert product.both


def test_what_is_added_has_16_bits():
    made = quantize_graph(graph(Residual().eval()), 2, images())
    assert [number for number, node in enumerate(made.nodes, 1) if getattr(node, "wide", False)] == [1]


def psnr(made, net, other=None):
    other = images(8)[6:] if other is None else other
    with torch.no_grad():
        wanted = net(other.float() / 255).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    found = np.stack([run(made, image) for image in other.permute(0, 2, 3, 1).numpy()])
    return 10 * np.log10(255**2 / np.mean((found - wanted) ** 2))


def test_a_bare_network_and_what_auto_is(tmp_path):
    photos = [np.random.default_rng(k).integers(0, 256, (128, 128, 3), np.uint8) for k in range(2)]
    model = sharpbit.quantize(Residual(), photos)
    assert (model.arch.name, model.scale, model.history[-1].method) == ("integer_graph", 2, "graph")
    header = EXPORTS["native"](model, tmp_path / "a.sharpbit")
    assert (header.architecture, header.precision) == ("integer_graph", "int8")
    assert read(tmp_path / "a.sharpbit")[0].macs == model.net.graph.macs
    with pytest.raises(UsageError, match="makes 8 bits, not 6"):
        sharpbit.quantize(Residual(), photos, bits=6)


def test_a_bare_network_of_one_layer_as_a_file(tmp_path):
    photos = [np.random.default_rng(k).integers(0, 256, (128, 128, 3), np.uint8) for k in range(2)]
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    model = sharpbit.quantize(net, photos)
    EXPORTS["native"](model, tmp_path / "a.sharpbit")
    chain, header = integer_chain.read(tmp_path / "a.sharpbit")
    assert (len(chain.layers), header.config) == (1, {"scale": 2, "hidden": []})
