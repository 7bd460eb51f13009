"""Which patches of an image are alike: reference, query or isolated, from how a small classifier sees them.

Source: "Reference-based Quantization for Image Super-Resolution" (RefQSR), arXiv 2404.01690, section on clustering.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError

THRESHOLD = 0.5  # cosine from which on a patch may refer to another one, as published
THRESHOLDS = tuple(k / 100 for k in range(101))  # of which `threshold_for` takes one
ROLES = ("reference", "query", "isolated")


@dataclass(frozen=True)
class Clusters:
    """What each of the N patches of an image is.

    Attributes:
        chosen: `(N,)`, the patch that each would refer to; may be itself.
        cosine: `(N,)`, how alike the two are.
        reference: `(N,)`, the patch that each query refers to, -1 for all others.
        referred: `(N,)`, whether some query refers to it.
    """

    chosen: NDArray[np.int64]
    cosine: NDArray[np.float64]
    reference: NDArray[np.int64]
    referred: NDArray[np.bool_]

    @property
    def queries(self) -> NDArray[np.int64]:
        """Numbers of the patches that get few bits, each with the help of its reference."""
        return np.flatnonzero(self.reference >= 0)

    @property
    def whole(self) -> NDArray[np.int64]:
        """Numbers of the patches that get all bits: references and isolated ones."""
        return np.flatnonzero(self.reference < 0)

    def role(self, patch: int) -> str:
        """One of `ROLES`."""
        if self.reference[patch] >= 0:
            return "query"
        return "reference" if self.referred[patch] else "isolated"

    def query_fraction(self, pixels: Sequence[int] | NDArray[np.int64]) -> float:
        """The share of the small pixels, of patches of these sizes, that lie in queries."""
        sizes = np.asarray(pixels)
        return float(sizes[self.queries].sum() / sizes.sum())


def cluster(vectors: NDArray[np.floating], threshold: float = THRESHOLD) -> Clusters:
    """The roles of the patches of one image.

    Each patch i chooses the j with the largest `M_ij`, the first of several; `M = A A'`, with `A` the softmax of the
    vectors over classes and `A'` their softmax over patches. So it chooses the patch that shows best what i shows.
    First it is settled who is chosen by another patch with a cosine of at least `threshold`: these are references.
    Of the others, those that have chosen with such a cosine are queries. So no query refers to a query, and the order
    of the patches does not matter (the paper leaves open what becomes of chains).

    Args:
        vectors: `(N, classes)`, what the classifier says of each patch, before any softmax.
        threshold: more than 1 makes all patches isolated.

    Raises:
        UsageError: no patches, or vectors that are not numbers.
    """
    return _assigned(*_choices(vectors), threshold)


def threshold_for(images: Iterable[tuple[NDArray[np.floating], Sequence[int]]], share: float) -> tuple[float, float]:
    """The threshold at which so much of images lies in queries. Classifiers differ, so each has one of its own.

    Args:
        images: vectors of the patches of each image, see `cluster`, and their sizes in pixels.
        share: wanted share of the pixels in queries, from 0 to 1, as the mean over images.

    Returns:
        The threshold in hundredths, of several the largest, and the share that it gives, which is the nearest one.

    Raises:
        UsageError: no image, or a share that is none.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"a share of the pixels in queries lies between 0 and 1; {share:g} does not")
    found = [(_choices(vectors), pixels) for vectors, pixels in images]
    if not found:
        raise UsageError("a threshold is found on images, and there was none")
    shares = {
        value: float(np.mean([_assigned(*own, value).query_fraction(pixels) for own, pixels in found]))
        for value in THRESHOLDS
    }
    best = min(reversed(THRESHOLDS), key=lambda value: abs(shares[value] - share))
    return best, shares[best]


def _choices(vectors: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Whom each patch chooses, and how alike the two are."""
    table: NDArray[np.float64] = np.asarray(vectors, np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise UsageError(f"patches are told apart by a finite vector each, not by an array {table.shape}")
    chosen = np.argmax(similarity(table), 1)
    return chosen, cosines(table, table[chosen])


def _assigned(chosen: NDArray[np.int64], cosine: NDArray[np.float64], threshold: float) -> Clusters:
    own = np.arange(len(chosen))
    near = (cosine >= threshold) & (chosen != own)
    referred = np.zeros(len(chosen), np.bool_)
    referred[chosen[near]] = True
    return Clusters(chosen, cosine, np.where(near & ~referred, chosen, -1), referred)


def similarity(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """`M`, `(N, N)`: how well patch j shows what patch i shows."""
    product: NDArray[np.float64] = _softmax(vectors, 1) @ _softmax(vectors, 0).T
    return product


def cosines(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the angles between the rows of two tables, `(N,)`; 0 where a row is 0."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(1) / np.where(lengths == 0, 1, lengths))


def _softmax(x: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))
