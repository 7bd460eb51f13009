"""An image through one network: in strips of tiles, or at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sharpbit.image import ImageData
from sharpbit.image.alpha import fill
from sharpbit.pipeline import cutting
from sharpbit.pipeline.samples import Array, Strip, grey, to_samples
from sharpbit.pipeline.sanity import Check
from sharpbit.pipeline.tiles import Tile
from sharpbit.pipeline.transparency import AlphaRun
from sharpbit.runtime import Runtime
from sharpbit.system.progress import Progress


def strips(
    runtime: Runtime,
    image: ImageData,
    name: str,
    *,
    side: int | None = None,
    ensemble: bool = False,
    progress: Progress | None = None,
) -> Iterator[Strip]:
    """What an engine makes of an image, `scale` times as large, from top to bottom.

    Args:
        runtime: The engine.
        image: The image.
        name: The name of the image, for errors.
        side: The side of tiles that was asked for, in LR pixels; None chooses.
        ensemble: Whether all eight orientations of each tile are run and their mean is taken.
        progress: Called with the share of the image that is done since the last call.

    Raises:
        ResultError: The result cannot be right (see `sharpbit.pipeline.sanity`).
    """
    _, width, channels = image.pixels.shape
    scale, dtype = runtime.scale, image.pixels.dtype
    pixels, cover = image.pixels, None
    if image.alpha is not None:
        pixels = fill(image.pixels, image.alpha)
        cover = AlphaRun(runtime, image.alpha, name, side=side, ensemble=ensemble)
        progress = part_of(progress, 0.5)
    check = Check(name, scale)
    out, out_alpha = np.empty(0, dtype), np.empty(0, dtype)
    for part in cutting.run(runtime, pixels, side=side, ensemble=ensemble, progress=progress):
        tile, after = part.tile, part.after
        check.add(part.before, after)
        if tile.left == 0:
            high = (tile.bottom - tile.top) * scale
            out = np.empty((high, width * scale, channels), dtype)
            out_alpha = np.empty((high, width * scale) if cover is not None else 0, dtype)
        columns = slice(tile.left * scale, tile.right * scale)
        out[:, columns] = to_samples(after if channels == 3 else grey(after), dtype)
        if cover is not None:
            out_alpha[:, columns] = cover.tile(tile, progress)
        if tile.right == width:
            yield out, None if cover is None else out_alpha
    check.finish()
    if cover is not None:
        cover.finish()


def one_call(runtime: Runtime, tile: Tile, pixels: Array, out: Array | None, name: str) -> Array:
    """An RGB image of bytes through an engine at once, copied as little as possible."""
    part, check = cutting.one(runtime, tile, pixels), Check(name, runtime.scale)
    check.add(part.before, part.after)
    check.finish()
    if out is not None:
        out[...] = part.after
        return out
    edge, room = tile.halo * runtime.scale, part.after.base
    if edge == 0 or room is None or not room.flags.c_contiguous or room.size < part.after.size:
        return np.ascontiguousarray(part.after)
    height, width, channels = part.after.shape  # moved together in the room that it has, from the top
    result: Array = room.reshape(-1)[: part.after.size].reshape(height, width, channels)
    for top in range(0, height, edge):
        result[top : top + edge] = part.after[top : top + edge]
    return result


def part_of(progress: Progress | None, share: float) -> Progress | None:
    """What reports a part of the work as that share of the whole."""
    return None if progress is None else lambda done: progress(done * share)
