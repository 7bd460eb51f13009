"""What RefERs find and what they have to correct, measured on real patches before a network is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sharpbit.errors import UsageError
from sharpbit.model import Model
from sharpbit.quant.history import Quantize
from sharpbit.quant.refqsr import Refined, TwoPass, published, query, reference
from sharpbit.quant.refqsr.refer import MATCHINGS, PRINTED, compared, matched, middles, upscaled, warped
from sharpbit.system.progress import Progress
from sharpbit.twopass.clustering import Clustered
from sharpbit.verbs import qat

PAIRS = 24  # queries with their references that are measured
SHOWN = 8  # of them that clipping ranges begin with
NEAR = 0.5  # pixels within which a place is the right one
METHOD = "ddtb"
AS_BLOCK = "as the block"
STARTS = {"neutral": {"neutral": True}, "neutral, block kept": {"neutral": True, "keep_block": True}}


@dataclass(frozen=True)
class Match:
    """What one RefER finds with one way to compare features, at the bits that it has.

    Attributes:
        block: The name of the block that it stands for.
        matching: How features are compared, see `sharpbit.quant.refqsr.refer.compared`.
        found: The share of the places of a patch that is its own reference which are found, from 0 to 1.
        found_exactly: The same if what is compared is not rounded.
        distance: How far a patch is from itself, warped to the places that were found: the root of the mean of squares
            of the difference, as a multiple of that of the feature. 0 if every place is found.
        content: How large the difference from the reference is, as a multiple of the rounding error of the feature,
            which it is to correct (roots of the means of squares).
        correlation: The correlation of that difference with the rounding error, from -1 to 1.
        start: How much of what the block does to the feature is there when training begins, 1 being all of it and 0 as
            much as if nothing stood in its place; below 0 the correction does harm.
    """

    block: str
    matching: str
    found: float
    found_exactly: float
    distance: float
    content: float
    correlation: float
    start: float


@dataclass(frozen=True)
class Matching:
    """What RefERs of a network find, and how they begin.

    Attributes:
        pairs: The number of queries that were measured, each with its reference.
        rows: For each RefER and each way to compare, what it finds.
        starts: For each way to begin (as the block, and those of `STARTS`), the mean of `Match.start` over the RefERs,
            compared as printed. Empty for a network that has two passes already.
    """

    pairs: int
    rows: tuple[Match, ...]
    starts: dict[str, float]


def pairs_of(images: Sequence[NDArray[np.uint8]], found: Sequence[Clustered], side: int) -> tuple[Tensor, Tensor]:
    """Queries and their references, `(N, 3, side, side)` in `[0, 1]` each: at most 24 pairs, evenly over all of them.

    Args:
        images: LR images, RGB `(H, W, 3)` uint8.
        found: The roles of their patches.
        side: The side of a patch in pixels.

    Raises:
        UsageError: No image has a query whose reference has the whole size.
    """
    pairs = []
    for image, one in zip(images, found, strict=True):
        cuts = [patch.cut(image)[:side, :side] for patch in one.patches]
        for k in one.clusters.queries.tolist():
            pair = cuts[k], cuts[int(one.clusters.reference[k])]
            if all(cut.shape[:2] == (side, side) for cut in pair):
                pairs.append(pair)
    if not pairs:
        raise UsageError(
            f"no patch of {side} pixels of these images is a query of another one; give more or larger images, or a"
            " smaller --patch"
        )
    chosen = pairs[:: -(-len(pairs) // PAIRS)]
    both = [torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2).float() / 255 for cuts in zip(*chosen, strict=True)]
    return both[0], both[1]


@torch.no_grad()
def match(
    model: Model,
    queries: Tensor,
    references: Tensor,
    *,
    high: int = 8,
    low: int = 4,
    progress: Progress | None = None,
) -> Matching:
    """Measure what RefERs find.

    Args:
        model: A float model, one with quantizers (whose method is taken, else DDTB), or one in two passes, of which its
            own way to compare is measured.
        queries: Patches `(N, 3, h, w)` in `[0, 1]`.
        references: A reference for each.
        high: Bits of references, for a model with one pass.
        low: Bits of queries, likewise.
        progress: Called with 1 after each of the networks in two passes that are tried.

    Raises:
        UsageError: The network has no blocks for which a RefER can stand.

    Source: RefQSR, arXiv 2404.01690, eq. 4 to 7.
    """
    passes = TwoPass.of(model.history)
    if passes is not None:
        return Matching(len(queries), tuple(_measured(model.net, passes, queries, references)), {})

    def begun(**how: object) -> list[Match]:
        found = _measured(*_begun(model, queries, high, low, **how), queries, references)
        if progress:
            progress(1)
        return found

    rows = {matching: begun(matching=matching) for matching in MATCHINGS}
    begins = {AS_BLOCK: rows[PRINTED]} | {name: begun(**how) for name, how in STARTS.items()}
    starts = {name: float(np.mean([row.start for row in found])) for name, found in begins.items()}
    return Matching(len(queries), tuple(row for found in rows.values() for row in found), starts)


def _begun(source: Model, x: Tensor, high: int, low: int, **how: object) -> tuple[nn.Module, TwoPass]:
    """The network in two passes as training begins with it."""
    base = next((one for one in source.history if isinstance(one, Quantize)), None)
    plain = replace(source, net=source.arch.build(source.config), history=(), about={})
    if base is None:
        plain.net.load_state_dict(source.net.state_dict())
    method = base.method if base else METHOD
    options = dict(base.plan[0].get("act_options", {})) if base else {}
    passes = published(source.arch.name, source.config, method, high, low, options=options, **how)  # type: ignore[arg-type]
    if not passes.replaced:
        raise UsageError(f"this {source.arch.name} has too few blocks for a RefER; one stands for a quarter of them")
    return qat.two_pass(plain, passes, [x[:SHOWN]], source=source).net.eval(), passes


def _measured(net: nn.Module, how: TwoPass, queries: Tensor, references: Tensor) -> list[Match]:
    net.eval()
    _, exact = reference(net, queries)
    _, others = reference(net, references)
    parts = {name: part for name, part in net.named_modules() if isinstance(part, Refined)}
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def look(name: str) -> object:
        return lambda part, args, out: seen.__setitem__(name, (args[0], out))

    handles = [part.register_forward_hook(look(name)) for name, part in parts.items()]  # type: ignore[arg-type]
    try:
        query(net, queries, others)
    finally:
        for handle in handles:
            handle.remove()
    rows = []
    for (name, part), own, other in zip(parts.items(), exact, others, strict=True):
        x, result = seen[name]
        refer = part.refer
        own_places = refer.places(x, x)
        free = matched(*compared(x, x, refer.matching), x.shape, soft=False) if refer.pooled else own_places
        difference = x - _warped(refer, x, other)
        rounding, work = x - own, part.block(own) - x
        rows.append(
            Match(
                block=name,
                matching=how.matching,
                found=_right(own_places, x),
                found_exactly=_right(free, x),
                distance=_size(x - _warped(refer, x, x)) / _size(x),
                content=_size(difference) / max(_size(rounding), 1e-12),
                correlation=float(torch.corrcoef(torch.stack([difference.flatten(), rounding.flatten()]))[0, 1]),
                start=1 - (_size(work - (result - x)) / _size(work)) ** 2,
            )
        )
    return rows


def _warped(refer: nn.Module, x: Tensor, other: Tensor) -> Tensor:
    places: Tensor = refer.places(x, other)  # type: ignore[operator]
    return warped(other, upscaled(places, x) if refer.pooled else places)


def _right(places: Tensor, x: Tensor) -> float:
    """The share of the places `(N, 2, h, w)` of features `x` that are those of the feature itself."""
    home = middles(places, x.shape).T.reshape(1, 2, *places.shape[2:])
    return float(((places - home).abs() < NEAR).all(1).float().mean())


def _size(x: Tensor) -> float:
    return float(x.square().mean().sqrt())
