"""Convolutions with weights of 16 bits: a second one, of what rounding leaves of their weights, is added to them.

The second one reads bytes, and its result, which is small, has 16 bits. As engines know of nothing new, this works on
every instruction set. It takes a convolution once more, and a table where there is a slope, which comes after the sum.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.modelfile.integer_graph_checks import LARGEST_BOTH, MAX_SUM
from sharpbit.modelfile.integer_layer import FINE
from sharpbit.quant.graph.steps import Add, Apply, Convolve, Interpolate, Multiply, Plus, Step
from sharpbit.quant.lossless.rounding import LIMIT, steps_of
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import Range

ROOM = 0.9  # of what the sum of a convolution has room for, before its weights are rounded
ALL = 0.95  # of it, together with what is added to the sum


class Paired(NamedTuple):
    """Steps with such pairs of convolutions.

    Attributes:
        steps: The steps.
        both: The numbers that convolutions which read both bytes have among them.
        number: The number that each tensor has now.
        sums: The numbers of the tensors that are sums before a slope, by the numbers that their steps had before.
    """

    steps: list[Step]
    both: frozenset[int]
    number: list[int]
    sums: dict[int, int]


def with_finer(steps: list[Step], found: list[Range], both: frozenset[int], finer: frozenset[int]) -> Paired:
    """The steps with such pairs of convolutions.

    Args:
        steps: The steps.
        found: The range of each tensor.
        both: Convolutions that read both bytes.
        finer: Convolutions whose weights have 16 bits.
    """
    made: list[Step] = []
    number, reading, sums = [0], set(), {}
    for k, step in enumerate(steps):
        step = _renumbered(step, number)
        if k in finer and isinstance(step, Convolve):
            made += _pair(step, [found[tensor] for tensor in _inputs(steps[k])], found[k + 1], k in both, len(made))
            main = next(n for n in range(len(made) - 1, -1, -1) if isinstance(made[n], Convolve))
            if main < len(made) - 1:
                sums[k] = main + 1
        else:
            made.append(step)
            main = len(made) - 1
        if k in both:
            reading.add(main)
        number.append(len(made))
    return Paired(made, frozenset(reading), number, sums)


def kernel_of(step: Convolve, read: list[Range], after: Range) -> Tensor:
    """What is rounded of a convolution: `(outputs, weights + 1)`, its weights and at last its bias, on white.

    They are in steps of the result, and each weight counts in steps of what it is multiplied by.

    Args:
        step: The convolution.
        read: The range of each tensor that it reads.
        after: The range of its result.
    """
    weight = step.weight * _own(step, read)
    return torch.cat([weight.flatten(1), step.bias[:, None] / TOP], 1) / after.step[:, None]


def grid_of(step: Convolve, read: list[Range], after: Range, both: bool) -> Tensor:
    """The steps of its weights in 8 bits, such that their sum fits, and what is added to it: bias and zero points.

    Args:
        step: The convolution.
        read: The range of each tensor that it reads.
        after: The range of its result.
        both: Whether it reads both bytes; else first bytes alone.
    """
    largest, parts = (LARGEST_BOTH, FINE) if both else (FINE, 1)
    weight = step.weight * _own(step, read)
    sums = weight.flatten(1).abs().sum(1) * largest
    added = (step.bias - (weight * _of_group(step, [one.zero for one in read])).flatten(1).sum(1)).abs() * parts
    least = torch.maximum(sums / ROOM, (sums + added) / ALL) / MAX_SUM
    return torch.maximum(steps_of(kernel_of(step, read, after)) * after.step, least)


def _own(step: Convolve, read: list[Range]) -> Tensor:
    """The step of what each weight is multiplied by: `(outputs, inputs / groups, 1, 1)`."""
    return _of_group(step, [one.step for one in read])


def _of_group(step: Convolve, channels: list[Tensor]) -> Tensor:
    of_group = torch.cat(channels).reshape(step.groups, -1)
    return of_group.repeat_interleave(len(step.bias) // step.groups, 0)[:, :, None, None]


def _pair(step: Convolve, read: list[Range], after: Range, both: bool, count: int) -> list[Step]:
    """Of a convolution that would be step `count`: that of the rest, the convolution, and what follows a slope."""
    own, grid = _own(step, read), grid_of(step, read, after, both)
    unit = grid[:, None, None, None] / own
    first = (step.weight / unit).round().clamp(-LIMIT, LIMIT) * unit
    left, nothing, one = step.weight - first, torch.zeros_like(step.bias), torch.ones_like(step.bias)
    small = (left * own).flatten(1).abs().amax(1).clamp(min=1e-12) / LIMIT
    rest = Convolve(step.inputs, left, nothing, one, step.groups, [], step.stride, step.padding, small)
    added = Plus(count + 1, one)
    if bool((step.below == 1).all()):
        return [rest, replace(step, weight=first, plus=[added, *step.plus], grid=grid)]
    slope = step.below.float()
    plain = replace(step, weight=first, below=one, plus=[added], grid=grid)
    sloped: list[Step] = [rest, plain, Apply(count + 2, lambda x: F.prelu(x, slope))]
    return [*sloped, Add([Plus(count + 3, one), *step.plus])] if step.plus else sloped


def _inputs(step: Step) -> list[int]:
    return step.inputs if isinstance(step, Convolve) else []


def _renumbered(step: Step, number: list[int]) -> Step:
    """The step that reads tensors under their new numbers."""
    match step:
        case Convolve():
            plus = [replace(one, tensor=number[one.tensor]) for one in step.plus]
            return replace(step, inputs=[number[tensor] for tensor in step.inputs], plus=plus)
        case Add():
            return Add([replace(one, tensor=number[one.tensor]) for one in step.plus])
        case Multiply():
            return Multiply(number[step.first], number[step.second])
        case Interpolate():
            return replace(step, tensor=number[step.tensor], like=number[step.like])
        case _:
            return replace(step, tensor=number[step.tensor])
