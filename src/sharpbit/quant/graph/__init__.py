"""Eight bits for any graph of convolutions, sums, concatenations, shuffles, products and functions, 16 where needed.

Each channel of a tensor has a scale and a zero point, from images. Weights are rounded one after the other, each error
made up by those that follow (GPTQ, Frantar et al., 2023), on the rounded inputs that a convolution really gets, and the
bias makes up for the mean error that came before. What is added is rounded with the convolution that it is added to,
and kept in 16 bits. Ranges are as wide as the gate needs (`sharpbit.quant.graph.ranges`), and the fewest convolutions
that reach it read 16 bits or have weights of 16 bits (`sharpbit.quant.graph.widths`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log10

import torch
from torch import Tensor

from sharpbit.graph import Graph
from sharpbit.modelfile.integer_graph import IntegerGraph
from sharpbit.quant.graph.finer import with_finer
from sharpbit.quant.graph.images import chosen_of
from sharpbit.quant.graph.lowering import lowered
from sharpbit.quant.graph.ranges import RULES, Extremes, Rule, clipped, extremes, last_readers, ranges_of, together
from sharpbit.quant.graph.rounder import Rounder
from sharpbit.quant.graph.steps import Step, read_by
from sharpbit.quant.graph.widths import Choice, chosen, costs, widths_for
from sharpbit.quant.lossless import check_images
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped import GATE
from sharpbit.system.progress import Phases

LOOKED_AT, SIDE = 2, 48  # images that tell what rounding costs, and the part of them that is looked at
HEADROOM = 1.0  # dB more on the few images that are kept apart: other drawings are wilder
CLIPPED = 0.2  # of it, for values that are beyond what ranges hold
SHARE = 0.7  # of it, that rounding is estimated to cost at first; what is measured then says how much to try next
TRIES, NEAR = 3, 1.5  # so often, until what is measured is at most so many dB above what is asked for


@dataclass(frozen=True)
class GraphSettings:
    """How much work is done.

    Attributes:
        gate: Mean dB from float for which convolutions read 16 bits.
        compensate: Whether errors of weights are made up by others; without, it takes a tenth of the time.
        seed: Seed of everything that is drawn at random.
    """

    gate: float = GATE
    compensate: bool = True
    seed: int = 0


@torch.no_grad()
def quantize_graph(
    graph: Graph,
    scale: int,
    images: Tensor,
    settings: GraphSettings | None = None,
    *,
    progress: Phases | None = None,
) -> IntegerGraph:
    """The integer graph that does what `graph` does with images like these.

    Args:
        graph: A float graph for RGB from 0 to 1.
        scale: Its upscaling factor.
        images: `(N, 3, h, w)` uint8, LR images such as the network will get.
        settings: How much work is done.
        progress: Called with a word, what is done of it, and how much there is.

    Raises:
        QuantizeError: An operator that integer graphs do not have, a size that is beyond them, or images that say
            nothing.
    """
    settings = settings or GraphSettings()
    check_images(images)
    progress = progress or (lambda word, done, total: None)
    steps = lowered(graph)
    generator = torch.Generator().manual_seed(settings.seed)
    shown = chosen_of(images, generator)
    allowed = 10 ** (-(settings.gate + HEADROOM) / 10)
    wanted = _float_results(steps, shown.measured)
    seen = extremes(steps, torch.cat([shown.given, shown.drawn]), progress)
    rule = _rule(steps, seen, shown.measured, wanted, allowed)
    found = ranges_of(steps, seen, rule)
    looked_at = torch.cat([shown.given[:LOOKED_AT], shown.drawn[:LOOKED_AT]])
    cost = costs(steps, found, looked_at[:, :, :SIDE, :SIDE], settings.seed)

    def rounded(share: float) -> Candidate:
        choice = chosen(steps, cost, share * allowed)
        pairs, both = with_finer(steps, found, choice.both, choice.finer)
        own = found
        if choice.finer:
            own = ranges_of(pairs, extremes(pairs, torch.cat([shown.given, shown.drawn]), progress), rule)
        few = torch.cat([shown.given[: max(3, together(pairs, shown.given))], shown.drawn[:1]])
        word = f"rounding, {len(choice.both | choice.finer)} convolutions in 16 bits" if both else "rounding"
        rounder = Rounder(pairs, own, widths_for(pairs, both), settings.compensate, generator)
        made = rounder.rounded(few, scale, progress, word)
        return Candidate(choice, made, _apart(pairs, rounder, shown.measured, wanted) - settings.gate - HEADROOM)

    return least(rounded, lambda share: chosen(steps, cost, share * allowed))


@dataclass(frozen=True)
class Candidate:
    """A choice of what has 16 bits, and what came of it.

    Attributes:
        choice: The choice.
        made: The integer graph.
        above: How many dB it is above what is asked for.
    """

    choice: Choice
    made: IntegerGraph
    above: float


def least(rounded: Callable[[float], Candidate], choice_of: Callable[[float], Choice]) -> IntegerGraph:
    """The graph that has 16 bits in few places and is near enough; the nearest one where none is.

    Args:
        rounded: Makes the graph for a share of the error that the gate allows.
        choice_of: What has 16 bits then.
    """
    share, enough, too_much = SHARE, 0.0, inf
    found = [rounded(share)]
    while len(found) < TRIES and not 0 <= found[-1].above <= NEAR:
        if found[-1].above >= 0:
            enough = share
        else:
            too_much = share
        share *= 10 ** ((found[-1].above - NEAR / 2) / 10)
        if not enough < share < too_much:
            share = (enough * too_much) ** 0.5
        if choice_of(share) in [one.choice for one in found]:
            break
        found.append(rounded(share))
    if all(one.above < 0 for one in found) and choice_of(0.0) not in [one.choice for one in found]:
        found.append(rounded(0.0))
    return min(found, key=lambda one: (one.above < 0, abs(one.above))).made


def _rule(steps: list[Step], seen: Extremes, measured: Tensor, wanted: list[Tensor], allowed: float) -> Rule:
    """The rule with the finest steps that leaves room for rounding where values end with ranges; or the nearest."""
    best, nearest = RULES[0], 0.0
    for rule in RULES:
        found = ranges_of(steps, seen, rule)
        errors = [
            (real - (clipped(steps, found, image[None] / TOP) * TOP).clamp(0, TOP)).div(TOP).square().mean()
            for image, real in zip(measured, wanted, strict=True)
        ]
        near = float(-10 * torch.log10(torch.stack(errors) + allowed * (1 - CLIPPED)).mean())
        if near > nearest:
            best, nearest = rule, near
        if near >= -10 * log10(allowed):
            break
    return best


def _float_results(steps: list[Step], images: Tensor) -> list[Tensor]:
    """What the steps give in float, in levels of bytes."""
    last, results = last_readers(steps), []
    for image in images:
        real = [image[None] / TOP]
        for k, step in enumerate(steps):
            real.append(step.run(real))
            for number in read_by(step):
                if last[number] == k:
                    real[number] = torch.zeros(0)
        results.append((real[-1] * TOP).clamp(0, TOP))
    return results


def _apart(steps: list[Step], rounder: Rounder, images: Tensor, wanted: list[Tensor]) -> float:
    """How far the integers are from float on images, in dB, the mean of all images."""
    last, found = last_readers(steps), []
    for image, real in zip(images, wanted, strict=True):
        whole = [image[None]]
        for k, step in enumerate(steps):
            whole.append(rounder.run(k, whole))
            for number in read_by(step):
                if last[number] == k:
                    whole[number] = torch.zeros(0)
        found.append(-10 * torch.log10(((real.round() - whole[-1]) / TOP).square().mean().clamp(min=1e-10)))
    return float(torch.stack(found).mean())
