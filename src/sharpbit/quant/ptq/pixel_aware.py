"""Pixel-aware calibration: clipping ranges are trained on pixels and, where asked for, features of the float network.

Source: "Toward Accurate Post-Training Quantization for Image Super Resolution", Tu et al., CVPR 2023;
`basicsr/ptq4sr.py` of huawei-noah/Efficient-Computing: first the clipping ranges of activations, then those of
weights, each with Adam along a cosine, two images a step. In the released code the features of the second term of the
loss are cut off from the gradient, so that the pixels alone teach; no `features` gives that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.errors import UsageError
from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.core import borrowed, quantizers
from sharpbit.quant.distill import attention_transfer
from sharpbit.quant.grid import Fixed
from sharpbit.quant.ptq.descent import descend
from sharpbit.system.progress import Progress


@dataclass(frozen=True)
class PixelAware:
    """Settings of pixel-aware calibration.

    Attributes:
        steps: number of steps, half of them for clipping ranges of activations, the rest for those of weights.
        batch: images in a step.
        act: first and last learning rate of the clipping ranges of activations (Adam).
        weight: first and last learning rate of the clipping ranges of weights (Adam).
        features: globs over modules whose results, maps `(N, C, H, W)`, are to be alike: the residual blocks.
        share: weight of the distance of features beside that of pixels.
    """

    steps: int = 500
    batch: int = 2
    act: tuple[float, float] = (5e-3, 2e-3)
    weight: tuple[float, float] = (5e-6, 2e-6)
    features: tuple[str, ...] = ()
    share: float = 5.0


def pixel_aware(
    net: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    how: PixelAware,
    progress: Progress | None = None,
) -> list[float]:
    """Train the clipping ranges of a calibrated network in place; the loss of each step.

    The gradient of a bound is divided by `sqrt(N (2^(bits - 1) - 1))`, with `N` values rounded.

    Args:
        net: quantized and calibrated; all its ranges are of the kind `ClippingRange`.
        teacher: the float network.
        images: `(N, 3, H, W)` in `[0, 1]`.
        how: the settings.
        progress: called with 1 after each step.

    Raises:
        UsageError: other ranges, no images, or a glob that names nothing.
        ModelError: the loss is not a number any more.
    """
    found = [fixed for _, fixed in quantizers(net)]
    if not found or not all(isinstance(fixed.range, ClippingRange) for fixed in found):
        raise UsageError("refining is for quantized networks with clipping ranges; quantize with another method")
    if not len(images):
        raise UsageError("there is nothing to refine with: not one image came")
    losses: list[float] = []
    net.eval()
    with borrowed(net.parameters()), _results(net, how.features) as own, _results(teacher, how.features) as wanted:

        def loss_of(batch: Tensor) -> Tensor:
            with torch.no_grad():
                target = teacher(batch)
            loss = F.l1_loss(net(batch), target)
            terms = [attention_transfer(own[name], wanted[name]) for name in own]
            return loss + how.share * torch.stack(terms).mean() if terms else loss

        for weights, steps, rates in (
            (False, how.steps - how.steps // 2, how.act),
            (True, how.steps // 2, how.weight),
        ):
            learning = [fixed for fixed in found if (fixed.range.axis == 0) == weights]
            adam = _started(net, learning, rates[0])
            for step in range(steps):
                adam.param_groups[0]["lr"] = _cosine(*rates, step / steps)
                first = step * how.batch % len(images)
                with _counting(learning) as numbers:
                    loss = loss_of(images[first : first + how.batch])
                where = f"at step {len(losses) + 1} of refining"
                losses.append(descend(loss, adam, where, rates[0], scale=partial(_scale, numbers)))
                if progress:
                    progress(1)
    return losses


def _cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def _started(net: nn.Module, learning: Iterable[Fixed], rate: float) -> torch.optim.Adam:
    """The optimiser of these clipping ranges; nothing else learns meanwhile."""
    bounds = [bound for fixed in learning for bound in fixed.range.parameters()]
    known = {id(bound) for bound in bounds}
    for parameter in net.parameters():
        parameter.requires_grad_(id(parameter) in known)
    return torch.optim.Adam(bounds, lr=rate)


@contextmanager
def _counting(learning: Iterable[Fixed]) -> Iterator[dict[Fixed, int]]:
    """Within, how many values each quantizer rounds."""
    numbers: dict[Fixed, int] = {}

    def note(fixed: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(fixed, Fixed)
        numbers[fixed] = args[0].numel()

    handles = [fixed.register_forward_pre_hook(note) for fixed in learning]
    try:
        yield numbers
    finally:
        for handle in handles:
            handle.remove()


def _scale(numbers: dict[Fixed, int]) -> None:
    for fixed, number in numbers.items():
        for bound in fixed.range.parameters():
            if bound.grad is not None:
                bound.grad.div_(math.sqrt(number * (2 ** (fixed.bits - 1) - 1)))


@contextmanager
def _results(net: nn.Module, globs: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
    """Within, what the modules that `globs` name gave in the last forward, by name."""
    chosen: dict[str, nn.Module] = {}
    for glob in globs:
        found = {name: part for name, part in net.named_modules() if name and fnmatchcase(name, glob)}
        if not found:
            raise UsageError(f"{glob!r} names no module of {type(net).__name__} whose features could be compared")
        chosen |= found
    seen: dict[str, Tensor] = {}
    handles = [
        part.register_forward_hook(lambda part, args, out, name=name: seen.__setitem__(name, out))
        for name, part in chosen.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
