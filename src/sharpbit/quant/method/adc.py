"""Adaptive Dual Clipping: cut the range of a tensor bin by bin, from the end where that costs less, while it pays.

Source: CRAFT, `basicsr/utils/Quantify/observer/dual_clipping.py` of
AVC2-UESTC/Frequency-Inspired-Optimization-for-EfficientSR. There every candidate rounds the whole tensor; here the
errors come from prefix sums (`sharpbit.quant.prefix_sums`), with the same result. Where two candidates are the same
grid the right end is cut; there the published choice depends on the order of its sums, and gives the same grid.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sharpbit.errors import UsageError
from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.core import Method
from sharpbit.quant.prefix_sums import Prefix, grid_of

OBJECTIVES = ("absolute", "frequency")
Cost = Callable[[Tensor, Tensor], Tensor]


class DualClip(ClippingRange):
    """A clipping range from the smallest to the largest value of the first batch, drawn by each towards its own.

    Args:
        channels: number of grids, see `Range`.
        axis: dimension along which grids lie, see `Range`.
        symmetric: whether the grid is symmetric, see `ClippingRange`; the search is for a zero point even then.
        objective: what clipping minimizes: the `absolute` error of the values, or of the magnitudes of the `frequency`s
            along the lines of a map `(N, C, H, W)`.
        rate: how far each batch draws the range. With the published 0.1 a weight, which never changes, keeps 48 % of
            its unclipped range after 7 batches.

    Values are rounded in the published order of operations (see `Grid.offset`). Frozen, they are in that of engines,
    which is all that freezing changes: of a million values some four go to the other one of two steps.
    """

    offset = True

    def __init__(
        self,
        channels: int | None = None,
        axis: int = 1,
        *,
        symmetric: bool = False,
        objective: str = "absolute",
        rate: float = 0.1,
    ) -> None:
        super().__init__(channels, axis, symmetric=symmetric)
        if objective not in OBJECTIVES or (objective == "frequency" and channels is not None):
            raise UsageError(
                f"dual clipping has the objectives {' and '.join(OBJECTIVES)}, the latter for one grid a tensor; not"
                f" {objective!r} for {channels or 'one'}"
            )
        self.objective = objective
        self.rate = rate

    @torch.no_grad()
    def observe(self, x: Tensor, bits: int) -> None:
        """Move the clipping range by one batch."""
        rows = self.rows(x).reshape(self.channels or 1, -1)
        low, high = rows.amin(-1).double(), rows.amax(-1).double()
        cost = of_frequencies(x, bits) if self.objective == "frequency" else of_values(rows, bits)
        found = clipped(low.cpu(), high.cpu(), bits, cost)
        for bound, seen, best in ((self.lo, low, found[0]), (self.hi, high, found[1])):
            start = torch.where(bound.isnan(), seen.reshape(bound.shape).to(bound), bound)
            bound.copy_(torch.lerp(start, best.reshape(bound.shape).to(bound), self.rate))


def clipped(low: Tensor, high: Tensor, bits: int, cost: Cost) -> tuple[Tensor, Tensor]:
    """The clipping ranges at which cutting stops, one pair a row.

    The uncut range is no candidate: one bin at least is cut.

    Args:
        low: `(R,)` float64, smallest values.
        high: `(R,)` float64, largest values.
        bits: width; there are as many bins as numbers.
        cost: function that gives the cost of steps and zero points `(R, k)`, `(R, k)`.
    """
    flat = low == high  # the histogram of a constant reaches half a unit to each side
    low, high = torch.where(flat, low - 0.5, low), torch.where(flat, high + 0.5, high)
    bins = 2**bits
    width = (high - low) / bins
    left, right = torch.zeros_like(low), torch.full_like(low, bins)
    best, going = torch.full_like(low, torch.inf), torch.ones_like(low, dtype=torch.bool)
    for _ in range(bins - 1):
        lo = low[:, None] + torch.stack((left + 1, left), 1) * width[:, None]
        span = ((right - left - 1) * width)[:, None]  # of both candidates; exactly, so that equal grids cost the same
        errors = cost(*grid_of(lo, lo + span, bits))
        cut_left = errors[:, 0] < errors[:, 1]
        error = torch.where(cut_left, errors[:, 0], errors[:, 1])
        going &= error <= best
        if not going.any():
            break
        best = torch.where(going, error, best)
        left = torch.where(going & cut_left, left + 1, left)
        right = torch.where(going & ~cut_left, right - 1, right)
    return low + left * width, low + right * width


def of_values(rows: Tensor, bits: int) -> Cost:
    """Mean absolute error of each row `(R, n)`."""
    prefix = Prefix(rows)
    return lambda step, zero: prefix.absolute(step, zero, 2**bits - 1)


def of_frequencies(x: Tensor, bits: int) -> Cost:
    """Mean error of the magnitudes of the frequencies of a map `(N, C, H, W)`.

    A magnitude is that of the discrete Fourier transform, along each line, of the mean of all channels, summed over the
    images.
    """
    if x.dim() != 4:
        raise UsageError(f"the objective 'frequency' is for maps (N, C, H, W), not for a tensor {tuple(x.shape)}")
    x = x.contiguous()
    wanted, most = _magnitudes(x.mean(1)), 2**bits - 1
    twice = torch.full((wanted.shape[-1],), 2.0, device=x.device)  # the other half of the spectrum of real numbers
    twice[0] = 1
    if x.shape[-1] % 2 == 0:
        twice[-1] = 1
    buffer = torch.empty_like(x[0])

    def one(step: float, zero: float) -> float:
        means = []
        for image in x:  # one at a time, which stays in the cache
            torch.div(image, step, out=buffer)
            means.append(buffer.round_().clamp_(-zero, most - zero).mean(0))
        error = (_magnitudes(torch.stack(means) * step) - wanted).abs() * twice
        return float(error.double().sum()) / (x.shape[-2] * x.shape[-1])

    seen: dict[tuple[float, float], float] = {}

    def cost(step: Tensor, zero: Tensor) -> Tensor:
        for grid in zip(step.flatten().tolist(), zero.flatten().tolist(), strict=True):
            if grid not in seen:
                seen[grid] = one(*grid)
        grids = zip(step.flatten().tolist(), zero.flatten().tolist(), strict=True)
        return torch.tensor([seen[grid] for grid in grids], dtype=torch.float64).view(step.shape)

    return cost


def _magnitudes(lines: Tensor) -> Tensor:
    """`(N, H, W)` to `(H, W // 2 + 1)`."""
    result: Tensor = torch.fft.rfft(lines, dim=-1).abs().sum(0)
    return result


METHOD = Method(act=DualClip, weight=DualClip, maps={"objective": "frequency"})
