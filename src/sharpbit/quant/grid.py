"""The grid that a tensor is rounded to, where it lies, and the module that rounds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sharpbit.errors import UsageError
from sharpbit.quant.kernels import Early, Late

FLOAT = 32  # bits of a tensor that nobody rounds
WIDEST = 16  # of a tensor that somebody does


class Grid(NamedTuple):
    """The multiples of `step` from `lo` to `hi`; zero is always a multiple, so a zero point is an integer.

    Each tensor is 0-dimensional (one grid), `(C,)` (one a channel), or of a shape that broadcasts to what is rounded
    (one a sample: `(N, 1, 1, 1)`). A grid is signed, unsigned or lopsided as its ends say. ClippingRange between two
    multiples are rounded as all values are.

    Attributes:
        lo: smallest value.
        hi: largest value.
        step: distance of neighbours, positive.
        late: whether values are clipped after they are rounded. The result is the same, the gradient is not. Clipped
            before (PAMS, DDTB), a value beyond a bound moves the bound, exactly on it both in halves. Clipped after
            (CRAFT), what still rounds to the last step counts as inside.
        inside: where clipping comes late, whether that last thing holds: it did in PyTorch from 2018 until a change of
            July 2026, and published results rest on it. If not, what rounds to the first or last step counts as
            clipped.
        offset: where clipping comes late, whether the zero point is added before rounding, as in CRAFT, or after it,
            as in ONNX and all engines. Values that lie halfway between two steps, or that the sum rounds onto such a
            place, go to the other one of the two.
    """

    lo: Tensor
    hi: Tensor
    step: Tensor
    late: bool = False
    inside: bool = True
    offset: bool = False


def straight(x: Tensor) -> Tensor:
    """`x` rounded half to even, with gradient 1 (the straight-through estimator); exact in floating point."""
    return x + (x.round() - x).detach()


def rounded(x: Tensor, grid: Grid) -> Tensor:
    """`x` on the grid, whose tensors broadcast to it; differentiable in `x` and in whatever `grid` was made of.

    Every operation is written out, because the gradient of `torch.clamp` at a bound differs between releases.
    """
    lo, hi, step, late, inside, offset = grid
    y: Tensor
    if not late:
        if lo.dim() == hi.dim() == step.dim() == 0 and x.device.type == "cpu" and x.dtype == lo.dtype == step.dtype:
            y = Early.apply(x, lo, hi, step)  # type: ignore[no-untyped-call]
            return y
        return straight(torch.minimum(torch.maximum(x, lo), hi) / step) * step
    least, most = straight(lo / step), straight(hi / step)
    if step.dim() == 0 and x.device.type == "cpu":
        y = Late.apply(x, step, least, most, inside, offset)  # type: ignore[no-untyped-call]
        return y
    number = straight(x / step - least.detach()) + least.detach() if offset else straight(x / step)
    if inside:
        number = torch.where(number < least, least, torch.where(number > most, most, number))
    else:
        number = torch.where(number <= least, least, torch.where(number >= most, most, number))
    return number * step


def spread(value: Tensor, x: Tensor, axis: int) -> Tensor:
    """A `(C,)` tensor in the shape that broadcasts along `axis` of `x`; any other as it is."""
    if value.dim() != 1 or x.dim() < 2:
        return value
    return value.reshape([-1 if k == axis % x.dim() else 1 for k in range(x.dim())])


class Range(nn.Module):
    """Where the grid of one tensor lies: what a method puts on an activation or on a weight. Abstract.

    A range may learn from `observe` (calibration), from gradients (its parameters), or look at the tensor in every
    forward. Its numbers start as NaN where it cannot do without observing, so that nothing passes unnoticed.

    Args:
        channels: None for one grid; else the size of `axis`, with a grid for each index along it.
        axis: 0 for weights, 1 for images `(N, C, H, W)`, -1 for tokens `(..., C)`.
    """

    dynamic = False  # whether the grid depends on the tensor even when the network is frozen
    following = False  # whether it is to observe each batch in training; ranges of other methods take no notice

    def __init__(self, channels: int | None = None, axis: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.axis = axis

    def observe(self, x: Tensor, bits: int) -> None:
        """Take note of a tensor of the float network that will have `bits` bits; called once a batch."""

    def settle(self, bits: int) -> None:
        """Make up one's mind; called once, when all batches were observed."""

    def forward(self, x: Tensor, bits: int) -> Grid:
        """The grid for `x` at a width of 2 to 16 bits, not yet spread along `axis`."""
        raise NotImplementedError

    def still(self, x: Tensor, bits: int) -> Grid:
        """The grid for `x` without what depends on the image, where anything does (`dynamic`)."""
        grid: Grid = self(x, bits)
        return grid

    def each(self, x: Tensor, bits: int) -> Grid:
        """The grid of each image of `x`, where it depends on the image, in use and not in training."""
        raise NotImplementedError

    def rows(self, x: Tensor) -> Tensor:
        """`(n,)`, or `(C, n)` where channels have grids of their own: what to reduce over the last dimension."""
        return x.flatten() if self.channels is None else x.movedim(self.axis, 0).flatten(1)


class Fixed(nn.Module):
    """Rounds a tensor to one range at one width; the identity at 32 bits. `bits` may be changed at any time."""

    def __init__(self, range: Range, bits: int) -> None:  # noqa: A002
        super().__init__()
        self.range = range
        self.bits = checked_bits(bits)

    @property
    def separable(self) -> bool:
        """Whether parts of a tensor are rounded as the whole is."""
        return not self.range.dynamic

    def forward(self, x: Tensor) -> Tensor:
        """`x`, rounded."""
        if self.bits == FLOAT:
            return x
        lo, hi, step, *how = self.range(x, self.bits)
        axis = self.range.axis
        return rounded(x, Grid(spread(lo, x, axis), spread(hi, x, axis), spread(step, x, axis), *how))

    def extra_repr(self) -> str:
        """Shown when a network is printed."""
        return f"bits={self.bits}"


def checked_bits(bits: int) -> int:
    """`bits`, if a tensor can have that many.

    Raises:
        UsageError: it cannot.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not (2 <= bits <= WIDEST or bits == FLOAT):
        raise UsageError(f"a tensor is rounded to 2 to {WIDEST} bits, or left alone with {FLOAT}; not {bits!r}")
    return bits
