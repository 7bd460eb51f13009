"""Density clipping of PTQ4SR: bins are cut from the end where fewer values lie, until a fixed share of them is gone.

Source: "Toward Accurate Post-Training Quantization for Image Super Resolution", Tu et al., CVPR 2023;
`basicsr/quant/quant.py` of huawei-noah/Efficient-Computing. That is a method for convolutions: the operands of the
products in attention, which it does not know, are clipped here as everything else. Its grids begin at a real number;
here, as in engines, zero is on the grid, which moves a bound by half a step at most.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sharpbit.errors import UsageError
from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.core import Method
from sharpbit.quant.method.minmax import MinMax

BINS = 2048


class Density(ClippingRange):
    """A clipping range that is the mean over all batches of the clipped one.

    Args:
        channels: None, since this clipping knows one grid a tensor only.
        axis: dimension along which grids lie, see `Range`.
        symmetric: whether the grid is symmetric, see `ClippingRange`.
        share: share of the values that may be cut off; by default 1e-4, and 1e-5 at 8 bits and more.
    """

    def __init__(
        self, channels: int | None = None, axis: int = 1, *, symmetric: bool = False, share: float | None = None
    ) -> None:
        if channels is not None:
            raise UsageError("density clipping is for whole tensors; leave per_channel out, or use another method")
        super().__init__(channels, axis, symmetric=symmetric)
        self.share = share
        self.batches = 0

    @torch.no_grad()
    def observe(self, x: Tensor, bits: int) -> None:
        """Move the clipping range by one batch."""
        share = self.share or (1e-5 if bits >= 8 else 1e-4)
        low, high = x.min(), x.max()
        width = (high - low) / BINS
        if width > 0:
            first, last = _kept(torch.histc(x.float(), BINS, float(low), float(high)), share)
            low, high = (
                low + width * (first + 1),
                low + width * (last + 1),
            )  # both one further to the right, as published
        self.batches += 1
        for bound, seen in ((self.lo, low), (self.hi, high)):
            bound.copy_(seen if self.batches == 1 else bound + (seen - bound) / self.batches)


def _kept(counts: Tensor, share: float) -> tuple[int, int]:
    """First and last bin that stay."""
    numbers = counts.double().tolist()
    first, last = 0, len(numbers) - 1
    kept = whole = sum(numbers)
    while kept > (1 - share) * whole and first < last:
        if numbers[first] < numbers[last]:
            kept -= numbers[first]
            first += 1
        else:
            kept -= numbers[last]
            last -= 1
    return first, last


METHOD = Method(act=Density, weight=MinMax)
