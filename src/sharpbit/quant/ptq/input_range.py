"""Bounds by result: the range of a layer's input is widened where that brings the layer's result closer.

Ours. A search by the error of the tensor clips too much where few large values say the same thing: rounding errors of
many values cancel out in a sum, clipped ones add up. In networks that carry the image through a layer the brightest
parts of it are such values.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from sharpbit.quant.clipping import Bounds
from sharpbit.quant.grid import Fixed
from sharpbit.quant.layers import Weighted, rounding

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way to the smallest or largest value


@torch.no_grad()
def widen(part: Weighted, x: Tensor) -> None:
    """Choose the bounds of the input of a calibrated layer again, in place.

    Candidates lie between those that it has and the smallest and largest value of `x`, in steps of a quarter on each
    side; the best has the least mean square error of the layer's result, with weights as they are in float.

    Args:
        part: whose input has one grid with a zero point; others stay as they are.
        x: what the layer gets.
    """
    fixed = rounding(part.act)
    own = fixed.range if isinstance(fixed, Fixed) else None
    if not isinstance(own, Bounds) or own.channels is not None or own.symmetric:
        return
    seen: list[Tensor] = []
    handle = fixed.register_forward_pre_hook(lambda _, args: seen.append(args[0]))  # a balanced input is scaled first
    part.act(x)
    handle.remove()
    wanted = part.product(seen[0], part.weight)
    least, most = seen[0].min().clamp(max=own.lo), seen[0].max().clamp(min=own.hi)
    lows = [torch.lerp(own.lo, least, share) for share in SHARES]
    highs = [torch.lerp(own.hi, most, share) for share in SHARES]
    found = []
    for lo, hi in product(lows, highs):
        own.lo.copy_(lo)
        own.hi.copy_(hi)
        found.append((float((part.product(fixed(seen[0]), part.weight) - wanted).square().mean()), lo, hi))
    _, lo, hi = min(found, key=lambda one: one[0])
    own.lo.copy_(lo)
    own.hi.copy_(hi)
