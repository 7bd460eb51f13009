"""Min-max: the grid spans every value that was seen in calibration, and nothing is clipped."""

from __future__ import annotations

import torch
from torch import Tensor

from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.core import Method


class MinMax(ClippingRange):
    """A clipping range from the smallest to the largest value of all batches."""

    @torch.no_grad()
    def observe(self, x: Tensor, bits: int) -> None:
        """Widen the clipping range to hold `x`."""
        rows = self.rows(x)
        self.lo.copy_(torch.fmin(self.lo, rows.amin(-1)))
        self.hi.copy_(torch.fmax(self.hi, rows.amax(-1)))


METHOD = Method(act=MinMax, weight=MinMax)
