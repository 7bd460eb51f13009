"""The uniform grid over a clipping range: what min-max, percentile and clipping methods share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sharpbit.quant.grid import Grid, Range, straight
from sharpbit.system.deprecated import old_names

LEAST_STEP = 2.0**-23  # of the published quantizer: a constant tensor has bounds that coincide


class ClippingRange(Range):
    """A uniform grid from about `lo` to about `hi`, moved so that zero is on it (the zero point is an integer).

    With `n = 2^bits - 1`: step `D = max((hi - lo) / n, 2^-23)`, zero point `z = clamp(-round(lo / D), 0, n)`, values
    `(q - z) D` for `q = 0 .. n`. Where `lo >= 0`, as behind a ReLU, the grid is unsigned and begins at 0; where
    `hi <= 0` it ends there. A range of one sign keeps the step that it gives, and what the grid then does not reach is
    clipped, as published.

    `symmetric` is for weights of engines that want a zero point of 0: `n = 2^(bits - 1) - 1`,
    `D = max(|lo|, |hi|) / n`, values `-n D .. n D`.

    The two ends are parameters. The gradient of a value inside with regard to `D` is `round(x / D) - x / D`, as in LSQ;
    a clipped value moves its bound; exactly on a bound it is inside, unless the attribute `inside` is false (see
    `Grid`).

    Source: CRAFT (`basicsr/utils/Quantify`), except that rounding comes before the zero point is added, as in ONNX;
    with the attribute `offset` after it, as published.
    """

    offset = False

    def __init__(self, channels: int | None = None, axis: int = 1, *, symmetric: bool = False) -> None:
        super().__init__(channels, axis)
        shape = () if channels is None else (channels,)
        self.symmetric = symmetric
        self.inside = True
        self.lo = nn.Parameter(torch.full(shape, torch.nan))
        self.hi = nn.Parameter(torch.full(shape, torch.nan))

    def forward(self, x: Tensor, bits: int) -> Grid:
        """See the class."""
        if self.symmetric:
            most = 2 ** (bits - 1) - 1
            step = _at_least(torch.maximum(self.lo.abs(), self.hi.abs()) / most)
            return Grid(-most * step, most * step, step, late=True, inside=self.inside)
        most = 2**bits - 1
        step = _at_least((self.hi - self.lo) / most)
        zero = -straight(self.lo / step)
        clipped = (zero < 0, zero > most) if self.inside else (zero <= 0, zero >= most)
        zero = torch.where(clipped[0], 0.0, torch.where(clipped[1], float(most), zero))
        return Grid(-zero * step, (most - zero) * step, step, late=True, inside=self.inside, offset=self.offset)


def _at_least(step: Tensor) -> Tensor:
    return torch.where(step < LEAST_STEP, LEAST_STEP, step)


__getattr__ = old_names(__name__, {"Bounds": "ClippingRange"})
