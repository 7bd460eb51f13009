"""Ranges turned into numbers: what an engine needs to know of a quantized network, and nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sharpbit.errors import ModelError, UsageError
from sharpbit.quant.grid import FLOAT, Fixed, spread
from sharpbit.quant.layers import Equalized, QuantConv2d, QuantLinear, QuantSite, rounding

CONTAINER = 8  # bits of the integers that weights of at most that many are kept in
LARGEST = 127
PAIR = (2**15 - 1) / 2  # engines for CPUs without VNNI add pairs of products in 16 bits
MOST_BIAS = 2.0**30


class QDQ(nn.Module):
    """Rounds an activation to `(q - zero) * scale`, `q` an integer from `least` to `most`.

    Attributes:
        scale: `()` or `(C,)` float.
        zero: int32, as `scale`; the zero point.
        least: int32, as `scale`.
        most: int32, as `scale`.
        axis: dimension along which a `(C,)` scale lies.
        bits: width of `q`.
        plain: whether it runs as arithmetic instead of as one operator, which an exporter writes as what its format
            has for it.
    """

    plain = False

    def __init__(self, fixed: Fixed) -> None:
        super().__init__()
        self.axis, self.bits = fixed.range.axis, fixed.bits
        like = next(fixed.parameters(), torch.zeros(()))
        scale, least, most = _numbers(fixed, torch.zeros((), dtype=like.dtype, device=like.device))
        self.scale: Tensor
        self.zero: Tensor
        self.least: Tensor
        self.most: Tensor
        self.register_buffer("scale", scale)
        self.register_buffer("zero", -least)
        self.register_buffer("least", torch.zeros_like(least))
        self.register_buffer("most", most - least)

    @property
    def integer(self) -> bool:
        """Whether engines take it for what it is: one grid of bytes, with its zero point on it."""
        return self.bits <= CONTAINER and self.scale.dim() == 0 and 0 <= int(self.zero) <= 255

    def forward(self, x: Tensor) -> Tensor:
        """`x`, rounded."""
        qdq = _qdq if self.plain else torch.ops.sharpbit.qdq
        y: Tensor = qdq(x, self.scale, self.zero, self.least, self.most, self.axis)
        return y


class Integers(nn.Module):
    """A weight in integers: `(values - zero) * scale`, one scale for each output channel or one for all.

    Attributes:
        values: integers in the shape of the weight, int8, or int16 for more than 8 bits.
        scale: `()` or `(outputs,)` float.
        zero: int32, as `scale`; 0 wherever the values fit without, as in symmetric grids and up to 7 bits.
        bits: width of the values.
        plain: whether it runs as arithmetic instead of as one operator, see `QDQ`.
    """

    plain = False

    def __init__(self, fixed: Fixed, weight: Tensor) -> None:
        super().__init__()
        self.bits = fixed.bits
        scale, least, most = _numbers(fixed, weight)
        container = torch.int8 if fixed.bits <= CONTAINER else torch.int16
        limits = torch.iinfo(container)
        fits = bool((least >= limits.min).all()) and bool((most <= limits.max).all())
        zero = torch.zeros_like(least) if fits else limits.min - least
        low, high, step, offset = (spread(value, weight, 0) for value in (least, most, scale, zero))
        numbers = (weight / step).round().clamp(low, high) + offset
        self.values: Tensor
        self.scale: Tensor
        self.zero: Tensor
        self.register_buffer("values", numbers.nan_to_num().to(container))
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero)

    @property
    def integer(self) -> bool:
        """Whether engines can multiply with it in integers: signed bytes without a zero point."""
        return self.bits <= CONTAINER and not bool(self.zero.any())

    def forward(self, weight: None) -> Tensor:
        """The weight; the layer has no other any more."""
        dequantize = _dequantize if self.plain else torch.ops.sharpbit.dequantize
        y: Tensor = dequantize(self.values, self.scale, self.zero)
        return y


@torch.no_grad()
def freeze(net: nn.Module, *, check: bool = True) -> nn.Module:
    """A copy of a quantized network in which every range is a number and every rounded weight integers.

    Where a layer can run in integers, its bias is rounded to them too, as all engines do: to a multiple of the product
    of the scales of input and weight. A network frozen without that agreed with ONNX Runtime on 60 % of the samples of
    an image, with it on 99.8 %. But for this the results are those of the quantized network in `eval` mode, to the
    last bit. A range that adds its zero point before rounding (`Grid.offset`) is frozen as engines have it, after.

    Args:
        net: quantized, and calibrated or trained.
        check: whether a range that never saw anything is an error; without, only the structure is right.

    Raises:
        UsageError: nothing is quantized, or a range depends on the image even when training is over.
        ModelError: a range was never calibrated.
    """
    net = copy.deepcopy(net).eval()
    found = False
    for name, part in list(net.named_modules()):
        if isinstance(part, QuantConv2d | QuantLinear | QuantSite):
            found = True
            part.act = _frozen(f"{name}.act", part.act, None, check)
        if isinstance(part, QuantConv2d | QuantLinear):
            part.kernel = _frozen(f"{name}.kernel", part.kernel, part.weight, check)
            if isinstance(part.kernel, Integers):
                part.register_parameter("weight", None)
                act = rounding(part.act)
                if check and isinstance(act, QDQ) and act.integer and part.kernel.integer:
                    _round_bias(part.bias, act, part.kernel)
    for name, part in list(net.named_modules()):  # those of features that no layer takes, as in a RefER
        for own, child in list(part.named_children()):
            if isinstance(child, Fixed) and not isinstance(part, QuantConv2d | QuantLinear | QuantSite):
                setattr(part, own, _frozen(f"{name}.{own}", child, None, check))
    if not found:
        raise UsageError(f"{type(net).__name__} has no quantizers to freeze; quantize it first")
    return net


def weights(net: nn.Module) -> int:
    """How many weights a network has, in float or in integers, without the numbers that its quantizers need."""
    ranges = {id(own) for part in net.modules() if isinstance(part, Fixed) for own in part.parameters()}
    floats = sum(weight.numel() for weight in net.parameters() if id(weight) not in ranges)
    return floats + sum(part.values.numel() for part in net.modules() if isinstance(part, Integers))


def _frozen(name: str, part: nn.Module, weight: Tensor | None, check: bool) -> nn.Module:
    if isinstance(part, QDQ | Integers | nn.Identity):
        return part
    if isinstance(part, Equalized):
        part.inner = _frozen(f"{name}.inner", part.inner, weight, check)
        return part
    if not isinstance(part, Fixed):
        raise UsageError(
            f"{name} chooses its bits image by image; such a network is not frozen: its cost is counted, and no"
            " engine runs it. To run one, train it with a fixed width"
        )
    if part.bits == FLOAT:
        return nn.Identity()
    if part.range.dynamic:
        raise UsageError(f"{name} has a range that depends on the image; such a network is not frozen")
    frozen = QDQ(part) if weight is None else Integers(part, weight)
    if check and not bool(torch.isfinite(frozen.scale).all()):
        raise ModelError(f"the range {name} was never calibrated, or on numbers that are not finite; calibrate first")
    return frozen


def _round_bias(bias: Tensor | None, act: QDQ, kernel: Integers) -> None:
    """Round `bias` in place to what 32-bit integers can hold of it.

    Weights of few bits are multiplied by a power of two first, and their scale divided by it: the same weights, and a
    finer unit for the bias. A channel whose weights are so small that its bias has no place in that unit gets a
    coarser one.
    """
    if bias is None:
        return
    values, scale, step = kernel.values.double(), kernel.scale.double(), act.scale.double()
    room = min(LARGEST, PAIR / int(act.most)) / max(float(values.abs().max()), 1.0)
    factor = 2.0 ** max(0, math.floor(math.log2(room))) if room >= 1 else 1.0
    values, scale = values * factor, scale / factor
    least = bias.double().abs() / (step * MOST_BIAS)
    wide = torch.maximum(scale, least if scale.dim() else least.max())
    values = (values * spread(scale / wide, values, 0)).round()
    kernel.values, kernel.scale = values.to(kernel.values.dtype), wide.to(kernel.scale.dtype)
    unit = step * kernel.scale.double()
    bias.copy_((bias.double() / unit).round() * unit)


def _numbers(fixed: Fixed, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Step, smallest and largest integer of a grid."""
    lo, hi, step, *_ = fixed.range(x, fixed.bits)
    least, most = ((bound / step).round().nan_to_num().to(torch.int32) for bound in (lo, hi))
    return step.detach().clone(), least, most


def _qdq(x: Tensor, scale: Tensor, zero: Tensor, least: Tensor, most: Tensor, axis: int) -> Tensor:
    scale, zero, least, most = (spread(value, x, axis) for value in (scale, zero, least, most))
    number = torch.minimum(torch.maximum((x / scale).round() + zero, least.to(x.dtype)), most.to(x.dtype))
    return (number - zero) * scale


def _dequantize(values: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return (values.to(scale.dtype) - spread(zero, values, 0)) * spread(scale, values, 0)


def _operator(name: str, schema: str, function: Callable[..., Tensor], shape: Callable[..., Tensor]) -> None:
    """One operator of ours: `function` on every device, `shape` on tensors without values, which tracing goes by."""
    torch.library.define(f"sharpbit::{name}", schema)
    torch.library.impl(f"sharpbit::{name}", "default", function)
    torch.library.register_fake(f"sharpbit::{name}", shape)


_operator(
    "qdq",
    "(Tensor x, Tensor scale, Tensor zero, Tensor least, Tensor most, int axis) -> Tensor",
    _qdq,
    lambda x, *_: torch.empty_like(x),
)
_operator(
    "dequantize",
    "(Tensor values, Tensor scale, Tensor zero) -> Tensor",
    _dequantize,
    lambda values, scale, _: torch.empty_like(values, dtype=scale.dtype),
)
