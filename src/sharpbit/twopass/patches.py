"""Overlapping patches of an image, each upscaled alone, and put together again without blending.

This is how the papers on patch-adaptive quantization cut (CADyQ, CABM, RefQSR): `crop` and `combine` in `main.py` of
Cheeun/CADyQ. The result is not that of the whole image, for a network sees the edge of its patch.
`sharpbit.pipeline.tiles` cuts for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError


@dataclass(frozen=True)
class Span:
    """A patch along one side of the image: where it lies, and what of it is kept; ends excluded, small pixels."""

    start: int
    stop: int
    kept_from: int
    kept_to: int


@dataclass(frozen=True)
class Patch:
    """A patch of an image."""

    rows: Span
    columns: Span

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in small pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def pixels(self) -> int:
        """How many small pixels it has."""
        return self.size[0] * self.size[1]

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """The patch of `image` `(H, W, ...)`, a view."""
        return image[self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]

    def put(self, result: NDArray[Any], image: NDArray[Any], scale: int) -> None:
        """Write what is kept of `result` `(h * scale, w * scale, ...)` into the large `image`."""
        inside = tuple(
            slice((span.kept_from - span.start) * scale, (span.kept_to - span.start) * scale)
            for span in (self.rows, self.columns)
        )
        outside = tuple(slice(span.kept_from * scale, span.kept_to * scale) for span in (self.rows, self.columns))
        image[outside] = result[inside]


def grid(height: int, width: int, patch: int, step: int) -> list[Patch]:
    """The patches of an image, row by row.

    Args:
        height: The height of the LR image in pixels.
        width: The width of the LR image in pixels.
        patch: side of a patch; the last of each row and column reaches to the edge, and has up to `patch + step - 1`.
        step: The distance from patch to patch in LR pixels; what two of them share is halved between them.

    Raises:
        UsageError: an empty image, or a step that leaves gaps.
    """
    if min(height, width) < 1 or not 1 <= step <= patch:
        raise UsageError(
            f"an image of {width}x{height} cannot be cut into patches of {patch} pixels every {step};"
            " a step has at least 1 pixel and at most as many as a patch"
        )
    return [Patch(rows, columns) for rows in _spans(height, patch, step) for columns in _spans(width, patch, step)]


def merge(patches: Sequence[Patch], results: Iterable[NDArray[Any]], scale: int) -> NDArray[Any]:
    """The upscaled image `(H * scale, W * scale, ...)` of the results of all patches of a grid, in its order."""
    height, width = patches[-1].rows.stop, patches[-1].columns.stop
    image: NDArray[Any] | None = None
    for patch, result in zip(patches, results, strict=True):
        if image is None:
            image = np.empty((height * scale, width * scale, *result.shape[2:]), result.dtype)
        patch.put(result, image, scale)
    assert image is not None
    return image


def _spans(size: int, patch: int, step: int) -> list[Span]:
    starts = list(range(0, max(size - patch, 0) + 1, step))
    stops = [start + patch for start in starts[:-1]] + [size]
    shared = (patch - step) // 2
    edges = [0, *(start + shared for start in starts[1:]), size]
    return [Span(start, stop, *kept) for start, stop, kept in zip(starts, stops, pairwise(edges), strict=True)]
