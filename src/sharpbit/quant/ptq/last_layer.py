"""Last-layer reconstruction: weights, clipping ranges and channel scales of the last layer learn the float result.

Our method, after the layerwise reconstruction of AdaQuant and BRECQ. In super-resolution networks most of the error of
few bits arises in the last layer, because its input carries the image and no later layer corrects it. The layer's input
is computed once, so a step takes about a hundredth of the time of a step of the whole network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.errors import UsageError
from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.core import borrowed
from sharpbit.quant.grid import FLOAT, Fixed
from sharpbit.quant.layers import Equalized, QuantConv2d, QuantLinear, Weighted, rounding
from sharpbit.quant.ptq.descent import descend
from sharpbit.quant.ptq.equalize import wrap
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress

AT_ONCE = 2  # images in a forward of the whole network
SCALES = 3.0  # the rate of scales, in units of that of the rest


@dataclass(frozen=True)
class LastLayerSettings:
    """Settings of last-layer reconstruction.

    Attributes:
        steps: number of steps of Adam.
        batch: images in a step, drawn with a fixed seed.
        rate: first learning rate, which falls to zero along a cosine.
        images: largest number of images that are used.
    """

    steps: int = 1500
    batch: int = 4
    rate: float = 2e-3
    images: int = 64


def reconstruct_last_layer(
    net: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    how: LastLayerSettings,
    progress: Progress | None = None,
) -> tuple[list[str], list[float]]:
    """Train the last layer of a calibrated network in place.

    Args:
        net: quantized and calibrated.
        teacher: the float network; its modules have the same names.
        images: `(N, 3, H, W)` in `[0, 1]`.
        how: the settings.
        progress: called with 1 after each step.

    Returns:
        A list with the layer's name if it got scales that it did not have (else an empty one), and the loss of each
        step.

    Raises:
        UsageError: no layer has both sides rounded to a clipping range, or there are no images.
        ModelError: the loss is not a number any more.
    """
    if not len(images):
        raise UsageError("there is nothing to learn from: not one image came")
    images = images[:: max(1, math.ceil(len(images) / how.images))]
    name, part = _last(net, images[:1])
    given, wanted = _seen(net, part, images)[0], _seen(teacher, teacher.get_submodule(name), images)[1]
    new = [] if isinstance(part.act, Equalized) else [name]
    wrap(net, new)
    act, losses = part.act, []
    assert isinstance(act, Equalized)
    start, moved = act.scale, torch.zeros_like(act.scale, requires_grad=True)
    learned = [*part.parameters()]
    groups: list[dict[str, Any]] = [{"params": learned}, {"params": [moved], "lr": SCALES * how.rate}]
    adam = torch.optim.Adam(groups, how.rate)
    speed = torch.optim.lr_scheduler.CosineAnnealingLR(adam, how.steps)
    generator = torch.Generator().manual_seed(0)
    with borrowed(learned):
        for own in learned:
            own.requires_grad_(True)
        try:
            for _ in range(how.steps):
                chosen = torch.randint(len(given), (how.batch,), generator=generator)
                act.scale = start * moved.exp()
                loss = F.mse_loss(part(given[chosen]), wanted[chosen])
                losses.append(descend(loss, adam, f"in the layer {name}", how.rate))
                speed.step()
                if progress:
                    progress(1)
        finally:
            act.scale = (start * moved.exp()).detach()
    return new, losses


def _last(net: nn.Module, image: Tensor) -> tuple[str, Weighted]:
    """The last layer that runs of those that can learn."""
    order: list[tuple[str, Weighted]] = []
    handles = [
        part.register_forward_pre_hook(lambda part, _, name=name: order.append((name, part)))
        for name, part in net.named_modules()
        if isinstance(part, QuantConv2d | QuantLinear)
        and getattr(part, "groups", 1) == 1
        and all(isinstance(side, Fixed) and side.bits != FLOAT for side in (rounding(part.act), part.kernel))
        and all(isinstance(side.range, ClippingRange) for side in (rounding(part.act), part.kernel))
    ]
    try:
        with torch.no_grad():
            net.eval()(image)
    finally:
        for handle in handles:
            handle.remove()
    if not order:
        raise UsageError("no layer of this network has both sides rounded to a clipping range; quantize it first")
    return order[-1]


@torch.no_grad()
def _seen(net: nn.Module, part: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer is given and what it gives."""
    pairs: list[tuple[Tensor, Tensor]] = []
    handle = part.register_forward_hook(lambda _, args, out: pairs.append((args[0].clone(), out.clone())))
    try:
        for batch in torch.split(images, AT_ONCE):
            net.eval()(batch)
    finally:
        handle.remove()
    given, out = zip(*pairs, strict=True)
    return torch.cat(given), torch.cat(out)


__getattr__ = old_names(__name__, {"Finish": "LastLayerSettings", "finish": "reconstruct_last_layer"})
