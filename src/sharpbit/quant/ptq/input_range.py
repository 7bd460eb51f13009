"""Input-range search: the clipping range of a layer's input is widened where that lessens the error of its result.

Our method. A search by the error of the input tensor clips too much, because errors of rounding cancel in a layer's sum
and errors of clipping, which have one sign, do not. Networks that carry the image through their layers lose the
brightest parts of the image so.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.grid import Fixed
from sharpbit.quant.layers import Weighted, rounding
from sharpbit.system.deprecated import old_names

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way to the smallest or largest value


@torch.no_grad()
def search_input_range(part: Weighted, x: Tensor) -> None:
    """Search the clipping range of a calibrated layer's input again, in place.

    Candidates lie between the present range and the smallest and largest value of `x`, in steps of a quarter on each
    side. The best one has the least mean square error of the layer's result, with weights in float.

    Args:
        part: a layer; one whose input has no single grid with a zero point stays as it is.
        x: input of the layer.
    """
    fixed = rounding(part.act)
    own = fixed.range if isinstance(fixed, Fixed) else None
    if not isinstance(own, ClippingRange) or own.channels is not None or own.symmetric:
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


__getattr__ = old_names(__name__, {"widen": "search_input_range"})
