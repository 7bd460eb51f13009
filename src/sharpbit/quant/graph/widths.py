"""Which tensors of a graph are kept in 16 bits, and which convolutions read all of them.

Sums of a residual network are added to again and again, so all that is added has 16 bits, which costs next to nothing.
Convolutions read the first byte of these. Where that is too little for the gate, some read both bytes, in twice the
time: those for which rounding costs the result most for the time that they take.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sharpbit.quant.graph.ranges import levels_of
from sharpbit.quant.graph.steps import Add, Convolve, Interpolate, Move, Multiply, Step, read_by
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import Range


@dataclass(frozen=True)
class Widths:
    """What has 16 bits.

    Attributes:
        tensors: Numbers of the tensors that are kept in 16 bits.
        both: Convolutions, by their numbers among the steps, that read both bytes.
    """

    tensors: frozenset[int] = frozenset()
    both: frozenset[int] = frozenset()


def widths_for(steps: list[Step], both: frozenset[int]) -> Widths:
    """What has 16 bits where these convolutions read both bytes."""
    wide = {plus.tensor for step in steps if isinstance(step, Convolve | Add) for plus in step.plus}
    wide |= {step.first for step in steps if isinstance(step, Multiply)}
    wide |= {number for k in both for number in read_by(steps[k])}
    for number in range(len(steps), 0, -1):  # what is moved has what it is moved from
        step = steps[number - 1]
        if number in wide and isinstance(step, Move):
            wide.add(step.tensor)
    kept = {0: False}
    for number, step in enumerate(steps, 1):
        can = isinstance(step, Convolve | Add | Multiply | Interpolate)
        kept[number] = kept[step.tensor] if isinstance(step, Move) else number in wide and can
    return Widths(frozenset(number for number, is_wide in kept.items() if is_wide), both)


def costs(steps: list[Step], found: list[Range], images: Tensor, seed: int) -> list[float]:
    """What rounding the inputs of each convolution to bytes adds to the mean square error of the result, from 0 to 1.

    That is the square of the step of a channel over 12, times the mean square of the gradient of the result, which is
    estimated from random signs (Hutchinson, 1989). Inputs that are bytes in any case do not count.

    Args:
        steps: The steps.
        found: The range of each tensor.
        images: `(N, 3, h, w)` bytes in float32.
        seed: Seed of the signs.
    """
    generator = torch.Generator().manual_seed(seed)
    can = widths_for(steps, frozenset(k for k, step in enumerate(steps) if isinstance(step, Convolve))).tensors
    total = [0.0] * len(steps)
    for image in images / TOP:
        values = [image[None].requires_grad_()]
        read: list[tuple[int, int, Tensor]] = []  # step, tensor, and the copy that is read
        with torch.enable_grad():
            for k, step in enumerate(steps):
                own = [*values]
                for number in step.inputs if isinstance(step, Convolve) else ():
                    own[number] = values[number] * 1
                    if number in can:
                        read.append((k, number, own[number]))
                values.append(step.run(own, values) if isinstance(step, Convolve) else step.run(values))
            signs = torch.randint(0, 2, values[-1].shape, generator=generator) * 2.0 - 1
            seen = values[-1].clamp(-0.02, 1.02)
            gradients = torch.autograd.grad((seen * signs).sum(), [copy for _, _, copy in read]) if read else ()
        for (k, number, _), gradient in zip(read, gradients, strict=True):
            squares = gradient.square().sum((0, 2, 3)).double() * found[number].step.square() / 12
            total[k] += float(squares.sum()) / signs.numel() / len(images)
    return total


def chosen(steps: list[Step], cost: list[float], allowed: float) -> frozenset[int]:
    """The convolutions that read both bytes so that what the others cost is at most `allowed`, in few operations."""
    levels = [level for _, level in levels_of(steps)]
    operations = {
        k: step.weight.numel() * float(levels[k + 1]) ** 2 for k, step in enumerate(steps) if isinstance(step, Convolve)
    }
    left, both = sum(cost), set()
    for k in sorted(operations, key=lambda k: -cost[k] / operations[k]):
        if left <= allowed or not cost[k]:
            break
        both.add(k)
        left -= cost[k]
    return frozenset(both)
