"""An image in overlapping patches with their roles, and upscaling it in two passes, whatever runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError
from sharpbit.twopass.classifier import embedded
from sharpbit.twopass.patches import Patch, grid, merge
from sharpbit.twopass.roles import THRESHOLD, Clusters, cluster, threshold_for

PATCH, SHARED = 96, 6  # side of a patch, and what neighbours share, in small pixels; as published for large images
BATCH = 8  # patches of one role that run together

Reference = Callable[[NDArray[Any]], tuple[NDArray[Any], Sequence[NDArray[Any]]]]
Query = Callable[[NDArray[Any], Sequence[NDArray[Any]]], NDArray[Any]]


class Vectors(Protocol):
    """What tells patches apart, such as `sharpbit.twopass.classifier.Classifier`."""

    def vectors(self, patches: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """`(N, classes)` of patches `(h, w, 3)` of any sizes."""


@dataclass(frozen=True)
class Clustered:
    """The patches of an image, row by row, and their roles."""

    patches: list[Patch]
    clusters: Clusters

    @property
    def queries(self) -> float:
        """The share of the pixels, of all patches, that lie in queries."""
        return self.clusters.query_fraction([patch.pixels for patch in self.patches])

    def counts(self) -> dict[str, int]:
        """How many patches have each role."""
        referred = int(self.clusters.referred.sum())
        queries = len(self.clusters.queries)
        return {"reference": referred, "query": queries, "isolated": len(self.patches) - referred - queries}

    def role(self, number: int) -> tuple[str, int | None]:
        """The role of a patch, and the number of the patch that it refers to, if it is a query."""
        other = int(self.clusters.reference[number])
        return self.clusters.role(number), other if other >= 0 else None


def clustered(
    image: NDArray[np.uint8],
    patch: int = PATCH,
    shared: int = SHARED,
    threshold: float = THRESHOLD,
    classifier: Vectors | None = None,
) -> Clustered:
    """The roles of the patches of an LR image.

    Args:
        image: RGB, `(H, W, 3)` uint8.
        patch: side of a patch; see `sharpbit.twopass.patches.grid`.
        shared: pixels that neighbours have in common.
        threshold: the cosine from which on patches are alike, see `sharpbit.twopass.roles.cluster`.
        classifier: what tells patches apart, by default the embedded classifier.

    Raises:
        UsageError: a patch that is not larger than what neighbours share.
    """
    patches = pieces(image, patch, shared)
    vectors = (classifier or embedded()).vectors([one.cut(image) for one in patches])
    return Clustered(patches, cluster(vectors, threshold))


def calibrated(
    images: Iterable[NDArray[np.uint8]],
    share: float,
    patch: int = PATCH,
    shared: int = SHARED,
    classifier: Vectors | None = None,
) -> tuple[float, float]:
    """The threshold at which `share` of the pixels of LR images lie in queries, and the share that it gives.

    Args:
        images: RGB, `(H, W, 3)` uint8.
        share: wanted share of the pixels in queries, from 0 to 1, as the mean over images.
        patch: side of a patch; see `sharpbit.twopass.patches.grid`.
        shared: pixels that neighbours have in common.
        classifier: what tells patches apart, by default the embedded classifier.

    Raises:
        UsageError: no image, a share that is none, or a patch that is not larger than what neighbours share.
    """
    judge = classifier or embedded()
    cut = ((image, pieces(image, patch, shared)) for image in images)
    seen = ((judge.vectors([one.cut(image) for one in parts]), [one.pixels for one in parts]) for image, parts in cut)
    return threshold_for(seen, share)


def pieces(image: NDArray[Any], patch: int, shared: int) -> list[Patch]:
    """The patches of an LR image, row by row; neighbours have `shared` pixels in common.

    Raises:
        UsageError: a patch that is not larger than what neighbours share.
    """
    check_shared(patch, shared)
    height, width = image.shape[:2]
    return grid(height, width, patch, patch - shared)


def check_shared(patch: int, shared: int) -> None:
    """See whether patches of this side can have `shared` pixels in common with their neighbours.

    Raises:
        UsageError: they cannot.
    """
    if not 0 <= shared < patch:
        raise UsageError(f"patches of {patch} pixels cannot share {shared} with their neighbours; share fewer")


def upscale(
    image: NDArray[Any],
    found: Clustered,
    scale: int,
    reference: Reference,
    query: Query,
    ran: Callable[[list[int]], object] | None = None,
) -> NDArray[Any]:
    """The upscaled image `(H * scale, W * scale, 3)`.

    Patches run together where their role and size are the same. Each reference runs just before its queries, so that
    features are held of few references at a time. What comes out depends on nothing but the image.

    Args:
        image: small, `(H, W, 3)`, of whatever kind the passes take.
        found: its patches and their roles.
        scale: upscaling factor.
        reference: `(n, h, w, 3)` to `(n, h * scale, w * scale, 3)` and features, each `(n, ...)`.
        query: the same, with the features of the reference of each, to the large patches alone.
        ran: called after each of these, in the same thread, with the numbers of the patches.
    """
    results: list[NDArray[Any] | None] = [None] * len(found.patches)
    cuts = [patch.cut(image) for patch in found.patches]
    for numbers in batches(found.clusters.whole.tolist(), [cut.shape for cut in cuts]):
        large, features = reference(np.stack([cuts[number] for number in numbers]))
        if ran:
            ran(numbers)
        for number, one in zip(numbers, large, strict=True):
            results[number] = one
        place = {number: k for k, number in enumerate(numbers)}
        mine = [q for q in found.clusters.queries.tolist() if int(found.clusters.reference[q]) in place]
        for some in batches(mine, [cut.shape for cut in cuts]):
            rows = [place[int(found.clusters.reference[q])] for q in some]
            large = query(np.stack([cuts[q] for q in some]), [feature[rows] for feature in features])
            if ran:
                ran(some)
            for number, one in zip(some, large, strict=True):
                results[number] = one
    return merge(found.patches, [one for one in results if one is not None], scale)


def batches(numbers: Iterable[int], shapes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Numbers of patches, some of one size at a time."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for number in numbers:
        by_shape.setdefault(shapes[number], []).append(number)
    for same in by_shape.values():
        yield from (same[start : start + BATCH] for start in range(0, len(same), BATCH))
