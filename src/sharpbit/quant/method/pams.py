"""PAMS: symmetric grids, that of an activation over a trained clipping range.

Source: "PAMS: Quantized Super-Resolution via Parameterized Max Scale", Li et al., ECCV 2020; `model/quant_ops.py` of
colorjam/PAMS and of Cheeun/CADyQ.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sharpbit.errors import UsageError
from sharpbit.quant.core import Method
from sharpbit.quant.grid import Grid, Range
from sharpbit.system import parallel

LEAST = 1e-8  # added to the largest weight, against a division by zero


class MaxScale(Range):
    """A grid from `-alpha` to `alpha` with `2^bits - 2` steps, also for tensors that are nowhere negative.

    The gradient for `alpha` is that of the published code: the sign of each value beyond a bound, and for each value
    inside what rounding added, in steps, divided by `2^(bits - 1) - 1`; the paper's text leaves the second out.

    While it is `following` (the first epoch of training, as published), `alpha` is set from each batch before that is
    rounded, and nothing is clipped.

    Args:
        channels: number of grids, see `Range`.
        axis: dimension along which grids lie, see `Range`.
        decay: how much of the old `alpha` stays with each further batch that is observed; 0, as published, leaves that
            of the last one. The published code knows 0.9997 too, and does not use it.
    """

    def __init__(self, channels: int | None = None, axis: int = 1, *, decay: float = 0.0) -> None:
        super().__init__(channels, axis)
        self.decay = decay
        self.alpha = nn.Parameter(torch.full(() if channels is None else (channels,), torch.nan))

    @torch.no_grad()
    def observe(self, x: Tensor, bits: int = 0) -> None:
        """Set `alpha` to the mean, over the samples of a batch, of the largest size of a value."""
        size = x.abs()
        if self.channels is None:
            seen = size.reshape(len(x), -1).amax(1).mean()
        else:
            seen = size.movedim(self.axis, -1).reshape(len(x), -1, self.channels).amax(1).mean(0)
        seen = seen.to(self.alpha)  # of 16 bits under autocast
        self.alpha.copy_(torch.where(self.alpha.isnan(), seen, torch.lerp(seen, self.alpha, self.decay)))

    def forward(self, x: Tensor, bits: int) -> Grid:
        """See the class."""
        free = self.following and self.training
        if free:
            self.observe(x.detach())
            parallel.average([self.alpha])
        bound = torch.full_like(self.alpha, torch.inf) if free else self.alpha
        return Grid(-bound, bound, self.alpha / largest(bits))


class MaxAbs(Range):
    """The symmetric grid of a weight, up to its largest size; the gradient is 1 for all weights."""

    def __init__(self, channels: int | None = None, axis: int = 0, *, symmetric: bool = True) -> None:
        super().__init__(channels, axis)
        if not symmetric:
            raise UsageError("the weights of this method have symmetric grids; leave out symmetric = false")

    @torch.no_grad()
    def forward(self, x: Tensor, bits: int) -> Grid:
        """See the class."""
        return max_abs(self.rows(x), bits)


def max_abs(rows: Tensor, bits: int) -> Grid:
    """The grid from minus to plus the largest size along the last dimension, which gradients do not see."""
    size = rows.detach().abs().amax(-1) + LEAST
    return Grid(-size, size, size / largest(bits), late=True)


def largest(bits: int) -> int:
    """The largest integer of a symmetric grid."""
    return (1 << (bits - 1)) - 1


def stage(net: nn.Module, epoch: int) -> None:
    """Let clipping ranges follow the batches in the first epoch of training, and be trained from then on."""
    for part in net.modules():
        if isinstance(part, MaxScale):
            part.following = epoch == 1


METHOD = Method(act=MaxScale, weight=MaxAbs, stage=stage)
