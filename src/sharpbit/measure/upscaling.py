"""Anything that maps an image to a larger one, bytes to bytes, and what an engine is as such."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sharpbit.pipeline import tiles
from sharpbit.pipeline.cutting import GLOBAL_HALO, of_fixed_side
from sharpbit.runtime import Runtime, Samples

Pixels = NDArray[np.uint8]
Upscale = Callable[[Pixels], Pixels]

WHOLE = 1 << 20  # input pixels that a network gets in one piece; larger images go through it in tiles
_TILE = 512


def by(runtime: Runtime) -> Upscale:
    """What an engine makes of an image, clamped and rounded to 8 bits."""

    def upscale(small: Pixels) -> Pixels:
        x = small if runtime.samples == np.uint8 else small.astype(np.float32) / np.float32(255)
        height, width = x.shape[:2]
        if runtime.tile is None and (runtime.wide or runtime.halo is None or height * width <= WHOLE):
            return eight_bits(next(iter(runtime([x]))))
        side, halo = _tiling(runtime)
        scale = runtime.scale
        out = np.empty((height * scale, width * scale, 3), np.uint8)
        for tile in (tile for row in tiles.rows(height, width, side, 0, _grid(runtime)) for tile in row):
            top, left = max(0, tile.top - halo), max(0, tile.left - halo)  # the network pads at the edges, as if whole
            result = next(iter(runtime([x[top : tile.bottom + halo, left : tile.right + halo]])))
            rows, columns = slice(tile.top * scale, tile.bottom * scale), slice(tile.left * scale, tile.right * scale)
            own = result[(tile.top - top) * scale :, (tile.left - left) * scale :]
            out[rows, columns] = eight_bits(own[: rows.stop - rows.start, : columns.stop - columns.start])
        return out

    return upscale


def _grid(runtime: Runtime) -> int:
    return getattr(runtime, "multiple", 1)  # engines of others may lack it


def _tiling(runtime: Runtime) -> tuple[int, int]:
    """Side and halo of tiles in LR pixels."""
    if runtime.tile is None:
        halo = GLOBAL_HALO if runtime.halo is None else runtime.halo
        return _TILE, -(-halo // _grid(runtime)) * _grid(runtime)
    return of_fixed_side(runtime.tile, runtime.halo)


def eight_bits(x: Samples) -> Pixels:
    """A result of an engine, clamped to white and rounded to bytes."""
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    out = np.clip(x, 0, 1)
    out *= 255
    return np.ascontiguousarray(np.rint(out, out=out).astype(np.uint8))
