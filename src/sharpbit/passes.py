"""Pictures through a network in two passes: patches, who refers to whom, and in which order they run (RefQSR).

Source: "Reference-based Quantization for Image Super-Resolution", arXiv 2404.01690, section on inference.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sharpbit.clusters import ROLES, THRESHOLD, cluster
from sharpbit.clusters.classifier import SMALLEST
from sharpbit.errors import UsageError
from sharpbit.patches import grid, merge

TASKS = ("vectors", "reference", "query")  # of a file in two passes, by number
VECTORS, REFERENCE, QUERY = range(3)
PATCH, SHARED = 96, 6  # side of a patch, and what two of them share, in small pixels; as published for large pictures
PIXELS = 4 * PATCH**2  # that are run at a time

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Passes(Protocol):
    """Runs patches of one size through one part of a network.

    Patches are `(N, h, w, 3)` bytes, results `(N, h * scale, w * scale, 3)` bytes, features `(N, C, h, w)`.
    """

    scale: int

    def vectors(self, patches: Bytes) -> Floats:
        """What the classifier says of each, `(N, classes)`."""

    def reference(self, patches: Bytes) -> tuple[Bytes, tuple[Floats, ...]]:
        """With all bits: results, and what queries want to know of them."""

    def query(self, patches: Bytes, features: tuple[Floats, ...]) -> Bytes:
        """With few bits, and with the features of the reference of each."""


@dataclass(frozen=True)
class Roads:
    """How many patches of a picture took which road.

    Attributes:
        patches: by role, see `sharpbit.clusters.ROLES`.
        query_fraction: the share of the pixels of all patches that lie in queries.
    """

    patches: dict[str, int]
    query_fraction: float


def run(
    passes: Passes,
    picture: Bytes,
    *,
    patch: int = PATCH,
    threshold: float = THRESHOLD,
    progress: Callable[[float], object] | None = None,
) -> tuple[Bytes, Roads]:
    """The large picture, patch by patch.

    References run first, a few at a time, and right behind them the queries that refer to them; so only the features
    of these few are kept.

    Args:
        passes: the network.
        picture: `(h, w, 3)`.
        patch: side of patches in small pixels; neighbours share 6.
        threshold: of the cosine, see `cluster`.
        progress: called with the share of the patches that is done since the last call.

    Raises:
        UsageError: patches that are too small.
    """
    if patch < SMALLEST:
        raise UsageError(f"a patch of a network in two passes has at least {SMALLEST} pixels a side, not {patch}")
    high, wide = picture.shape[:2]
    missing = [(0, max(SMALLEST - side, 0)) for side in (high, wide)]
    whole = np.pad(picture, (*missing, (0, 0)), mode="edge")
    parts = grid(whole.shape[0], whole.shape[1], patch, patch - SHARED)
    cut = [np.ascontiguousarray(part.cut(whole)) for part in parts]
    vectors = np.concatenate([passes.vectors(np.stack([cut[k] for k in some])) for some in _batches(cut)])
    order = [k for some in _batches(cut) for k in some]
    found = cluster(vectors[np.argsort(order)], threshold)
    results: dict[int, Bytes] = {}
    for some in _batches(cut, found.whole.tolist()):
        large, features = passes.reference(np.stack([cut[k] for k in some]))
        results.update(zip(some, large, strict=True))
        kept = {number: [feature[k] for feature in features] for k, number in enumerate(some)}
        waiting = [k for k in found.queries.tolist() if found.reference[k] in kept]
        for few in _batches(cut, waiting):
            shown = zip(*(kept[found.reference[k]] for k in few), strict=True)
            large = passes.query(np.stack([cut[k] for k in few]), tuple(np.stack(feature) for feature in shown))
            results.update(zip(few, large, strict=True))
        if progress:
            progress((len(some) + len(waiting)) / len(parts))
    large = merge(parts, (results[k] for k in range(len(parts))), passes.scale)
    counts = Counter(found.role(k) for k in range(len(parts)))
    roads = Roads({role: counts[role] for role in ROLES}, found.query_fraction([part.pixels for part in parts]))
    return large[: high * passes.scale, : wide * passes.scale], roads


def _batches(cut: Sequence[Bytes], numbers: Sequence[int] | None = None) -> Iterator[list[int]]:
    """Numbers of patches of one size, a few at a time."""
    by_size: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for number in range(len(cut)) if numbers is None else numbers:
        by_size[cut[number].shape].append(number)
    for (height, width, _), same in by_size.items():
        count = max(1, PIXELS // (height * width))
        for start in range(0, len(same), count):
            yield same[start : start + count]
