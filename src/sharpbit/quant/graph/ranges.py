"""How bytes stand for the values of each tensor of a graph of steps, from what images give.

Some networks run wild with a few images, above all with drawings: a gated one gives ten times what photos give. Where
ranges leave that out, most images have finer steps; where they do not, these need 16 bits. So there are several rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf

import torch
from torch import Tensor

from sharpbit.errors import QuantizeError
from sharpbit.modelfile import integer_graph as ig
from sharpbit.quant.graph.steps import Add, Average, Convolve, Interpolate, Move, Pad, Pool, Step, read_by
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import Range, of_result, ranges
from sharpbit.system.progress import Phases

MEMORY = 96 << 20  # bytes of the largest tensor of all images
ONE_PIXEL = Fraction(1, 1000)  # about how large the side of one pixel is for a side of the image of 1
ORDINARY = 0.75  # of all images


@dataclass(frozen=True)
class Rule:
    """What ranges hold.

    Attributes:
        wild: At most so many times what most images give.
        spare: So much more at either end, as a share of the range; not below 0 where a ReLU ends.
    """

    wild: float = inf
    spare: float = 0.0


RULES = (Rule(4.0), Rule(spare=0.1), Rule(spare=0.3), Rule(spare=1.0))  # the finest steps first


@dataclass(frozen=True)
class Extremes:
    """What each step makes of images.

    Attributes:
        low: How far each channel is below 0, `(images, channels)` of each step, 0 at least.
        high: How far it is above 0.
        sums: Both of what convolutions with a slope have before it, by the numbers of the steps.
    """

    low: Sequence[Tensor]
    high: Sequence[Tensor]
    sums: Mapping[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


def ranges_of(steps: list[Step], seen: Extremes, rule: Rule) -> list[Range]:
    """Of each tensor, the image first."""
    low, high = [-_most(found, rule) for found in seen.low], [_most(found, rule) for found in seen.high]
    for k, step in enumerate(steps):
        spare = (high[k] - low[k]) * rule.spare
        ends = isinstance(step, Convolve) and not step.plus and not step.below.any()
        low[k], high[k] = low[k] if ends else low[k] - spare, high[k] + spare
    found = [Range(torch.full((3,), 1 / TOP, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))]
    shuffles = {step.tensor: step for step in steps if isinstance(step, Move) and step.kind == ig.SHUFFLE}
    for number, step in enumerate(steps):
        shuffle = shuffles.get(number + 1)
        if isinstance(step, Move):
            found.append(_moved(step, found[step.tensor]))
        elif isinstance(step, Pool | Pad | Interpolate):
            found.append(found[step.tensor])
        elif step is steps[-1] or (shuffle is steps[-1] and number + 2 == len(steps)):
            found.append(of_result(len(low[number])))
        else:
            area = shuffle.factor**2 if shuffle else 1
            least, most = low[number].reshape(-1, area).amin(1), high[number].reshape(-1, area).amax(1)
            one = ranges(torch.stack([least, most], 1)[None, :, :, None])
            found.append(Range(one.step.repeat_interleave(area), one.zero.repeat_interleave(area)))
    return found


def together(steps: list[Step], images: Tensor) -> int:
    """How many of the images are looked at at once."""
    return max(1, int(MEMORY / (_largest(steps) * images[0, 0].numel() * 4)))


def last_readers(steps: list[Step]) -> dict[int, int]:
    """The step that reads each tensor last."""
    return {number: k for k, step in enumerate(steps) for number in read_by(step)}


def through(steps: list[Step], image: Tensor, made: Callable[[int, list[Tensor]], Tensor]) -> Tensor:
    """The last tensor of a graph that keeps each one only until it is read the last time.

    Args:
        steps: The steps.
        image: What the first ones read.
        made: What a step makes, by its number, of the tensors before it.
    """
    last, values = last_readers(steps), [image]
    for k, step in enumerate(steps):
        values.append(made(k, values))
        for read in read_by(step):
            if last[read] == k:
                values[read] = torch.zeros(0)
    return values[-1]


def _moved(step: Move, read: Range) -> Range:
    area = step.factor**2
    if step.kind == ig.UNSHUFFLE:
        return Range(read.step.repeat_interleave(area), read.zero.repeat_interleave(area))
    return read if step.kind == ig.NEAREST else Range(read.step[::area], read.zero[::area])


def extremes(steps: list[Step], images: Tensor, progress: Phases) -> Extremes:
    """The smallest and the largest value of each channel of what each step makes.

    Args:
        steps: The steps.
        images: `(N, 3, h, w)` bytes in float32.
        progress: Called with a word, what is done, and how much there is.
    """
    batches = torch.split(images / TOP, together(steps, images))
    last = last_readers(steps)
    found: list[list[Tensor]] = [[] for _ in steps]
    sums: dict[int, list[Tensor]] = {}
    for number, batch in enumerate(batches):
        values = [batch]
        for k, step in enumerate(steps):
            if isinstance(step, Convolve):
                before = step.sums(values)
                if not bool((step.below == 1).all()):
                    sums.setdefault(k, []).append(_ends(before))
                values.append(step.finished(before, values))
            else:
                values.append(step.run(values))
            found[k].append(_ends(values[-1]))
            for read in read_by(step):
                if last[read] == k:
                    values[read] = torch.zeros(0)
        progress("measuring", number + 1, len(batches))
    low, high = zip(*(_checked(torch.cat(ends, 1)) for ends in found), strict=True)
    return Extremes(low, high, {k: _checked(torch.cat(ends, 1)) for k, ends in sums.items()})


def flat(seen: Extremes) -> Tensor:
    """All numbers of extremes in one row, as they can be kept."""
    parts = [*seen.low, *seen.high, *(end for ends in seen.sums.values() for end in ends)]
    return torch.cat([part.flatten() for part in parts])


def unflat(steps: list[Step], numbers: Tensor, images: int) -> Extremes:
    """What `flat` was given, for these steps and so many images."""
    channels = [count for count, _ in levels_of(steps)[1:]]
    sloped = [k for k, step in enumerate(steps) if isinstance(step, Convolve) and not bool((step.below == 1).all())]
    counts = [*channels, *channels, *(channels[k] for k in sloped for _ in range(2))]
    parts = [part.reshape(images, -1) for part in torch.split(numbers, [images * count for count in counts])]
    ends = iter(parts[2 * len(steps) :])
    sums = {k: (next(ends), next(ends)) for k in sloped}
    return Extremes(parts[: len(steps)], parts[len(steps) : 2 * len(steps)], sums)


def range_of_sums(seen: Extremes, k: int, rule: Rule) -> Range:
    """Of what a convolution with a slope has before it."""
    low, high = (_most(found, rule) for found in seen.sums[k])
    spare = (low + high) * rule.spare
    return ranges(torch.stack([-low - spare, high + spare], 1)[None, :, :, None])


def _ends(values: Tensor) -> Tensor:
    """How far each channel of each image goes below and above 0: `(2, images, channels)`."""
    return torch.stack([-values.amin((2, 3)), values.amax((2, 3))]).double()


def _checked(found: Tensor) -> tuple[Tensor, Tensor]:
    if not bool(torch.isfinite(found).all()):
        raise QuantizeError("the network gives numbers that are not finite with these images")
    low, high = found.clamp(min=0)
    return low, high


def _most(found: Tensor, rule: Rule) -> Tensor:
    """The largest of `(images, channels)`; channels that are silent in most images have as much as others."""
    most = found.amax(0)
    if rule.wild == inf:
        return most
    ordinary = found.quantile(ORDINARY, 0)
    return torch.minimum(most, rule.wild * ordinary.clamp(min=float(ordinary.mean())))


def levels_of(steps: list[Step]) -> list[tuple[int, Fraction]]:
    """The channels of each tensor, and about how large its side is for a side of the image of 1."""
    sizes: list[tuple[int, Fraction]] = [(3, Fraction(1))]
    for step in steps:
        channels, level = sizes[read_by(step)[0]]
        match step:
            case Convolve():
                channels, level = len(step.bias), level / step.stride
            case Pool():
                level = level / step.stride
            case Interpolate():
                level = level * step.factor if step.factor else sizes[step.like][1]
            case Move() if step.kind == ig.UNSHUFFLE:
                channels, level = channels * step.factor**2, level / step.factor
            case Move():
                level = level * step.factor
                channels = channels // step.factor**2 if step.kind == ig.SHUFFLE else channels
            case Average():
                level = ONE_PIXEL
            case Add():
                channels = len(step.plus[0].factor)
            case _:
                pass
        sizes.append((channels, level))
    return sizes


def _largest(steps: list[Step]) -> float:
    """The most numbers that a tensor has for a pixel of the image."""
    return max(float(channels * level**2) for channels, level in levels_of(steps))
