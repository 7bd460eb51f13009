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
from math import inf
from pathlib import Path

import torch
from torch import Tensor

from sharpbit.graph import Graph
from sharpbit.modelfile.integer_graph import IntegerGraph
from sharpbit.quant.graph.finer import Paired, with_finer
from sharpbit.quant.graph.gate import Gate, Measured
from sharpbit.quant.graph.images import chosen_of
from sharpbit.quant.graph.kept import Kept
from sharpbit.quant.graph.lowering import lowered
from sharpbit.quant.graph.ranges import (
    RULES,
    Extremes,
    Rule,
    extremes,
    flat,
    range_of_sums,
    ranges_of,
    through,
    together,
    unflat,
)
from sharpbit.quant.graph.rounder import Rounder
from sharpbit.quant.graph.rules import chosen_rule
from sharpbit.quant.graph.steps import Step
from sharpbit.quant.graph.widths import Choice, Costs, chosen, costs, widths_for
from sharpbit.quant.lossless import check_images
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped import GATE
from sharpbit.quant.sloped.layer import Range
from sharpbit.system.progress import Phases

LOOKED_AT, SIDE = 2, 48  # images that tell what rounding costs, and the part of them that is looked at
HEADROOM = 1.0  # dB more on the few images that are kept apart: other drawings are wilder
SOME, REST = 6, 0.3  # images of each kind that tell what rounding leaves of weights, and what ranges have to spare
SHARE = 0.7  # of what is allowed, that rounding is estimated to cost at first; what is measured says what to try next
EXACT = 1e-10  # mean square error of integers that give the same bytes, so that these do not make the mean
TRIES, NEAR = 3, 1.5  # so often, until what is measured is at most so many dB above what is asked for


@dataclass(frozen=True)
class GraphSettings:
    """How much work is done.

    Attributes:
        gate: Mean dB from float for which convolutions read 16 bits; no image may be more than `FAR` dB farther.
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
    gate = Gate(10 ** (-(settings.gate + HEADROOM) / 10))
    measured = Measured.of(steps, shown, progress)
    every = torch.cat([shown.given, shown.drawn, shown.soft])
    source = [repr(every.shape), repr(gate)]
    ends = kept.tensor("extremes", source[:1], lambda: flat(extremes(steps, every, progress)))
    seen = unflat(steps, ends, len(every))

    def of_rule() -> Tensor:
        return torch.tensor(chosen_rule(steps, seen, every, measured, gate, progress))

    rule = RULES[int(kept.tensor("rule", source, of_rule))]
    found = ranges_of(steps, seen, rule)
    known = torch.cat([shown.given[:LOOKED_AT], shown.drawn[:LOOKED_AT]])
    looked_at = torch.cat([known, shown.soft[: 2 * LOOKED_AT]])[:, :, :SIDE, :SIDE]

    def of_costs() -> Tensor:
        return torch.stack(costs(steps, found, looked_at, settings.seed, progress))

    read, weights = kept.tensor("costs", source, of_costs)
    cost = Costs(read, weights, len(known))
    few = torch.cat([shown.given[: max(3, together(steps, shown.given))], shown.drawn[:1], shown.soft[:1]])
    some = torch.cat([part[:SOME] for part in (shown.given, shown.drawn, shown.soft)])

    def rounded(share: float) -> Candidate:
        choice = chosen(steps, cost, gate.of(share))
        pairs, own = with_finer(steps, found, choice.both, choice.finer), found
        if choice.finer:
            own = _ranges_of_pairs(pairs, found, seen, rule, some, progress)
        sixteen = len(choice.both | choice.finer)
        word = f"rounding, {sixteen} convolutions in 16 bits" if pairs.both else "rounding"
        widths = widths_for(pairs.steps, pairs.both)
        rounder = Rounder(pairs.steps, own, widths, settings.compensate, settings.seed, kept)
        made = rounder.rounded(few, scale, progress, word)
        return Candidate(choice, made, _apart(pairs.steps, rounder, measured, gate, progress))

    return least(rounded, lambda share: chosen(steps, cost, gate.of(share)))


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


def _apart(steps: list[Step], rounder: Rounder, measured: Measured, gate: Gate, progress: Phases) -> float:
    """How many dB the integers are above what is asked for on images that are kept apart."""
    errors = list[Tensor]()
    for image, real in zip(measured.images, measured.wanted, strict=True):
        errors.append(((real.round() - through(steps, image[None], rounder.run)) / TOP).square().mean())
        progress("comparing with float", len(errors), len(measured.wanted))
    return gate.above(torch.stack(errors).clamp(min=EXACT), measured.ordinary)
