"""DDTB: an upper and a lower bound that are trained, and in some layers scaled for each image by a small gate.

Source: "Dynamic Dual Trainable Bounds for Ultra-low Precision Super-Resolution Networks", Zhong et al., ECCV 2022;
`model/quant_ops.py` and `main_limitrange_incremental.py` of zysxmu/DDTB.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.quant.clipping import LEAST_STEP
from sharpbit.quant.core import Method
from sharpbit.quant.grid import Grid, Range, rounded
from sharpbit.quant.method.pams import max_abs
from sharpbit.quant.method.percentile import low

TAIL = 0.01  # share of the values beyond each bound, at the start of activations and always of weights
HIDDEN = 32  # channels within the gate
GATE_BITS = 2
SHARE = 0.3  # of the layers whose gate is used, for EDSR; 0.1 for SRResNet, 0.5 for RDN
FIRST_APPLIED = 5  # epoch of training from which gates scale bounds; published as 6, the first being calibration


class DualBounds(Range):
    """A grid of `2^bits - 1` steps over a trained clipping range.

    `observe` puts the ends at the 1st and 99th percentile of the first batch, and notes how much the extremes of all
    batches vary, which decides whose gate is used (`choose`). A gate in use is computed in training, and applied where
    `applied` says so, and always in `eval` mode.

    Args:
        channels: number of grids, see `Range`.
        axis: dimension along which grids lie, see `Range`.
        gate: channels of the tensor `(N, C, H, W)`, if it is to have a gate.
        share: share of the layers with a gate that use it.
        start: begin with a clipping range of this size instead of percentiles. The published code does so, with 10,
            for all widths but 2 bits; its paper does not.
    """

    def __init__(
        self,
        channels: int | None = None,
        axis: int = 1,
        *,
        gate: int | None = None,
        share: float = SHARE,
        start: float | None = None,
    ) -> None:
        super().__init__(channels, axis)
        shape = () if channels is None else (channels,)
        bound = torch.nan if start is None else start
        self.lo = nn.Parameter(torch.full(shape, -bound))
        self.hi = nn.Parameter(torch.full(shape, bound))
        self.share = share
        self.gate = Gate(gate) if gate else None
        self.applied = True
        self.logits: Tensor | None = None
        self.chosen: Tensor
        self.register_buffer("chosen", torch.zeros((), dtype=torch.bool))
        self.extremes: Tensor  # of the largest and the smallest value of a batch: mean, and sum of squared deviations
        self.register_buffer("extremes", torch.zeros(2, 2))
        self.batches: Tensor
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @property
    def dynamic(self) -> bool:  # type: ignore[override]
        """Whether the gate is used."""
        if self.gate is None or self.chosen.is_meta:  # without values: the operations of a network are being counted
            return False
        return bool(self.chosen)

    @torch.no_grad()
    def observe(self, x: Tensor, bits: int = 0) -> None:
        """Take note of one batch."""
        rows = self.rows(x)
        self.lo.copy_(torch.where(self.lo.isnan(), low(rows, TAIL), self.lo))
        self.hi.copy_(torch.where(self.hi.isnan(), -low(-rows, TAIL), self.hi))
        self.batches += 1
        mean, squares = self.extremes.clone()
        away = torch.stack([x.max(), x.min()]) - mean
        mean = mean + away / self.batches
        self.extremes.copy_(torch.stack([mean, squares + away * (away - away / self.batches)]))

    def forward(self, x: Tensor, bits: int) -> Grid:
        """See the class."""
        if self.gate is not None and self.dynamic:
            self.logits = self.gate(x)
            if self.applied or not self.training:
                return self._moved(self.logits, bits)
        return self.still(x, bits)

    def each(self, x: Tensor, bits: int) -> Grid:
        """See `Range`."""
        assert self.gate is not None
        return self._moved(self.gate(x, each=True), bits)

    def _moved(self, logits: Tensor, bits: int) -> Grid:
        scale = 2 * torch.sigmoid(logits)
        return _between(self.lo * scale[:, 1:], self.hi * scale[:, :1], 2**bits - 1)

    def still(self, x: Tensor, bits: int) -> Grid:
        """See `Range`."""
        return _between(self.lo, self.hi, 2**bits - 1)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: all but the last gate, which belongs to a graph of gradients."""
        return {**self.__dict__, "logits": None}


class Gate(nn.Module):
    """How far the clipping range of each image is moved: two logits for each, the upper end first, `(N, 2, 1, 1)`.

    It works with 2 bits throughout. As published, the range of its activations spans the whole batch, so what an image
    gets depends on the others; and rounding them lets no gradient through, so only the last layer learns. Exported,
    each image has a range of its own (`each`), as where images are tested one by one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, HIDDEN, 1, bias=False)
        self.norm = nn.BatchNorm2d(HIDDEN)
        self.wide = nn.Conv2d(HIDDEN, 2, 1, bias=False)

    def forward(self, x: Tensor, *, each: bool = False) -> Tensor:
        """Of the image `(N, C, H, W)`."""
        y = _coarse(x.mean((2, 3), keepdim=True), each=each)
        y = F.relu(self.norm(F.conv2d(y, _weight(self.narrow))))
        return F.conv2d(_coarse(y, each=each), _weight(self.wide))


def _coarse(x: Tensor, *, each: bool) -> Tensor:
    x = x.detach()
    lo, hi = (end((1, 2, 3), keepdim=True) for end in (x.amin, x.amax)) if each else (x.min(), x.max())
    return rounded(x, _between(lo, hi, 2**GATE_BITS - 1))


def _weight(layer: nn.Conv2d) -> Tensor:
    return rounded(layer.weight, max_abs(layer.weight.flatten()[None], GATE_BITS))


class PercentileWeight(Range):
    """The grid of a weight between its 1st and 99th percentile; no gradient beyond them.

    Args:
        channels: number of grids, see `Range`; as published there is one for all channels.
        axis: dimension along which grids lie, see `Range`.
        symmetric: whether the grid is symmetric around zero, up to the larger of the two ends, for engines that
            multiply in integers.
    """

    def __init__(self, channels: int | None = None, axis: int = 0, *, symmetric: bool = False) -> None:
        super().__init__(channels, axis)
        self.symmetric = symmetric

    @torch.no_grad()
    def forward(self, x: Tensor, bits: int) -> Grid:
        """See the class."""
        rows = self.rows(x)
        lo, hi = low(rows, TAIL), -low(-rows, TAIL)
        if self.symmetric:
            hi = torch.maximum(-lo, hi)
            return _between(-hi, hi, 2**bits - 2)
        return _between(lo, hi, 2**bits - 1)


def _between(lo: Tensor, hi: Tensor, steps: int) -> Grid:
    """A grid of so many steps; they are not 0 where a tensor is constant, which the published code does not meet."""
    step = (hi - lo) / steps
    return Grid(lo, hi, torch.where(step < LEAST_STEP, LEAST_STEP, step))


def choose(net: nn.Module) -> list[str]:
    """Use the gates of the layers whose extremes varied most in calibration, and of no others; their names."""
    ranges = {name: part for name, part in net.named_modules() if isinstance(part, DualBounds) and part.gate}
    varied = sorted(ranges, key=lambda name: float(ranges[name].extremes[1].sum()), reverse=True)
    chosen = varied[: int(ranges[varied[0]].share * len(varied))] if varied else []
    for name, part in ranges.items():
        part.chosen.fill_(name in chosen)
    return chosen


def stage(net: nn.Module, epoch: int) -> None:
    """Choose the gates before the first epoch of training; apply them from `FIRST_APPLIED` on."""
    if epoch == 1:
        choose(net)
    for part in net.modules():
        if isinstance(part, DualBounds):
            part.applied = epoch >= FIRST_APPLIED


def loss(net: nn.Module) -> Tensor:
    """Of gates that are computed and not applied: how far they would move clipping ranges; mean square of logits."""
    held = [part for part in net.modules() if isinstance(part, DualBounds) and part.dynamic and not part.applied]
    terms = [part.logits.square().mean() for part in held if part.logits is not None]
    return torch.stack(terms).mean() if terms else torch.zeros((), device=next(net.parameters()).device)


METHOD = Method(act=DualBounds, weight=PercentileWeight, loss=loss, stage=stage)
