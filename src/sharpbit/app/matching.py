"""`sharpbit clusters --match`: what the RefERs of a network find on the patches of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sharpbit.app import aligned
from sharpbit.errors import UsageError
from sharpbit.system import extras
from sharpbit.twopass.clustering import Clustered

if TYPE_CHECKING:
    from sharpbit.verbs.matching import Matching


def measured(
    path: str,
    bits: tuple[int, int] | None,
    images: Sequence[NDArray[np.uint8]],
    found: Sequence[Clustered],
    patch: int,
    config: Mapping[str, Any],
    *,
    quiet: bool,
) -> Matching:
    """See `sharpbit.verbs.matching.match`.

    Args:
        path: the file of the network.
        bits: bits of references and of queries; None takes 8 and 4, or those of the file.
        images: LR images.
        found: the roles of their patches.
        patch: side of a patch in pixels.
        config: sizes of published weights, see `sharpbit.load`.
        quiet: whether progress is hidden.

    Raises:
        UsageError: bits were given for a network that has two passes already, or no patch is a query.
    """
    extras.need("train", "--match")
    from sharpbit import model as models
    from sharpbit import zoo
    from sharpbit.quant.refqsr import TwoPass
    from sharpbit.verbs.matching import match, pairs_of

    model = models.load(zoo.path_of(path), **config)
    if bits and TwoPass.of(model.history):
        raise UsageError(f"{path} has two passes already, and their bits; leave out --bits")
    high, low = bits or (8, 4)
    pairs = pairs_of(images, found, patch)
    with tqdm(desc="matching", disable=quiet, delay=2, leave=False) as bar:
        return match(model, *pairs, high=high, low=low, progress=bar.update)


def told(found: Matching) -> str:
    """A table for a terminal, and what its columns are."""
    head = ("RefER for", "compared", "places found", "unrounded", "difference", "content", "correlation", "start")
    rows: list[tuple[str, ...]] = [head]
    for row in found.rows:
        shares = (f"{value:.0%}" for value in (row.found, row.found_exactly))
        sizes = (f"{row.distance:.2f}", f"{row.content:.1f}x", f"{row.correlation:+.2f}", f"{row.start:+.2f}")
        rows.append((row.block, row.matching, *shares, *sizes))
    lines = [
        f"What RefERs find, on {found.pairs} queries:",
        "",
        aligned(rows),
        "",
        "Places found: of a patch that is its own reference, with what is compared rounded to the bits of queries, and",
        "unrounded; the difference is then how far it is from itself, as a share of the feature.",
        "Content: how large the difference from the reference is, in multiples of the rounding error that it is to",
        "correct, and how the two correlate.",
        "Start: how much of the work of the block is there when training begins; 0 is as if nothing stood there.",
    ]
    if found.starts:
        starts = ", ".join(f"{name} {value:+.2f}" for name, value in found.starts.items())
        lines.append(f"Starts, compared as printed: {starts}.")
    return "\n".join(lines)
