"""Images through a network in two passes (RefQSR), or through a pair of networks, whatever engine runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError
from sharpbit.system.progress import Progress
from sharpbit.twopass import detail
from sharpbit.twopass.classifier import SMALLEST
from sharpbit.twopass.clustering import PATCH, SHARED, Clustered, clustered, upscale
from sharpbit.twopass.roles import THRESHOLD

TASKS = ("vectors", "reference", "query")  # of a file in two passes, by number; in a pair: large and small network
VECTORS, REFERENCE, QUERY = range(3)

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Found = Clustered | detail.Split


class Passes(Protocol):
    """Runs patches of one size through one part of a network.

    Of a pair, `reference` is the large network and `query` the small one; there are no vectors and no features.
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
    image: Bytes,
    *,
    patch: int = PATCH,
    shared: int = SHARED,
    threshold: float = THRESHOLD,
    detailed: float | None = None,
    progress: Progress | None = None,
    ran: Callable[[list[int]], object] | None = None,
) -> tuple[Bytes, Found]:
    """The upscaled image, and what its patches were.

    Args:
        passes: the network.
        image: `(h, w, 3)`.
        patch: side of patches in small pixels.
        shared: pixels that neighbours have in common.
        threshold: the cosine from which on patches are alike, see `sharpbit.twopass.roles.cluster`.
        detailed: for a pair, the detail from which on a patch takes the large network, see `sharpbit.twopass.detail`;
            None clusters patches by likeness.
        progress: called with the share of the patches that is done since the last call.
        ran: called in the same thread after some patches ran together, with their numbers.

    Raises:
        UsageError: patches that are too small.
    """
    if patch < SMALLEST:
        raise UsageError(f"a patch of a network in two passes has at least {SMALLEST} pixels a side, not {patch}")
    high, wide = image.shape[:2]
    missing = [(0, max(SMALLEST - side, 0)) for side in (high, wide)]
    whole = np.pad(image, (*missing, (0, 0)), mode="edge")

    def done(numbers: list[int]) -> None:
        if ran:
            ran(numbers)
        if progress:
            progress(len(numbers) / len(found.patches))

    found: Found
    if detailed is None:
        found = clustered(whole, patch, shared, threshold, passes)
        result = upscale(whole, found, passes.scale, passes.reference, passes.query, done)
    else:
        found = detail.split(whole, detailed, patch, shared)
        networks = (lambda some: passes.reference(some)[0]), (lambda some: passes.query(some, ()))
        result = detail.upscale(whole, found, passes.scale, *networks, done)
    return result[: high * passes.scale, : wide * passes.scale], found
