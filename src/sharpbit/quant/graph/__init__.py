"""Eight bits for any graph of convolutions, sums, concatenations, shuffles, products and functions, 16 where needed.

Each channel of a tensor has a scale and a zero point, from images. Weights are rounded one after the other, each error
made up by those that follow (GPTQ, Frantar et al., 2023), on the rounded inputs that a convolution really gets, and the
bias makes up for the mean error that came before. What is added is rounded with the convolution that it is added to,
and kept in 16 bits. The fewest convolutions that reach the gate read 16 bits (`sharpbit.quant.graph.widths`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sharpbit.graph import Graph
from sharpbit.modelfile.integer_graph import IntegerGraph
from sharpbit.quant.graph.lowering import lowered
from sharpbit.quant.graph.ranges import last_readers, ranges_of, together
from sharpbit.quant.graph.rounder import Rounder
from sharpbit.quant.graph.steps import Step, read_by
from sharpbit.quant.graph.widths import chosen, costs, widths_for
from sharpbit.quant.lossless import check_images
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped import APART, GATE, HEADROOM
from sharpbit.system.progress import Phases

IMAGES = 72  # that are looked at, at most
MEASURED = 6  # that are kept apart to measure on, at most
LOOKED_AT, SIDE = 2, 48  # images that tell what rounding costs, and the part of them that is looked at
SHARES = (0.5, 0.2, 0.0)  # of the error that the gate allows, for rounding what convolutions read


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
    images = images[torch.randperm(len(images), generator=generator)[:IMAGES]].float()
    apart = torch.arange(len(images)) % APART == APART - 1
    measured, images = (images[apart][:MEASURED], images[~apart]) if bool(apart.any()) else (images[:MEASURED], images)
    found = ranges_of(steps, images, progress)
    cost = costs(steps, found, images[:LOOKED_AT, :, :SIDE, :SIDE], settings.seed)
    few = images[: max(4, together(steps, images))]
    made: IntegerGraph | None = None
    before: frozenset[int] | None = None
    for share in SHARES:
        both = chosen(steps, cost, share * 10 ** (-(settings.gate + HEADROOM) / 10))
        if both == before:
            continue
        before = both
        word = f"rounding, {len(both)} convolutions in 16 bits" if both else "rounding"
        rounder = Rounder(steps, found, widths_for(steps, both), settings.compensate, generator)
        made = rounder.rounded(few, scale, progress, word)
        if _apart(steps, rounder, measured) >= settings.gate + HEADROOM:
            break
    assert made is not None
    return made


def _apart(steps: list[Step], rounder: Rounder, images: Tensor) -> float:
    """How far the integers are from float on images, in dB, the mean of all images."""
    last = last_readers(steps)
    found = []
    for image in images:
        real, whole = [image[None] / TOP], [image[None]]
        for k, step in enumerate(steps):
            real.append(step.run(real))
            whole.append(rounder.run(k, whole))
            for number in read_by(step):
                if last[number] == k:
                    real[number] = whole[number] = torch.zeros(0)
        wanted = (real[-1] * TOP).round().clamp(0, TOP)
        found.append(-10 * torch.log10(((wanted - whole[-1]) / TOP).square().mean().clamp(min=1e-10)))
    return float(torch.stack(found).mean())
