"""Channels of one size: the input of a layer is scaled channel by channel before it is rounded, its weights back.

Ours, in the manner of cross-layer equalization and SmoothQuant (Xiao et al., 2023). In float nothing changes. Rounded,
channels of small numbers get their share of the one grid that the tensor has; what is multiplied still has one scale,
so integers do it as before. The scale itself is one multiplication a number, beside that by the step of the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from sharpbit.quant.core import quantizers, unrounded
from sharpbit.quant.grid import FLOAT, Fixed, Grid, rounded, spread
from sharpbit.quant.layers import Balanced, QuantConv2d, QuantLinear, Weighted
from sharpbit.quant.method.search import best
from sharpbit.quant.prefix import Prefix, grid_of, sample

POWERS = (0.25, 0.5, 0.75, 1.0)  # of the channels' sizes, tried as scales beside none
WORTH = 0.9  # the share of the error that must be gone for a scale to be worth its multiplication
SAMPLES = 1 << 17  # values of an input from which its grid is chosen here


@torch.no_grad()
def balance(net: nn.Module, pictures: Tensor, progress: Callable[[int], object] | None = None) -> list[str]:
    """Scale the channels of a quantized network where that lessens the error of a layer's result; in place.

    Args:
        net: quantized, not calibrated yet.
        pictures: `(N, 3, H, W)` in `[0, 1]`, that the layers are tried on.
        progress: called with 1 after each layer.

    Returns:
        the names of the layers that were changed.
    """
    layers: dict[str, Weighted] = {
        name: part
        for name, part in net.named_modules()
        if isinstance(part, QuantConv2d | QuantLinear)
        and isinstance(part.act, Fixed)
        and isinstance(part.kernel, Fixed)
        and getattr(part, "groups", 1) == 1
        and part.act.bits != FLOAT
        and part.kernel.bits != FLOAT
    }
    widths = {fixed: fixed.bits for _, fixed in quantizers(net)}
    found: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def look(part: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            assert isinstance(part, QuantConv2d | QuantLinear)
            scale = _scale(part, args[0], out, widths[part.act], widths[part.kernel])  # type: ignore[index]
            if scale is not None:
                found[name] = scale
            if progress:
                progress(1)

        return look

    handles = [part.register_forward_hook(hook(name)) for name, part in layers.items()]
    try:
        with unrounded(widths):
            net.eval()(pictures)
    finally:
        for handle in handles:
            handle.remove()
    for name, scale in found.items():
        layer = layers[name]
        wrap(net, [name])
        layer.act.scale.copy_(scale)  # type: ignore[operator]
        layer.weight.div_(spread(scale, layer.weight, 1))
    return list(found)


def wrap(net: nn.Module, names: Iterable[str]) -> nn.Module:
    """Put scales of 1 in front of the quantizers of the inputs of these layers, in place; `net`."""
    for name in names:
        layer = net.get_submodule(name)
        assert isinstance(layer, QuantConv2d | QuantLinear)
        axis = 1 if isinstance(layer, nn.Conv2d) else -1
        layer.act = Balanced(layer.act, torch.ones(layer.weight.shape[1]).to(layer.weight), axis)
    return net


def _scale(part: Weighted, x: Tensor, wanted: Tensor, act: int, weight: int) -> Tensor | None:
    """The best of some scales, if it is worth it."""
    axis = 1 if isinstance(part, nn.Conv2d) else -1
    size = x.movedim(axis, 0).flatten(1).abs().amax(-1).clamp(min=1e-6)

    def error(scale: Tensor) -> float:
        own = _on_grid(x * spread(scale, x, axis), None, act)
        kernel = part.weight / spread(scale, part.weight, 1)
        kernel = _on_grid(kernel, 0, weight)
        result = part.product(own, kernel)
        return float((result - wanted).square().mean())

    scales = [(size / size.log().mean().exp()).pow(-power) for power in POWERS]
    errors = [error(scale) for scale in scales]
    least = min(range(len(scales)), key=errors.__getitem__)
    return scales[least] if errors[least] < WORTH * error(torch.ones_like(size)) else None


def _on_grid(x: Tensor, axis: int | None, bits: int) -> Tensor:
    """`x` on its best grid, or each row of a weight on its own."""
    rows = x.flatten(1) if axis == 0 else x.reshape(1, -1)
    if axis is None:
        rows = sample(rows, SAMPLES)
    lo, hi = best(Prefix(rows), bits)
    step, zero = (value.to(x) for value in grid_of(lo, hi, bits))
    if axis is None:
        step, zero = step[0], zero[0]
    lo, hi, step = (spread(value, x, 0) for value in (-zero * step, (2**bits - 1 - zero) * step, step))
    return rounded(x, Grid(lo, hi, step, late=True))
