"""Exact search: the clipping range with the smallest square error, both ends at once, for weights too.

Ours. Dual clipping cuts greedily, one bin at least, and by moving averages, so that weights stop half way; here the
error of every pair of ends of a raster is known from prefix sums (`sharpbit.quant.prefix_sums`), and the raster is
made finer around the best one. The unclipped range is a candidate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sharpbit.quant.clipping import LEAST_STEP, ClippingRange
from sharpbit.quant.core import Method
from sharpbit.quant.prefix_sums import Prefix, grid_of, sample

RASTER = 16  # bounds a side at first
ZOOMS = 3  # times that it is made finer, by `FINER` in both directions
FINER = 3
SAMPLES = 1 << 14  # values of a row that are kept of a batch, and at most four times as many in all
MANY = 1 << 22  # points that are looked up at a time


class Search(ClippingRange):
    """The best clipping range for a sample of the values of all batches. See `ClippingRange` for the arguments.

    The smallest and the largest of all values are always in the sample. At 8 bits it costs more to cut off what a
    sample happens to miss than to have a wider grid; at 4 bits two values weigh nothing.
    """

    def __init__(self, channels: int | None = None, axis: int = 1, *, symmetric: bool = False) -> None:
        super().__init__(channels, axis, symmetric=symmetric)
        self._seen: Tensor | None = None
        self._ends: Tensor | None = None
        self._every = 0

    @torch.no_grad()
    def observe(self, x: Tensor, bits: int) -> None:
        """Keep some of the values."""
        if self.axis == 0 and self._seen is not None:
            return  # a weight, which is what it was
        if self._seen is not None and self._seen.shape[1] >= 4 * SAMPLES:
            self._seen, self._every = sample(self._seen, self._seen.shape[1] // 2), 2 * self._every
        rows = whole = self.rows(x).reshape(self.channels or 1, -1)
        self._every = self._every or (1 if self.axis == 0 else max(1, rows.shape[1] // SAMPLES))
        rows = sample(rows, -(-rows.shape[1] // self._every))
        self._seen = rows.clone() if self._seen is None else torch.cat((self._seen, rows), 1)
        if self.axis == 0:
            return
        ends = _ends(whole)
        self._ends = ends if self._ends is None else _ends(torch.cat((self._ends, ends), 1))

    @torch.no_grad()
    def settle(self, bits: int) -> None:
        """Search, and let go of the values."""
        if self._seen is None:
            return
        rows = self._seen
        if self._every > 1 and self._ends is not None:
            rows = torch.cat((rows, self._ends), 1)
        for bound, found in zip((self.lo, self.hi), best(Prefix(rows), bits, symmetric=self.symmetric), strict=True):
            bound.copy_(found.reshape(bound.shape).to(bound))
        self._seen = self._ends = None


def _ends(rows: Tensor) -> Tensor:
    """`(R, 2)`: the smallest and the largest value of each row."""
    return torch.stack(rows.aminmax(dim=1), 1)


def best(prefix: Prefix, bits: int, *, symmetric: bool = False) -> tuple[Tensor, Tensor]:
    """The ends `(R,)` of the grid with the smallest mean square error of each row."""
    low, high = prefix.low.clamp(max=0), prefix.high.clamp(min=0)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    shares = torch.arange(1, RASTER + 1, dtype=torch.float64) / RASTER
    at = torch.ones(len(low), 2, dtype=torch.float64)
    reach = 1 / RASTER
    pairs = torch.cartesian_prod(shares, shares).expand(len(low), -1, -1)
    if symmetric:
        pairs = shares[:, None].expand(-1, 2).expand(len(low), -1, -1)
    for _ in range(ZOOMS + 1):
        errors = _errors(prefix, low[:, None] * pairs[..., 0], high[:, None] * pairs[..., 1], bits, symmetric)
        at = pairs[torch.arange(len(low)), errors.argmin(-1)]
        steps = torch.arange(1 - FINER, FINER) / FINER * reach
        around = steps[:, None].expand(-1, 2) if symmetric else torch.cartesian_prod(steps, steps)
        pairs = (at[:, None] + around.double()).clamp(1e-3, 1)
        reach /= FINER
    return low * at[:, 0], high * at[:, 1]


def _errors(prefix: Prefix, lo: Tensor, hi: Tensor, bits: int, symmetric: bool) -> Tensor:
    most = 2**bits - 1
    if symmetric:
        most -= 1
        step = (2 * hi / most).clamp(min=LEAST_STEP)
        zero = torch.full_like(step, most / 2)
    else:
        step, zero = grid_of(lo, hi, bits)
    many = max(1, MANY // (2 * most * len(step)))
    parts = zip(torch.split(step, many, 1), torch.split(zero, many, 1), strict=True)
    return torch.cat([prefix.square(*part, most) for part in parts], 1)


METHOD = Method(act=Search, weight=Search)
