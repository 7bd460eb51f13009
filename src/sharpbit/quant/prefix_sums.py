"""What rounding costs, for many grids at once: sorted values and their prefix sums in place of rounding tensors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sharpbit.quant.clipping import LEAST_STEP

BLOCK = 1 << 20  # values that are sorted at once: more do not fit into a cache, fewer are too many to look into
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


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
    """Values of some rows, sorted block by block, with their prefix sums.

    The error of a grid is then a sum over its steps and not over the values: between two of the points "value of the
    grid" and "middle between two values" all of a row's values are rounded the same way and on the same side.

    Args:
        rows: `(R, n)`.

    Attributes:
        low: `(R,)` float64, smallest values.
        high: `(R,)` float64, largest values.
    """

    def __init__(self, rows: Tensor) -> None:
        data = rows.detach().float().cpu().numpy()
        count, length = data.shape
        self._length: int = length
        whole = self._length // BLOCK * BLOCK
        parts = (data[:, :whole].reshape(-1, BLOCK), data[:, whole:])
        self._parts = [(count, *_sorted(part)) for part in parts if part.size]
        self._squares: Tensor | None = None
        ends = [[values[:, end].view(count, -1).double() for _, values, _ in self._parts] for end in (0, -1)]
        self.low, self.high = torch.cat(ends[0], 1).amin(1), torch.cat(ends[1], 1).amax(1)

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
        return error.reshape(step.shape) / self._length

    def square(self, step: Tensor, zero: Tensor, most: int) -> Tensor:
        """Mean square errors, as `absolute`."""
        values, count, total = self._between(step, zero, most)
        if self._squares is None:
            squares = [values.double().square().view(count, -1).sum(-1) for count, values, _ in self._parts]
            self._squares = torch.stack(squares).sum(0)[:, None] / self._length
        each, sums = (pair[..., 0::2] + pair[..., 1::2] for pair in (count, total))
        shift = (values * (values * each - 2 * sums)).sum(-1).reshape(step.shape) / self._length
        return self._squares + shift

    def _between(self, step: Tensor, zero: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """Grid values `(R, k, n)`, and between neighbouring points number and sum of the row's values `(R, k, 2n)`."""
        halves = torch.arange(2 * most + 1, dtype=torch.float64) / 2
        points = (halves - zero[..., None]) * step[..., None]  # value, middle, value, middle, ..., value
        wanted = points.flatten(1).float()
        below, total = torch.zeros(2, *wanted.shape, dtype=torch.float64)
        whole = torch.zeros(len(wanted), 1, dtype=torch.float64)
        for count, values, sums in self._parts:
            blocks = len(values) // count
            at = torch.searchsorted(values, wanted.repeat_interleave(blocks, 0))
            below += at.view(count, blocks, -1).sum(1)
            total += sums.gather(1, at).view(count, blocks, -1).sum(1)
            whole += sums[:, -1].view(count, -1).sum(1, keepdim=True)
        shape = (*points.shape[:-1], 1)
        ends = [torch.full(shape, end, dtype=torch.float64) for end in (0, self._length)]
        number = torch.cat((ends[0], below.view(points.shape), ends[1]), -1).diff(dim=-1)
        total = torch.cat((ends[0], total.view(points.shape), whole[..., None].expand(shape)), -1).diff(dim=-1)
        return points[..., ::2], number, total


def _sorted(rows: Numbers) -> tuple[Tensor, Tensor]:
    """Each row in order, and its prefix sums in float64, `(R, n + 1)`; threads share the rows."""
    values = np.empty_like(rows)
    sums = np.zeros((len(rows), rows.shape[1] + 1))

    def one(part: slice) -> None:
        values[part] = np.sort(rows[part], axis=-1)  # several times quicker than the framework's sort
        np.cumsum(values[part], axis=-1, dtype=np.float64, out=sums[part, 1:])

    many = max(1, BLOCK // rows.shape[1])  # short rows are not worth a thread each
    shares = [slice(start, start + many) for start in range(0, len(rows), many)]
    if len(shares) == 1:
        one(shares[0])
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            list(threads.map(one, shares))
    return torch.from_numpy(values), torch.from_numpy(sums)
