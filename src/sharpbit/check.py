"""Catches results that cannot be right: not a number, black, or of another colour than the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ResultError

MEAN_LIMIT = 0.06  # of the whole picture, per channel, where white is 1: about 15 of 255 grey levels
BLOCK_LIMIT = 0.30  # of one block: a network may sharpen an edge, but not repaint 16x16 pixels
_BLOCK = 16


class Check:
    """Compares results with what they were made of, tile by tile.

    Args:
        name: of the picture, for errors.
        scale: upscaling factor.
    """

    def __init__(self, name: str, scale: int) -> None:
        self.name = name
        self.scale = scale
        self._before = np.zeros(3)
        self._after = np.zeros(3)
        self._count = 0

    def add(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> None:
        """Look at a tile `(h, w, 3)` and its result `(h * scale, w * scale, 3)`, white being 1.

        Raises:
            ResultError: it holds NaN or infinity, or a block of it has quite another colour.
        """
        height, width = before.shape[:2]
        small = after.reshape(height, self.scale, width, self.scale, 3).mean((1, 3))
        if not np.isfinite(small).all():
            raise ResultError(f"{self.name}: the network's result is not a number in places; nothing was written")
        small = np.clip(small, 0, 1)
        worst = max(float(np.abs(a - b).max()) for a, b in zip(_blocks(before), _blocks(small), strict=True))
        if worst > BLOCK_LIMIT:
            raise ResultError(
                f"{self.name}: a part of the result is {worst:.0%} away from the colour of the picture"
                f" (allowed: {BLOCK_LIMIT:.0%}); the model does not suit it, nothing was written"
            )
        self._before += before.sum((0, 1), dtype=np.float64)
        self._after += small.sum((0, 1), dtype=np.float64)
        self._count += height * width

    def finish(self) -> None:
        """Look at the picture as a whole.

        Raises:
            ResultError: it is black where the picture is not, or its mean colour is far off.
        """
        before, after = self._before / self._count, self._after / self._count
        if after.max() < 0.1 * before.max() and before.max() > 2 / 255:
            raise ResultError(f"{self.name}: the result is black and the picture is not; nothing was written")
        worst = float(np.abs(before - after).max())
        if worst > MEAN_LIMIT:
            raise ResultError(
                f"{self.name}: the mean colour of the result is {worst:.0%} away from that of the picture"
                f" (allowed: {MEAN_LIMIT:.0%}); the model does not suit it, nothing was written"
            )


def _blocks(x: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Mean colours of blocks; the last ones overlap their neighbours so that all have the full size."""
    height, width = x.shape[:2]
    ys, xs = _starts(height), _starts(width)
    total = np.zeros((height + 1, width + 1, 3))
    total[1:, 1:] = x.cumsum(0, dtype=np.float64).cumsum(1)
    h, w = min(_BLOCK, height), min(_BLOCK, width)
    corner = [total[np.ix_(ys + dy, xs + dx)] for dy, dx in ((h, w), (0, w), (h, 0), (0, 0))]
    return [(corner[0] - corner[1] - corner[2] + corner[3]) / (h * w)]


def _starts(size: int) -> NDArray[np.intp]:
    return np.unique(np.minimum(np.arange(0, size, _BLOCK), max(0, size - _BLOCK)))
