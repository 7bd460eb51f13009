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
from pathlib import Path

import torch
from torch import Tensor

from sharpbit.graph import Graph
from sharpbit.modelfile.integer_graph import IntegerGraph
from sharpbit.quant.graph.finer import Paired, with_finer
from sharpbit.quant.graph.images import chosen_of
from sharpbit.quant.graph.kept import Kept
from sharpbit.quant.graph.lowering import lowered
from sharpbit.quant.graph.ranges import (
    RULES,
    Extremes,
    Rule,
    clipped,
    extremes,
    flat,
    last_readers,
    range_of_sums,
    ranges_of,
    together,
    unflat,
)
from sharpbit.quant.graph.rounder import Rounder
from sharpbit.quant.graph.steps import Step, read_by
from sharpbit.quant.graph.widths import Choice, Costs, chosen, costs, widths_for
from sharpbit.quant.lossless import check_images
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped import GATE
from sharpbit.quant.sloped.layer import Range
from sharpbit.system.progress import Phases

LOOKED_AT, SIDE = 2, 48  # images that tell what rounding costs, and the part of them that is looked at
HEADROOM = 1.0  # dB more on the few images that are kept apart: other drawings are wilder
SOME, REST = 6, 0.3  # images of both kinds that tell what rounding leaves of weights, and what ranges have to spare
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
        keep: Folder in which long work is kept, so that a killed run goes on; None: nothing is kept.
    """

    gate: float = GATE
    compensate: bool = True
    seed: int = 0
    keep: Path | None = None


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
    kept = Kept(settings.keep, [repr(settings.seed), repr(graph.nodes), *_numbers(graph), images])
    generator = torch.Generator().manual_seed(settings.seed)
    shown = chosen_of(images, generator)
    allowed = 10 ** (-(settings.gate + HEADROOM) / 10)
    wanted = _float_results(steps, shown.measured, progress)
    every = torch.cat([shown.given, shown.drawn])
    seen = unflat(steps, kept.tensor("extremes", [], lambda: flat(extremes(steps, every, progress))), len(every))
    gate = [repr(allowed)]
    number = kept.tensor("rule", gate, lambda: _rule(steps, seen, shown.measured, wanted, allowed, progress))
    rule = RULES[int(number)]
    found = ranges_of(steps, seen, rule)
    looked_at = torch.cat([shown.given[:LOOKED_AT], shown.drawn[:LOOKED_AT]])[:, :, :SIDE, :SIDE]
    cost = Costs(*kept.tensor("costs", gate, lambda: costs(steps, found, looked_at, settings.seed, progress).both))
    few = torch.cat([shown.given[: max(3, together(steps, shown.given))], shown.drawn[:1]])
    some = torch.cat([shown.given[:SOME], shown.drawn[:SOME]])

    def rounded(share: float) -> Candidate:
        choice = chosen(steps, cost, share * allowed)
        pairs, own = with_finer(steps, found, choice.both, choice.finer), found
        if choice.finer:
            own = _ranges_of_pairs(pairs, found, seen, rule, some, progress)
        sixteen = len(choice.both | choice.finer)
        word = f"rounding, {sixteen} convolutions in 16 bits" if pairs.both else "rounding"
        widths = widths_for(pairs.steps, pairs.both)
        rounder = Rounder(pairs.steps, own, widths, settings.compensate, settings.seed, kept)
        made = rounder.rounded(few, scale, progress, word)
        near = _apart(pairs.steps, rounder, shown.measured, wanted, progress)
        return Candidate(choice, made, near - settings.gate - HEADROOM)

    return least(rounded, lambda share: chosen(steps, cost, share * allowed))


def _numbers(graph: Graph) -> list[Tensor]:
    """All that is learned, in the order of its names."""
    return [torch.from_numpy(graph.weights[name]) for name in sorted(graph.weights)]


def _ranges_of_pairs(
    pairs: Paired, found: list[Range], seen: Extremes, rule: Rule, images: Tensor, progress: Phases
) -> list[Range]:
    """Of each tensor: those that were there have their ranges; what rounding left of weights gives little anywhere."""
    own = ranges_of(pairs.steps, extremes(pairs.steps, images, progress), Rule(spare=max(rule.spare, REST)))
    for before, after in enumerate(pairs.number):
        own[after] = found[before]
    for k, number in pairs.sums.items():
        own[number] = range_of_sums(seen, k, rule)
    return own


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


def _rule(
    steps: list[Step], seen: Extremes, measured: Tensor, wanted: list[Tensor], allowed: float, progress: Phases
) -> Tensor:
    """The number of the rule with the finest steps that leaves room for rounding where values end with ranges.

    It is that of the nearest one where none does.
    """
    best, nearest = 0, 0.0
    for number, rule in enumerate(RULES):
        found, errors = ranges_of(steps, seen, rule), list[Tensor]()
        for image, real in zip(measured, wanted, strict=True):
            one = (clipped(steps, found, image[None] / TOP) * TOP).clamp(0, TOP)
            errors.append((real - one).div(TOP).square().mean())
            progress("choosing ranges", len(errors) + number * len(wanted), len(RULES) * len(wanted))
        near = float(-10 * torch.log10(torch.stack(errors) + allowed * (1 - CLIPPED)).mean())
        if near > nearest:
            best, nearest = number, near
        if near >= -10 * log10(allowed):
            break
    return torch.tensor(best)


def _float_results(steps: list[Step], images: Tensor, progress: Phases) -> list[Tensor]:
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
        progress("running in float", len(results), len(images))
    return results


def _apart(steps: list[Step], rounder: Rounder, images: Tensor, wanted: list[Tensor], progress: Phases) -> float:
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
        progress("comparing with float", len(found), len(images))
    return float(torch.stack(found).mean())
