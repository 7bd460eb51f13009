"""Pictures through a network in two passes, whatever engine runs it (RefQSR)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sharpbit.clusters import THRESHOLD
from sharpbit.clusters.classifier import SMALLEST
from sharpbit.clusters.picture import PATCH, SHARED, Clustered, clustered, enlarge
from sharpbit.errors import UsageError

TASKS = ("vectors", "reference", "query")  # of a file in two passes, by number
VECTORS, REFERENCE, QUERY = range(3)

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Passes(Protocol):
    """Runs patches of one size through one part of a network.

    Patches are `(N, h, w, 3)` bytes, results `(N, h * scale, w * scale, 3)` bytes, features `(N, C, h, w)`.
    """

    scale: int

    def vectors(self, patches: Sequence[Bytes]) -> Floats:
        """What the classifier says of patches of any sizes, `(N, classes)`."""

    def reference(self, patches: Bytes) -> tuple[Bytes, Sequence[Floats]]:
        """With all bits: results, and what queries want to know of them."""

    def query(self, patches: Bytes, features: Sequence[Floats]) -> Bytes:
        """With few bits, and with the features of the reference of each."""


def run(
    passes: Passes,
    picture: Bytes,
    *,
    patch: int = PATCH,
    shared: int = SHARED,
    threshold: float = THRESHOLD,
    progress: Callable[[float], object] | None = None,
) -> tuple[Bytes, Clustered]:
    """The large picture, and what its patches were.

    Args:
        passes: the network.
        picture: `(h, w, 3)`.
        patch: side of patches in small pixels.
        shared: pixels that neighbours have in common.
        threshold: of the cosine, see `sharpbit.clusters.cluster`.
        progress: called with the share of the patches that is done since the last call.

    Raises:
        UsageError: patches that are too small.
    """
    if patch < SMALLEST:
        raise UsageError(f"a patch of a network in two passes has at least {SMALLEST} pixels a side, not {patch}")
    high, wide = picture.shape[:2]
    missing = [(0, max(SMALLEST - side, 0)) for side in (high, wide)]
    whole = np.pad(picture, (*missing, (0, 0)), mode="edge")
    found = clustered(whole, patch, shared, threshold, passes)

    def told(patches: Bytes) -> None:
        if progress:
            progress(len(patches) / len(found.patches))

    def reference(patches: Bytes) -> tuple[Bytes, Sequence[Floats]]:
        results = passes.reference(patches)
        told(patches)
        return results

    def query(patches: Bytes, features: Sequence[Floats]) -> Bytes:
        results = passes.query(patches, features)
        told(patches)
        return results

    large = enlarge(whole, found, passes.scale, reference, query)
    return large[: high * passes.scale, : wide * passes.scale], found
