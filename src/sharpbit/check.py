"""Catches results that cannot be right: not a number, black, or of another colour than the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ResultError

MEAN_LIMIT = 0.15  # of the whole picture, per channel, where white is 1; noise of black and white dots reaches 0.08
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
        small = _shrunk(after, self.scale)
        if not np.isfinite(small).all():
            raise ResultError(f"{self.name}: the network's result is not a number in places; nothing was written")
        small = np.clip(small, 0, 1)
        worst = float(np.abs(_blocks(before) - _blocks(small)).max())
        if worst > BLOCK_LIMIT:
            raise ResultError(
                f"{self.name}: a part of the result is {worst:.0%} away from the colour of the picture"
                f" (allowed: {BLOCK_LIMIT:.0%}); the model does not suit it, nothing was written"
            )
        self._before += before.sum((0, 1), dtype=np.float64)
        self._after += small.sum((0, 1), dtype=np.float64)
        self._count += before.shape[0] * before.shape[1]

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


def _shrunk(x: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Mean of each `scale` x `scale` square."""
    rows = sum((x[k::scale] for k in range(1, scale)), x[::scale])
    total = sum((rows[:, k::scale] for k in range(1, scale)), rows[:, ::scale])
    return np.asarray(total / np.float32(scale * scale))


def _blocks(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean colours of blocks; the last of a row or column takes in what is left, so that none is a mere sliver."""
    ys, xs = _starts(x.shape[0]), _starts(x.shape[1])
    total = np.add.reduceat(np.add.reduceat(x, ys, 0), xs, 1)
    sizes = np.diff(ys, append=x.shape[0])[:, None] * np.diff(xs, append=x.shape[1])
    return np.asarray(total / sizes[..., None].astype(np.float32))


def _starts(size: int) -> NDArray[np.intp]:
    return np.arange(0, max(1, size - _BLOCK + 1), _BLOCK)
