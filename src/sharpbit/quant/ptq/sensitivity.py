"""Per-layer sensitivity analysis: the error of the result that is gone when one layer is not rounded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sharpbit.quant.core import quantizers, unrounded
from sharpbit.quant.grid import FLOAT, Fixed
from sharpbit.quant.layers import QuantConv2d, QuantLinear, QuantSite, rounding
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress


def parts(net: nn.Module) -> dict[str, list[Fixed]]:
    """The quantizers of each layer and site that has any that round."""
    found = {}
    for name, part in net.named_modules():
        if isinstance(part, QuantConv2d | QuantLinear | QuantSite):
            own = [child for child in part.modules() if isinstance(child, Fixed) and child.bits != FLOAT]
            if own:
                found[name] = own
    return found


@torch.no_grad()
def sensitivity(
    net: nn.Module, teacher: nn.Module, images: Tensor, progress: Progress | None = None
) -> tuple[tuple[str, float], ...]:
    """Names of layers and sites, the most sensitive first, with the share of the mean square error that each causes.

    The shares need not sum up to 1, because errors of different layers can cancel or amplify each other.

    Args:
        net: quantized and calibrated, not frozen.
        teacher: the float network.
        images: `(N, 3, H, W)` in `[0, 1]`, few: the network runs once for each layer.
        progress: called with 1 after each layer.
    """
    wanted = teacher(images)

    def error() -> float:
        return float((net(images) - wanted).square().mean())

    whole = error()
    shares = []
    for name, own in parts(net).items():
        with unrounded(own):
            shares.append((name, round(1 - error() / whole, 4) if whole else 0.0))
        if progress:
            progress(1)
    return tuple(sorted(shares, key=lambda item: -item[1]))


@torch.no_grad()
def ranges(net: nn.Module, images: Tensor) -> tuple[tuple[str, float, float, float, float], ...]:
    """Of each rounded activation: name, smallest and largest value in float, and of its grid, on these images."""
    acts = {
        fixed: name
        for name, part in net.named_modules()
        if isinstance(part, QuantConv2d | QuantLinear | QuantSite)
        for fixed in part.act.modules()
        if isinstance(fixed, Fixed) and fixed.bits != FLOAT
    }
    widths = {fixed: fixed.bits for _, fixed in quantizers(net)}
    seen: dict[str, tuple[str, float, float, float, float]] = {}

    def hook(fixed: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(fixed, Fixed)
        lo, hi, *_ = fixed.range(args[0], widths[fixed])
        values = (args[0].min(), args[0].max(), lo.min(), hi.max())
        a, b, c, d = (float(value) for value in values)
        seen[acts[fixed]] = (acts[fixed], a, b, c, d)

    handles = [fixed.register_forward_pre_hook(hook) for fixed in acts]
    try:
        with unrounded(widths):
            net.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(seen.values())


def widths(net: nn.Module) -> tuple[tuple[str, int, int], ...]:
    """Of each layer and site that rounds: name, bits of its input, bits of its weight; 32 for what is not rounded."""
    found = []
    for name, part in net.named_modules():
        if isinstance(part, QuantConv2d | QuantLinear | QuantSite):
            sides = (rounding(part.act), getattr(part, "kernel", None))
            act, weight = (side.bits if isinstance(side, Fixed) else FLOAT for side in sides)
            if min(act, weight) < FLOAT:
                found.append((name, act, weight))
    return tuple(found)


__getattr__ = old_names(__name__, {"blame": "sensitivity"})
