"""Cut a picture into tiles with a halo, so that each tile's result is exactly its part of the whole result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from sharpbit.errors import UsageError


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture and the surroundings that it needs, in input pixels; the lower bounds are excluded.

    The halo ends where the picture ends: there the network pads as it would have padded the whole picture.
    """

    top: int
    left: int
    bottom: int
    right: int
    halo_top: int
    halo_left: int
    halo_bottom: int
    halo_right: int

    def cut(self, picture: NDArray[Any]) -> NDArray[Any]:
        """The tile with its halo, a view of `picture` `(H, W, ...)`."""
        return picture[self.halo_top : self.halo_bottom, self.halo_left : self.halo_right]

    def trim(self, result: NDArray[Any], scale: int) -> NDArray[Any]:
        """The tile's own part, a view of what the network made of `cut`, `(h * scale, w * scale, ...)`."""
        top, left = (self.top - self.halo_top) * scale, (self.left - self.halo_left) * scale
        bottom, right = top + (self.bottom - self.top) * scale, left + (self.right - self.left) * scale
        return result[top:bottom, left:right]


def rows(height: int, width: int, tile: int, halo: int) -> Iterator[list[Tile]]:
    """All tiles of a picture, one list a row of tiles, from top to bottom and left to right.

    Args:
        height: of the picture.
        width: of the picture.
        tile: largest side of a tile without its halo; tiles of one picture differ by at most one pixel.
        halo: surroundings that a tile needs on each side.

    Raises:
        UsageError: an empty picture or tile.
    """
    if min(height, width, tile) < 1 or halo < 0:
        raise UsageError(f"a picture of {width}x{height} cannot be cut into tiles of {tile} pixels")
    ys, xs = _bounds(height, tile), _bounds(width, tile)
    for top, bottom in pairwise(ys):
        yield [
            Tile(
                *(top, left, bottom, right),
                *(max(0, top - halo), max(0, left - halo)),
                *(min(height, bottom + halo), min(width, right + halo)),
            )
            for left, right in pairwise(xs)
        ]


def _bounds(size: int, tile: int) -> list[int]:
    count = -(-size // tile)
    return [size * k // count for k in range(count + 1)]
