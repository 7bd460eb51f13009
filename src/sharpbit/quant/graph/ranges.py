"""How bytes stand for the values of each tensor of a graph of steps, from what images give."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from sharpbit.errors import QuantizeError
from sharpbit.modelfile import integer_graph as ig
from sharpbit.quant.graph.steps import Add, Convolve, Interpolate, Move, Pool, Step, read_by
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import Range, of_result, ranges
from sharpbit.system.progress import Phases

MEMORY = 96 << 20  # bytes of the largest tensor of all images
WILD, ORDINARY = 4.0, 0.75


def ranges_of(steps: list[Step], images: Tensor, progress: Phases) -> list[Range]:
    """Of each tensor, the image first.

    Args:
        steps: The steps.
        images: `(N, 3, h, w)` bytes in float32.
        progress: Called with a word, what is done, and how much there is.
    """
    low, high = _extremes(steps, torch.split(images / TOP, together(steps, images)), progress)
    found = [Range(torch.full((3,), 1 / TOP, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))]
    shuffles = {step.tensor: step for step in steps if isinstance(step, Move) and step.kind == ig.SHUFFLE}
    for number, step in enumerate(steps):
        shuffle = shuffles.get(number + 1)
        if isinstance(step, Move):
            found.append(_moved(step, found[step.tensor]))
        elif isinstance(step, Pool | Interpolate):
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


def _moved(step: Move, read: Range) -> Range:
    area = step.factor**2
    if step.kind == ig.UNSHUFFLE:
        return Range(read.step.repeat_interleave(area), read.zero.repeat_interleave(area))
    return read if step.kind == ig.NEAREST else Range(read.step[::area], read.zero[::area])


def _extremes(steps: list[Step], batches: tuple[Tensor, ...], progress: Phases) -> tuple[list[Tensor], list[Tensor]]:
    """The smallest and the largest value of each channel of what each step makes, 0 at most and at least.

    Where a network runs wild with a few images, these do not count: at most `WILD` times what most images have.
    """
    last = last_readers(steps)
    low: list[list[Tensor]] = [[] for _ in steps]
    high: list[list[Tensor]] = [[] for _ in steps]
    for number, batch in enumerate(batches):
        values = [batch]
        for k, step in enumerate(steps):
            values.append(step.run(values))
            low[k].append(-values[-1].amin((2, 3)).double())
            high[k].append(values[-1].amax((2, 3)).double())
            for read in read_by(step):
                if last[read] == k:
                    values[read] = torch.zeros(0)
        progress("measuring", number + 1, len(batches))
    return [-_most(torch.cat(found)) for found in low], [_most(torch.cat(found)) for found in high]


def _most(found: Tensor) -> Tensor:
    """The largest of `(images, channels)`, 0 at least."""
    if not bool(torch.isfinite(found).all()):
        raise QuantizeError("the network gives numbers that are not finite with these images")
    return torch.minimum(found.amax(0), WILD * found.quantile(ORDINARY, 0)).clamp(min=0)


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
            case Add():
                channels = len(step.plus[0].factor)
            case _:
                pass
        sizes.append((channels, level))
    return sizes


def _largest(steps: list[Step]) -> float:
    """The most numbers that a tensor has for a pixel of the image."""
    return max(float(channels * level**2) for channels, level in levels_of(steps))
