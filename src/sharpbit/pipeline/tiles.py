"""Cut an image into tiles with a halo, so that each tile's result is exactly its part of the whole result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image, in input pixels (`bottom` and `right` are excluded), and how far around it it needs."""

    top: int
    left: int
    bottom: int
    right: int
    halo: int

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """The tile with its halo, `(h + 2 * halo, w + 2 * halo, ...)`; beyond its edges `image` is mirrored."""
        (y, above, below), (x, before, behind) = (
            self._side(self.top, self.bottom, image.shape[0]),
            self._side(self.left, self.right, image.shape[1]),
        )
        missing = [(above, below), (before, behind), *[(0, 0)] * (image.ndim - 2)]
        return np.pad(image[y, x], missing, mode="symmetric") if any(map(any, missing)) else image[y, x]

    def trim(self, result: NDArray[Any], scale: int) -> NDArray[Any]:
        """The tile's own part, a view of what the network made of `cut`, `(h * scale, w * scale, ...)`."""
        edge = self.halo * scale
        height, width = (self.bottom - self.top) * scale, (self.right - self.left) * scale
        return result[edge : edge + height, edge : edge + width]

    def _side(self, low: int, high: int, size: int) -> tuple[slice, int, int]:
        """What there is of one side with its halo, and how much is missing before and behind it."""
        low, high = low - self.halo, high + self.halo
        return slice(max(0, low), min(size, high)), max(0, -low), max(0, high - size)


def rows(height: int, width: int, tile: int | tuple[int, int], halo: int, grid: int = 1) -> Iterator[list[Tile]]:
    """All tiles of an image, one list a row of tiles, from top to bottom and left to right.

    Args:
        height: The height of the image in pixels.
        width: The width of the image in pixels.
        tile: The largest side of a tile without its halo, or height and width; tiles of one image differ by at most one
            pixel.
        halo: The surroundings that a tile needs on each side, in pixels.
        grid: What tiles begin at multiples of; their sides may differ by as much, and be larger by less.

    Raises:
        UsageError: an empty image or tile.
    """
    high, wide = (tile, tile) if isinstance(tile, int) else tile
    if min(height, width, high, wide) < 1 or halo < 0:
        raise UsageError(f"an image of {width}x{height} cannot be cut into tiles of {wide}x{high} pixels")
    ys, xs = _bounds(height, high, grid), _bounds(width, wide, grid)
    for top, bottom in pairwise(ys):
        yield [Tile(top, left, bottom, right, halo) for left, right in pairwise(xs)]


def _bounds(size: int, tile: int, grid: int) -> list[int]:
    count = -(-size // tile)
    inner = [size * k // count // grid * grid for k in range(1, count)]
    return list(dict.fromkeys([0, *inner, size]))
