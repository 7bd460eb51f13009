"""Which rule of ranges a graph needs: the one with the finest steps that leaves room for what rounding costs.

What is beyond a range ends with it. So rules are tried on images that are kept apart, and on those of all images that
they cut off most: a rule that suits few images may spoil others.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from sharpbit.quant.graph.gate import Gate, Measured, float_results
from sharpbit.quant.graph.ranges import RULES, Extremes, ranges_of, through
from sharpbit.quant.graph.steps import Step
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import Range
from sharpbit.system.progress import Phases

CLIPPED = 0.2  # of what is allowed, for values that are beyond what ranges hold
CUT = 4  # images that are cut off most


def chosen_rule(
    steps: list[Step], seen: Extremes, images: Tensor, measured: Measured, gate: Gate, progress: Phases
) -> int:
    """The number of the rule; that of the nearest one where none is near enough.

    Args:
        steps: The steps.
        seen: What they make of `images`.
        images: `(N, 3, h, w)` bytes in float32.
        measured: Images that are kept apart.
        gate: What is asked for.
        progress: Called with a word, what is done, and how much there is.
    """
    cut = images[cut_most(seen, ranges_of(steps, seen, RULES[0]))]
    tried = torch.cat([measured.images, cut])
    wanted = [*measured.wanted, *float_results(steps, cut, progress)]
    best, nearest = 0, -inf
    for number, rule in enumerate(RULES):
        found, errors = ranges_of(steps, seen, rule), list[Tensor]()
        for image, real in zip(tried, wanted, strict=True):
            one = (clipped(steps, found, image[None] / TOP) * TOP).clamp(0, TOP)
            errors.append((real - one).div(TOP).square().mean())
            progress("choosing ranges", len(errors) + number * len(wanted), len(RULES) * len(wanted))
        above = room(torch.stack(errors), gate, measured.ordinary)
        if above > nearest:
            best, nearest = number, above
        if above >= 0:
            break
    return best


def room(errors: Tensor, gate: Gate, ordinary: int) -> float:
    """How many dB are left where rounding adds the rest of what is allowed; below 0 where ranges cut off too much.

    Args:
        errors: Mean square error of each image where values end with ranges, the ordinary ones first.
        gate: What is asked for.
        ordinary: How many images are ordinary.
    """
    rest = 1 - CLIPPED
    allowed = torch.full_like(errors, gate.margin * gate.allowed)
    allowed[:ordinary] = gate.allowed
    return gate.above(errors + rest * allowed, ordinary)


def cut_most(seen: Extremes, found: Sequence[Range]) -> Tensor:
    """The numbers of the images of which ranges cut off most, in the mean of all tensors and channels."""
    share = torch.zeros(len(seen.low[0]), dtype=torch.float64)
    for low, high, own in zip(seen.low, seen.high, found[1:], strict=True):
        size = ((low.amax(0) + high.amax(0)).mean()).clamp(min=1e-12)
        under, over = (own.zero + 0.5) * own.step, (TOP + 0.5 - own.zero) * own.step
        share += ((low - under).clamp(min=0) + (high - over).clamp(min=0)).mean(1) / size
    return share.argsort(descending=True)[:CUT]


def clipped(steps: list[Step], found: list[Range], image: Tensor) -> Tensor:
    """What the steps make of `(1, 3, h, w)` from 0 to 1 where values end with their ranges, but are not rounded."""

    def made(k: int, values: list[Tensor]) -> Tensor:
        own = found[k + 1]
        ends = [(edge * own.step).float()[:, None, None] for edge in (-own.zero - 0.5, TOP + 0.5 - own.zero)]
        return torch.maximum(torch.minimum(steps[k].run(values), ends[1]), ends[0])

    return through(steps, image, made)
