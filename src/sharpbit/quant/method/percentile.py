"""Percentile: activations are clipped where hardly any value lies; weights as in min-max."""

from __future__ import annotations

import torch
from torch import Tensor

from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.core import Method
from sharpbit.quant.method.minmax import MinMax


class Percentile(ClippingRange):
    """A clipping range between two quantiles of the first batch, drawn a little towards those of each further one.

    Args:
        channels: number of grids, see `Range`.
        axis: dimension along which grids lie, see `Range`.
        symmetric: whether the grid is symmetric, see `ClippingRange`.
        tail: share of the values that is cut off at each end.
        rate: how far each further batch draws the range.

    Source: `models/ptq/observer/percentile.py` of FQ-ViT, where `tail` is 1e-5 and `rate` 0.01. Quantiles lie between
    two values linearly, as `numpy.quantile` has them.
    """

    def __init__(
        self,
        channels: int | None = None,
        axis: int = 1,
        *,
        symmetric: bool = False,
        tail: float = 1e-5,
        rate: float = 0.01,
    ) -> None:
        super().__init__(channels, axis, symmetric=symmetric)
        self.tail = tail
        self.rate = rate

    @torch.no_grad()
    def observe(self, x: Tensor, bits: int) -> None:
        """Move the clipping range by one batch."""
        rows = self.rows(x)
        for bound, seen in ((self.lo, low(rows, self.tail)), (self.hi, -low(-rows, self.tail))):
            bound.copy_(torch.where(bound.isnan(), seen, bound + self.rate * (seen - bound)))


def low(rows: Tensor, share: float) -> Tensor:
    """The quantile at a small `share`; `torch.quantile` sorts everything and refuses more than 16 million values."""
    last = rows.shape[-1] - 1
    below = int(share * last)
    lowest = rows.topk(min(below + 1, last) + 1, largest=False, sorted=True).values
    return torch.lerp(lowest[..., below], lowest[..., -1], share * last - below)


METHOD = Method(act=Percentile, weight=MinMax)
