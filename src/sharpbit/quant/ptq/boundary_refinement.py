"""Boundary refinement: clipping ranges are trained until the result is that of the float network, without HR images.

Source: CRAFT, `PTQ/Boundary_Refinement_main.py` of AVC2-UESTC/Frequency-Inspired-Optimization-for-EfficientSR: the same
few images again and again, in order, mean square error of the results, Adam at a constant rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.errors import UsageError
from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.core import borrowed, quantizers
from sharpbit.quant.ptq.descent import descend
from sharpbit.quant.ptq.refinement_state import RefinementState
from sharpbit.system.progress import Progress


@dataclass(frozen=True)
class Refinement:
    """Settings of boundary refinement.

    Attributes:
        steps: number of optimizer steps.
        batch: images in a step.
        rate: learning rate of clipping ranges (Adam).
        inside: whether a value that rounds to the first or last step counts as inside (see `Grid`).
        weights: learning rate of weights and biases (Adam); at 0, as published, they stay as they are.
        fall: whether both learning rates fall to zero along a cosine.
    """

    steps: int = 500
    batch: int = 2
    rate: float = 2e-3
    inside: bool = True
    weights: float = 0.0
    fall: bool = False


def refine(
    net: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    how: Refinement,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> list[float]:
    """Train the clipping ranges of a calibrated network in place; the loss of each step.

    Args:
        net: quantized and calibrated; all its ranges are of the kind `ClippingRange`.
        teacher: the float network, in whatever form it gives its best.
        images: `(N, 3, H, W)` in `[0, 1]`.
        how: the settings.
        progress: called with the number of steps that were done, after each step.
        keep: folder in which the state is kept, so that a killed run goes on; None (default): it is kept nowhere.

    Raises:
        UsageError: other ranges, or no images.
        ModelError: the loss is not a number any more.
    """
    found = [fixed.range for _, fixed in quantizers(net)]
    ranges = [own for own in found if isinstance(own, ClippingRange)]
    if not ranges or len(ranges) < len(found):
        raise UsageError("refining is for quantized networks with clipping ranges; quantize with another method")
    if not len(images):
        raise UsageError("there is nothing to refine with: not one image came")
    bounds = [bound for own in ranges for bound in own.parameters()]
    known = {id(bound) for bound in bounds}
    groups = [{"params": bounds, "lr": how.rate}]
    weights = [weight for weight in net.parameters() if id(weight) not in known]
    if how.weights:
        groups.append({"params": weights, "lr": how.weights})
    adam = torch.optim.Adam(groups)
    speed = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _speed(step, how))
    for part in ranges:
        part.inside = how.inside
    net.eval()
    batches = torch.split(images, how.batch)
    wanted: dict[int, Tensor] = {}
    parts = [own for group in groups for own in group["params"]]  # type: ignore[attr-defined]
    learned = {id(own) for own in parts}
    state = RefinementState(keep, parts, adam, speed)
    losses = state.resume([repr(how), images, *_source(net), *_source(teacher)])
    if losses and progress:
        progress(len(losses))
    with borrowed(net.parameters()):
        for own in net.parameters():
            own.requires_grad_(id(own) in learned)
        for step in range(len(losses), how.steps):
            number = step % len(batches)
            if number not in wanted:
                with torch.no_grad():
                    wanted[number] = teacher(batches[number])
            loss = F.mse_loss(net(batches[number]), wanted[number])
            losses.append(descend(loss, adam, f"at step {step + 1} of refining", how.rate))
            speed.step()
            state.write(losses)
            if progress:
                progress(1)
    return losses


def _source(net: nn.Module) -> list[Tensor | str]:
    """What the results of a network depend on."""
    return [repr(net), repr(getattr(net, "config", None)), *net.state_dict().values()]


def _speed(step: int, how: Refinement) -> float:
    return (1 + math.cos(math.pi * step / how.steps)) / 2 if how.fall else 1.0
