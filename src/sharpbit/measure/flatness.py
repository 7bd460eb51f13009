"""How far constant images are from coming out as they went in: an upscaler that is good at photos may tint white."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

LEVELS = 17  # of each colour channel: 4,913 colours in all
SIDE = 32  # of a constant image, in pixels
PAGE = 48  # side of the white image whose border is looked at


@dataclass(frozen=True)
class Flatness:
    """The largest errors in levels of 255.

    Attributes:
        inside: The error of all colours, at pixels that are far from the border.
        border: The error of all colours, at any pixel.
        white: The error of the white image, at any pixel.
    """

    inside: int
    border: int
    white: int


def colours(levels: int = LEVELS) -> Pixels:
    """A grid of colours, `(levels**3, 3)`."""
    line = np.rint(np.linspace(0, 255, levels)).astype(np.uint8)
    return np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)


def flatness(
    upscale: Callable[[Pixels], Pixels], *, levels: int = LEVELS, side: int = SIDE, margin: int = 12
) -> Flatness:
    """The flatness errors of an upscaler.

    Constant images are joined to mosaics of 8x8 where only the inside is measured, which is quicker than one by one.

    Args:
        upscale: `(h, w, 3)` bytes to `(h * scale, w * scale, 3)` bytes.
        levels: The number of levels of each colour channel.
        side: The side of each constant image in pixels; it is more than twice the margin.
        margin: input pixels at the border of a constant image that do not count as its inside. An upscaler that sees
            farther needs more.
    """
    inside = 0
    for block, wanted in _mosaics(colours(levels), side):
        made = upscale(block)
        scale = made.shape[0] // block.shape[0]
        tiles = made.reshape(8, side * scale, 8, side * scale, 3).swapaxes(1, 2)
        inner = tiles[:, :, margin * scale : (side - margin) * scale, margin * scale : (side - margin) * scale]
        inside = max(inside, _apart(inner, wanted[:, :, None, None]))
    few = colours(min(levels, 3))
    border = max(_apart(upscale(_constant(colour, PAGE)), colour) for colour in few)
    white = np.full(3, 255, np.uint8)
    return Flatness(inside, max(border, inside), _apart(upscale(_constant(white, PAGE)), white))


def _mosaics(grid: Pixels, side: int) -> Iterator[tuple[Pixels, Pixels]]:
    """Images of 8x8 constant squares, and their colours `(8, 8, 3)`."""
    missing = -len(grid) % 64
    padded = np.concatenate([grid, np.broadcast_to(grid[-1:], (missing, 3))])
    for part in padded.reshape(-1, 8, 8, 3):
        yield part.repeat(side, 0).repeat(side, 1), part


def _constant(colour: Pixels, side: int) -> Pixels:
    return np.broadcast_to(colour, (side, side, 3)).copy()


def _apart(made: Pixels, wanted: Pixels) -> int:
    return int(np.abs(made.astype(np.int16) - wanted.astype(np.int16)).max())
