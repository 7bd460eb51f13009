"""Equalization: each channel of a layer's input is scaled before it is rounded, and the weights undo the scale.

Our method, after cross-layer equalization and SmoothQuant (Xiao et al., 2023). In float nothing changes. When rounded,
channels of small values use more of the one grid that the tensor has. The tensor still has one step, so integers
multiply it as before; scaling costs one multiplication for each value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.core import quantizers, unrounded
from sharpbit.quant.grid import FLOAT, Fixed, Grid, rounded, spread
from sharpbit.quant.layers import Equalized, QuantConv2d, QuantLinear, Weighted
from sharpbit.quant.method.search import best
from sharpbit.quant.prefix_sums import Prefix, grid_of, sample
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress

POWERS = (0.25, 0.5, 0.75, 1.0)  # of the channels' sizes, tried as scales beside none
LEAST = 1 / 64  # smallest size of a channel, as a share of that of the largest one
WORTH = 0.9  # a scale is used where the error falls below this share of what it was
TRIED = 4  # images that scales are tried on
AT_ONCE = 8  # images in a forward of all
SAMPLES = 1 << 17  # values of an input from which its grid is chosen here


@torch.no_grad()
def equalize(net: nn.Module, images: Tensor, progress: Progress | None = None) -> list[str]:
    """Scale the channels of a quantized network, in place, where that lessens the error of a layer's result.

    The size of a channel is measured on all images. Measured on a few, a channel that is near zero in these would be
    scaled up, and would take most of the grid where it is not.

    Args:
        net: quantized, not calibrated yet.
        images: `(N, 3, H, W)` in `[0, 1]`; on a few of them, spread over all, scales are tried.
        progress: called with the number of images that were looked at, and with 1 after each layer.

    Returns:
        The names of the layers that were changed.
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
    sizes: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    report = progress or (lambda _: None)

    def measure(name: str, part: Weighted, x: Tensor, _: Tensor) -> None:
        size = x.abs().amax([k for k in range(x.dim()) if k != _axis(part) % x.dim()])
        sizes[name] = torch.maximum(sizes.get(name, size), size)

    def look(name: str, part: Weighted, x: Tensor, out: Tensor) -> None:
        scale = _scale(part, x, out, sizes[name], widths[part.act], widths[part.kernel])  # type: ignore[index]
        if scale is not None:
            found[name] = scale
        report(1)

    widths = {fixed: fixed.bits for _, fixed in quantizers(net)}
    net.eval()
    with unrounded(widths):
        with _watched(layers, measure):
            for batch in torch.split(images, AT_ONCE):
                net(batch)
                report(len(batch))
        with _watched(layers, look):
            net(images[:: max(1, len(images) // TRIED)][:TRIED])
    for name, scale in found.items():
        layer = layers[name]
        wrap(net, [name])
        layer.act.scale.copy_(scale)  # type: ignore[operator]
        layer.weight.div_(spread(scale, layer.weight, 1))
    return list(found)


@contextmanager
def _watched(layers: Mapping[str, Weighted], each: Callable[[str, Weighted, Tensor, Tensor], None]) -> Iterator[None]:
    """Within, `each` is called for every layer that runs, with its name, the layer, its input and its result."""
    handles = [
        part.register_forward_hook(lambda part, args, out, name=name: each(name, part, args[0], out))
        for name, part in layers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def wrap(net: nn.Module, names: Iterable[str]) -> nn.Module:
    """Put scales of 1 in front of the quantizers of the inputs of these layers, in place; `net`."""
    for name in names:
        layer = net.get_submodule(name)
        assert isinstance(layer, QuantConv2d | QuantLinear)
        layer.act = Equalized(layer.act, torch.ones(layer.weight.shape[1]).to(layer.weight), _axis(layer))
    return net


def _axis(part: Weighted) -> int:
    """Along which the channels of a layer's input lie."""
    return 1 if isinstance(part, nn.Conv2d) else -1


def _scale(part: Weighted, x: Tensor, wanted: Tensor, size: Tensor, act: int, weight: int) -> Tensor | None:
    """The best of some scales, if it is worth it; `size` is that of the channels."""
    axis, size = _axis(part), size.clamp(min=LEAST * size.amax()).clamp(min=torch.finfo(size.dtype).tiny)
    bounds = part.kernel.range
    symmetric = isinstance(bounds, ClippingRange) and bounds.symmetric

    def error(scale: Tensor) -> float:
        own = _on_grid(x * spread(scale, x, axis), None, act)
        kernel = part.weight / spread(scale, part.weight, 1)
        kernel = _on_grid(kernel, 0, weight, symmetric=symmetric)
        result = part.product(own, kernel)
        return float((result - wanted).square().mean())

    scales = [(size / size.log().mean().exp()).pow(-power) for power in POWERS]
    errors = [error(scale) for scale in scales]
    least = min(range(len(scales)), key=errors.__getitem__)
    return scales[least] if errors[least] < WORTH * error(torch.ones_like(size)) else None


def _on_grid(x: Tensor, axis: int | None, bits: int, *, symmetric: bool = False) -> Tensor:
    """`x` on its best grid, or each row of a weight on its own."""
    rows = x.flatten(1) if axis == 0 else x.reshape(1, -1)
    if axis is None:
        rows = sample(rows, SAMPLES)
    lo, hi = best(Prefix(rows), bits, symmetric=symmetric)
    step, zero = (value.to(x) for value in grid_of(lo, hi, bits))
    if axis is None:
        step, zero = step[0], zero[0]
    lo, hi, step = (spread(value, x, 0) for value in (-zero * step, (2**bits - 1 - zero) * step, step))
    return rounded(x, Grid(lo, hi, step, late=True))


__getattr__ = old_names(__name__, {"balance": "equalize"})
