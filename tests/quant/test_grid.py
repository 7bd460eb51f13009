"""Grids: by hand, and as the authors' code of three papers has them, gradients included."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from sharpbit.errors import UsageError
from sharpbit.quant.clipping import LEAST_STEP, ClippingRange
from sharpbit.quant.core import Method, insert_quantizers
from sharpbit.quant.grid import Fixed, Grid, Range, rounded, straight
from sharpbit.quant.plan import Plan, Rule

GOLDEN = Path(__file__).parents[1] / "golden" / "craft_fake_quant.safetensors"


def between(lo, hi, channels=None, axis=1, **options):
    bounds = ClippingRange(channels, axis, **options)
    bounds.lo.data, bounds.hi.data = torch.as_tensor(lo), torch.as_tensor(hi)
    return bounds


def values(bounds, bits, x):
    return Fixed(bounds, bits)(torch.tensor(x)).tolist()


def test_an_unsigned_grid_of_two_bits():
    assert values(between(0.0, 3.0), 2, [-1.0, 0.4, 0.5, 0.6, 1.5, 2.4, 9.0]) == [0, 0, 0, 1, 2, 2, 3]


def test_the_zero_point_is_rounded():
    """-1 to 2.6: step 1.2, zero point 1, so the grid is -1.2 .. 2.4."""
    assert values(between(-1.0, 2.6), 2, [-9.0, -0.7, 0.1, 9.0]) == pytest.approx([-1.2, -1.2, 0, 2.4])


def test_bounds_of_one_sign_keep_their_step():
    assert values(between(1.0, 4.0), 2, [0.2, 1.0, 9.0]) == [0, 1, 3]
    assert values(between(-4.0, -1.0), 2, [0.2, -1.0, -9.0]) == [0, -1, -3]


def test_a_symmetric_grid_has_one_value_less():
    assert values(between(-1.0, 7.0, symmetric=True), 4, [-9.0, -6.6, 0.4, 9.0]) == [-7, -7, 0, 7]


def test_a_constant_tensor_has_the_least_step():
    assert values(between(0.5, 0.5), 8, [0.5]) == [255 * LEAST_STEP]


def test_a_grid_for_each_channel():
    x = torch.ones(1, 2, 1, 3)
    out = Fixed(between([0.0, 0.0], [3.0, 0.3], 2), 2)(x)
    assert out[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.3])
    tokens = Fixed(between([0.0, 0.0], [3.0, 0.3], 2, -1), 2)(torch.ones(1, 5, 2))
    assert tokens[0, 4].tolist() == pytest.approx([1.0, 0.3])


def test_rounding_lets_gradients_through_and_is_exact():
    x = torch.randn(1000, requires_grad=True) * 1000
    assert torch.equal(straight(x), x.round())
    (grad,) = torch.autograd.grad(straight(x).sum(), x)
    assert torch.equal(grad, torch.ones(1000))


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (-0.3, 2.0), (0.0, 0.0), (1.0, -1.0), (-torch.inf, torch.inf)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_blocks_give_what_one_operation_after_the_other_gives(bounds, layout):
    """More than one block, values on the bounds and beyond them, crossed bounds too."""
    x = torch.randn(3, 4, 60, 61, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[0, 0, 0, :4] = torch.tensor([-1.0, 1.0, -0.3, 2.0])
    x[1, 0] = 0
    weights = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = []
    for whole in (False, True):
        own = x.clone(memory_format=torch.preserve_format).to(memory_format=layout).requires_grad_()
        lo, hi, step = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (*bounds, 0.13))
        if whole:
            y = straight(torch.minimum(torch.maximum(own, lo), hi) / step) * step
        else:
            y = rounded(own, Grid(lo, hi, step))
        found.append([y, *torch.autograd.grad(y, (own, lo, hi, step), weights)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-10)
    assert torch.equal(found[0][0], found[1][0])


@pytest.mark.parametrize("bits", [0, 1, 17, 31, 64, 8.0, True, "8"])
def test_widths_that_do_not_exist(bits):
    with pytest.raises(UsageError, match="2 to 16 bits"):
        Fixed(ClippingRange(), bits)


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize("kind", ["plain", "tokens", "positive", "negative", "constant", "conv", "dwconv", "linear"])
def test_the_affine_grid_is_the_published_one(kind, bits):
    with safe_open(GOLDEN, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        tolerance = json.loads(file.metadata()["meta"])["tolerance"]
    case = f"{kind}_{bits}bit"
    lo, hi = tensors[f"state/{case}.min_val"], tensors[f"state/{case}.max_val"]
    x = tensors[f"input/{case}_x"].requires_grad_()
    if kind in ("conv", "dwconv", "linear"):
        weight, bias = tensors[f"state/{case}.weight"], tensors[f"state/{case}.bias"]
        layer = nn.Linear(weight.shape[1], len(weight)) if kind == "linear" else None
        layer = layer or nn.Conv2d(x.shape[1], len(weight), 3, padding=1, groups=len(weight) if kind == "dwconv" else 1)
        layer.weight.data, layer.bias.data = weight, bias
        net = insert_quantizers(layer, Plan((Rule("*", 32, bits),)), Method(ClippingRange, ClippingRange))
        net.kernel.range.lo.data, net.kernel.range.hi.data = lo, hi
        out, bounds, grads = net(x), net.kernel.range, {".weight": net.weight}
    else:
        bounds = between(lo, hi)
        out, grads = Fixed(bounds, bits)(x), {"_x": x}
    torch.testing.assert_close(out, tensors[f"output/{case}"], rtol=0, **tolerance["output"])
    out.backward(tensors[f"input/{case}_grad_out"])
    for key, own in {**grads, ".min_val": bounds.lo, ".max_val": bounds.hi}.items():
        torch.testing.assert_close(own.grad, tensors[f"grad/{case}{key}"], **tolerance["grad"])


class Pams(Range):
    """The grid of PAMS, to see that `Grid` says what it needs; the method itself comes with its training."""

    def __init__(self, alpha):
        super().__init__()
        self.alpha = nn.Parameter(alpha)

    def forward(self, x, bits):
        return Grid(-self.alpha, self.alpha, self.alpha / (2 ** (bits - 1) - 1))


class Ddtb(Range):
    def __init__(self, lo, hi):
        super().__init__()
        self.lo, self.hi = nn.Parameter(lo), nn.Parameter(hi)

    def forward(self, x, bits):
        return Grid(self.lo, self.hi, (self.hi - self.lo) / (2**bits - 1))


@pytest.mark.parametrize("suffix", ["", "_edge"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["pams_quantizers", "ddtb_act_static"])
def test_trained_bounds_get_their_published_gradients(shared, name, bits, suffix):
    with safe_open(shared / "golden" / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key).double() for key in file.keys()}  # noqa: SIM118
    if name == "pams_quantizers":
        bounds = Pams(tensors["input/alpha"])
        named = {"alpha": bounds.alpha}
    else:
        bounds = Ddtb(torch.tensor([-1.1875]).double(), torch.tensor([2.3125]).double())
        named = {"l": bounds.lo, "u": bounds.hi}
    x = tensors[f"input/x{suffix}"].requires_grad_()
    out = Fixed(bounds, bits)(x)
    torch.testing.assert_close(out, tensors[f"output/b{bits}/q{suffix}"], rtol=1e-6, atol=1e-6)
    out.backward(tensors[f"input/g{suffix}"])
    for key, own in {"x": x, **named}.items():
        torch.testing.assert_close(own.grad, tensors[f"grad/b{bits}/{key}{suffix}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("late", [True, False])
def test_where_gradients_end(late):
    """2.4 still rounds to the last step, 2; it is inside only where values are clipped after they are rounded."""
    hi = torch.tensor(2.0, requires_grad=True)
    x = torch.tensor([1.9, 2.4, 2.6], requires_grad=True)
    out = rounded(x, Grid(torch.tensor(0.0), hi, torch.tensor(1.0), late))
    assert out.tolist() == [2, 2, 2]
    out.sum().backward()
    assert x.grad.tolist() == ([1, 1, 0] if late else [1, 0, 0])
    assert hi.grad.item() == (1 if late else 2)
