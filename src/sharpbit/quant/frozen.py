"""What quantizers become when a network is frozen: numbers for clipping ranges, integers for weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sharpbit.errors import UsageError
from sharpbit.quant.adaptive import Mixed
from sharpbit.quant.grid import Fixed, spread

CONTAINER = 8  # bits of the integers that weights of at most that many are kept in


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
        separable: whether parts of a tensor are rounded as the whole is.
    """

    plain = False
    separable = True

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


class PerImage(QDQ):
    """Rounds each image of a batch to a grid of its own, in arithmetic that every engine has. Abstract.

    Its `scale`, `zero`, `least` and `most` say what an image could get at most; `grid` says what it gets.
    """

    plain = True
    separable = False

    @property
    def integer(self) -> bool:
        """No engine takes it for anything but arithmetic."""
        return False

    def grid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The smallest value, the largest and the step for each image, `(N,)`."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """`x`, rounded; `(N, C, H, W)`, or `(N * windows, pixels, C)` with the windows of an image in a row."""
        lo, hi, step = (value.reshape(-1, 1) for value in self.grid(x))
        values = x.reshape(lo.shape[0], -1)
        y = (torch.minimum(torch.maximum(values, lo), hi) / step).round() * step
        return y.reshape(x.shape)


class Gated(PerImage):
    """A clipping range that a gate scales for each image (DDTB)."""

    def __init__(self, fixed: Fixed) -> None:
        super().__init__(fixed)
        self.range = fixed.range

    def grid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `PerImage`."""
        found = self.range.each(x, self.bits)
        return found.lo, found.hi, found.step


class Chosen(PerImage):
    """One of several grids for each image, by a selector (CADyQ) or a table (CABM)."""

    def __init__(self, mixed: Mixed) -> None:
        options = [part for part in mixed.options if isinstance(part, Fixed)]
        super().__init__(max(options, key=lambda part: part.bits))
        like = torch.zeros((), dtype=self.scale.dtype, device=self.scale.device)
        grids = [part.range(like, part.bits) for part in options]
        if any(grid.late or grid.step.dim() for grid in grids):
            raise UsageError("grids that images choose from clip before they round, one for all channels")
        self.ends: Tensor
        self.register_buffer("ends", torch.stack([torch.stack(grid[:3]) for grid in grids]).detach())
        self.selector, self.place = mixed.selector, mixed.place
        self.__dict__["context"] = mixed.__dict__["context"]  # a module of the network already

    def grid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `PerImage`."""
        context = self.__dict__["context"]
        context.now.place = self.place
        likely = self.selector(x, context)
        unknown = (likely - likely).sum(1)  # what is not a number stays so, and is seen
        lo, hi, step = self.ends[likely.argmax(1)].unbind(1)
        return lo, hi, step + unknown


def _numbers(fixed: Fixed, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Step, smallest and largest integer of a grid."""
    lo, hi, step, *_ = fixed.range.still(x, fixed.bits)
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
