"""What rounding costs, for many grids at once: sorted values and their prefix sums in place of rounding tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sharpbit.quant.clipping import LEAST_STEP


def grid_of(lo: Tensor, hi: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Step and zero point (a float) of the grids of `ClippingRange` between `lo` and `hi`, which may have any shape."""
    most = 2**bits - 1
    step = ((hi - lo) / most).clamp(min=LEAST_STEP)
    return step, (-(lo / step).round()).clamp(0, most)


def sample(rows: Tensor, count: int) -> Tensor:
    """At most `count` values of each row `(R, n)`, at places that look random and are the same every time.

    A stride would not do: one that channels divide meets the same few of them again and again.
    """
    if rows.shape[1] <= count:
        return rows
    generator = torch.Generator().manual_seed(0)
    return rows[:, torch.randint(rows.shape[1], (count,), generator=generator).to(rows.device)]


class Prefix:
    """Values of some rows, sorted, with their prefix sums.

    The error of a grid is then a sum over its steps and not over the values: between two of the points "value of the
    grid" and "middle between two values" all of a row's values are rounded the same way and on the same side.

    Args:
        rows: `(R, n)`.

    Attributes:
        low: `(R,)` float64, smallest values.
        high: `(R,)` float64, largest values.
    """

    def __init__(self, rows: Tensor) -> None:
        data = np.sort(rows.detach().float().cpu().numpy(), axis=-1)  # several times quicker than the framework's sort
        sums = np.zeros((len(data), data.shape[1] + 1))
        np.cumsum(data, axis=-1, dtype=np.float64, out=sums[:, 1:])
        self._values, self._sums = torch.from_numpy(data), torch.from_numpy(sums)
        self._squares: Tensor | None = None
        self.low, self.high = self._values[:, 0].double(), self._values[:, -1].double()

    def absolute(self, step: Tensor, zero: Tensor, most: int) -> Tensor:
        """Mean absolute errors `(R, k)`, float64, of `k` grids a row.

        Args:
            step: `(R, k)`.
            zero: `(R, k)`, zero points.
            most: largest number of the grids, the smallest being 0.
        """
        values, count, total = self._between(step, zero, most)
        # below a grid value errors are v - x, above it x - v
        below, above = count[..., 0::2], count[..., 1::2]
        error = (values * (below - above)).sum(-1) - (total[..., 0::2] - total[..., 1::2]).sum(-1)
        return error.reshape(step.shape) / self._values.shape[1]

    def square(self, step: Tensor, zero: Tensor, most: int) -> Tensor:
        """Mean square errors, as `absolute`."""
        values, count, total = self._between(step, zero, most)
        if self._squares is None:
            self._squares = self._values.double().square().mean(-1, keepdim=True)
        each, sums = (pair[..., 0::2] + pair[..., 1::2] for pair in (count, total))
        shift = (values * (values * each - 2 * sums)).sum(-1).reshape(step.shape) / self._values.shape[1]
        return self._squares + shift

    def _between(self, step: Tensor, zero: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """Grid values `(R, k, n)`, and between neighbouring points number and sum of the row's values `(R, k, 2n)`."""
        last = self._values.shape[1]
        halves = torch.arange(2 * most + 1, dtype=torch.float64) / 2
        points = (halves - zero[..., None]) * step[..., None]  # value, middle, value, middle, ..., value
        at = torch.searchsorted(self._values, points.flatten(1).float())
        total = self._sums.gather(1, at).view(points.shape)
        shape = (*points.shape[:-1], 1)
        ends = (torch.zeros(shape), torch.full(shape, float(last)))
        count = torch.cat((ends[0], at.view(points.shape), ends[1]), -1).double().diff(dim=-1)
        whole = self._sums[:, -1:, None].expand(shape)
        total = torch.cat((torch.zeros(shape).double(), total, whole), -1).diff(dim=-1)
        return points[..., ::2], count, total
