"""Which tensors of a graph are kept in 16 bits, and which convolutions read all of them.

Sums of a residual network are added to again and again, so all that is added has 16 bits, which costs next to nothing,
and so has all that is multiplied, and what tables make that of.
Convolutions read the first byte of these. Where that is too little for the gate, some read both bytes, in twice the
time, and some have weights of 16 bits, in the same time once more (`sharpbit.quant.graph.finer`): those for which
rounding costs the result most for the time that they take.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sharpbit.quant.graph.finer import grid_of
from sharpbit.quant.graph.gate import LEAST, Gate
from sharpbit.quant.graph.ranges import levels_of
from sharpbit.quant.graph.steps import Add, Apply, Average, Convolve, Interpolate, Move, Multiply, Pad, Step, read_by
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import Range
from sharpbit.system.progress import Phases

LEFT = 0.2  # of what rounding weights costs, where others make up for it


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
    wide |= {number for step in steps if isinstance(step, Multiply) for number in (step.first, step.second)}
    wide |= {number for k in both for number in read_by(steps[k])}
    for number in range(len(steps), 0, -1):  # what is moved or looked up has what it is made from
        step = steps[number - 1]
        if number in wide and isinstance(step, Move | Pad | Apply):
            wide.add(step.tensor)
    kept = {0: False}
    for number, step in enumerate(steps, 1):
        can = isinstance(step, Convolve | Add | Average | Multiply | Interpolate | Apply)
        kept[number] = kept[step.tensor] if isinstance(step, Move | Pad) else number in wide and can
    return Widths(frozenset(number for number, is_wide in kept.items() if is_wide), both)


@dataclass(frozen=True)
class Costs:
    """What rounding adds to the square error of the result from 0 to 1, `(images, steps)` float64.

    Attributes:
        read: What rounding the inputs of each convolution to bytes adds.
        weights: What rounding its weights to 8 bits adds.
        ordinary: How many of the images are ordinary, the first ones; the others are hard.
    """

    read: Tensor
    weights: Tensor
    ordinary: int


@dataclass(frozen=True)
class Choice:
    """Convolutions by their numbers among the steps.

    Attributes:
        both: Those that read both bytes.
        finer: Those whose weights have 16 bits.
    """

    both: frozenset[int]
    finer: frozenset[int]


def costs(
    steps: list[Step], found: list[Range], images: Tensor, seed: int, progress: Phases | None = None
) -> tuple[Tensor, Tensor]:
    """What rounding the inputs and the weights of each convolution costs.

    That is the square of the step of a channel over 12, times the mean square of the gradient of the result, which is
    estimated from random signs (Hutchinson, 1989). Of weights, a share of that is left when others make up for it.
    Inputs that are bytes in any case do not count.

    Args:
        steps: The steps.
        found: The range of each tensor.
        images: `(N, 3, h, w)` bytes in float32.
        seed: Seed of the signs.
        progress: Called with a word, what is done, and how much there is.

    Returns:
        What both add, as in `Costs`.
    """
    generator = torch.Generator().manual_seed(seed)
    can = widths_for(steps, frozenset(k for k, step in enumerate(steps) if isinstance(step, Convolve))).tensors
    reading, rounding = torch.zeros(2, len(images), len(steps), dtype=torch.float64)
    averages = _averages(steps, images / TOP)
    for number, image in enumerate(images / TOP):
        values = [image[None].requires_grad_()]
        read: list[tuple[int, int, Tensor]] = []  # step, tensor, and the copy that is read
        sums: list[tuple[int, Tensor]] = []
        with torch.enable_grad():
            for k, step in enumerate(steps):
                if not isinstance(step, Convolve):
                    values.append(step.run(values))
                    continue
                own = [*values]
                for tensor in step.inputs:
                    own[tensor] = values[tensor] * 1
                    read.append((k, tensor, own[tensor]))
                sums.append((k, step.sums(own)))
                values.append(step.finished(sums[-1][1], values))
            signs = torch.randint(0, 2, values[-1].shape, generator=generator) * 2.0 - 1
            seen = values[-1].clamp(-0.02, 1.02)
            copies = [*(copy for _, _, copy in read), *(one for _, one in sums)]
            gradients = torch.autograd.grad((seen * signs).sum(), copies, allow_unused=True) if copies else ()
        squares = [
            torch.zeros(1) if one is None else one.square().sum((0, 2, 3)).double() / signs.numel() / 12
            for one in gradients
        ]
        for (k, tensor, _), square in zip(read, squares[: len(read)], strict=True):
            if tensor in can:
                reading[number, k] += float((square * found[tensor].step.square()).sum())
        for (k, _), square in zip(sums, squares[len(read) :], strict=True):
            step = steps[k]
            assert isinstance(step, Convolve)
            grid = grid_of(step, [found[tensor] for tensor in step.inputs], found[k + 1], both=False)
            bytes_ = [
                (values[tensor].detach() - averages[tensor]) / found[tensor].step.float()[:, None, None]
                for tensor in step.inputs
            ]
            power = torch.cat(bytes_, 1).square().mean((0, 2, 3)).double().reshape(step.groups, -1).sum(1)
            power = power.repeat_interleave(len(step.bias) // step.groups) * step.weight.shape[2] ** 2
            rounding[number, k] = float((square * grid.square() * power).sum()) * LEFT
        if progress:
            progress("estimating what rounding costs", number + 1, len(images))
    return reading, rounding


@torch.no_grad()
def _averages(steps: list[Step], images: Tensor) -> list[Tensor]:
    """Of each channel of each tensor, `(channels, 1, 1)`: what biases make up for."""
    total: list[Tensor] = []
    for image in images:
        values = [image[None]]
        for step in steps:
            values.append(step.run(values))
        means = [value[0].mean((1, 2), keepdim=True) / len(images) for value in values]
        total = [one + other for one, other in zip(total, means, strict=True)] if total else means
    return total


def chosen(steps: list[Step], cost: Costs, gate: Gate) -> Choice:
    """What has 16 bits so that what is left costs no more than the gate allows, in few operations."""
    levels = [level for _, level in levels_of(steps)]
    operations = {
        k: step.weight.numel() * float(levels[k + 1]) ** 2 for k, step in enumerate(steps) if isinstance(step, Convolve)
    }
    numbers = [*operations]
    time = torch.tensor([*operations.values()] * 2, dtype=torch.float64)
    items = torch.cat([cost.read[:, numbers], cost.weights[:, numbers]], 1)
    left, taken = items.sum(1), set[int]()
    while len(taken) < len(time) and float((excess := gate.excess(left, cost.ordinary)).max()) > 0:
        farthest = int(excess.argmax())  # the mean of ordinary images, or one image
        of = slice(cost.ordinary) if not farthest else slice(farthest - 1, farthest)
        shares = items[of] / left[of, None].clamp(min=LEAST)
        gain = -(1 - shares).clamp(min=1e-6).log().mean(0) / time
        gain[[*taken]] = -1
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        taken.add(best)
        left = items[:, [k for k in range(len(time)) if k not in taken]].sum(1)
    both = frozenset(numbers[k] for k in taken if k < len(numbers))
    return Choice(both, frozenset(numbers[k - len(numbers)] for k in taken if k >= len(numbers)))
