"""Animations and pages through a model: what equals the frame before is not upscaled again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ResultError
from sharpbit.image import MAX_PIXELS, ImageData, Metadata, light
from sharpbit.image.animation import Animation, Box, Drawn, open_animation
from sharpbit.image.colour import to_8_bits
from sharpbit.image.convert import converted
from sharpbit.image.data import Array
from sharpbit.image.sequence import Frame, Sequence, open_sequence
from sharpbit.image.source import Source, name_of
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.writing import Target, Written, format_for, losses, options_for, written_metadata
from sharpbit.system.progress import Progress

BLOCK = 16  # LR pixels of a side of what is compared
_OF_8_BITS = ("GIF", "WEBP")
MOST = 0.6  # share of a frame from which on all of it is upscaled at once


def write_sequence(
    upscaler: Upscaler,
    opened: ImageData,
    source: Source,
    target: Any,
    how: Target,
    progress: Progress | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Written:
    """Upscale all frames or pages of a file into another.

    Args:
        upscaler: The opened model; what suits the first frame makes all of them.
        opened: The first frame, with the metadata of the file.
        source: The file: its path, a binary file that can seek, or its bytes.
        target: The path of the result, which appears complete or not at all, or a binary file.
        how: The format and its options.
        progress: Called with the share of the frames that is done since the last call.
        max_pixels: The most pixels that a frame may have.

    Raises:
        ImageError: The first frame cannot be read, or the format cannot hold one as large as its result.
    """
    opened = upscaler.chosen(opened)
    losses(upscaler, opened, target, how)  # what is too large for the format is refused before the work
    name = name_of(source)
    sequence = open_sequence(source, max_pixels, name)
    kind = format_for(opened, target, how)
    unseen = sequence.default_image and kind != "PNG"  # the first frame is no part of the animation
    metadata = written_metadata(opened.metadata, upscaler.made(opened), how)
    linear = kind in _OF_8_BITS and metadata.colour.is_linear  # of which 8 bits keep no dark tones
    if linear:
        metadata = replace(metadata, colour=metadata.colour.encoded())
    shared = Animation(
        sequence.count - unseen,
        sequence.loop,
        sequence.default_image,
        metadata,
        options_for(opened, how),
        how.threads,
    )
    network, started = 0.0, time.perf_counter()
    seen: list[Frame] = []
    notes: dict[str, None] = {converted(kind): None} if linear and kind == "GIF" else {}
    kept = kind == "PNG" and opened.alpha is not None  # an alpha channel stays, as in a still, also where all is opaque
    with open_animation(target, kind, shared, overwrite=how.overwrite) as writer:
        frames = _frames(sequence, opened, seen, max_pixels)
        made = upscaled(upscaler, frames, name)
        while True:
            asked = time.perf_counter()
            frame = next(made, None)
            network += time.perf_counter() - asked
            if frame is None:
                break
            alpha = frame.alpha
            if kept and alpha is None:
                alpha = np.full(frame.pixels.shape[:2], np.iinfo(frame.pixels.dtype).max, frame.pixels.dtype)
            image = seen[-1].image
            notes |= dict.fromkeys(image.notes)
            if linear:
                frame = replace(frame, pixels=light.encode(frame.pixels))
            if kind in _OF_8_BITS and frame.pixels.dtype != np.uint8:
                notes[f"{kind} holds 8 bits per sample: 16 were rounded to 8"] = None
                frame, alpha = (
                    replace(frame, pixels=to_8_bits(frame.pixels)),
                    alpha if alpha is None else to_8_bits(alpha),
                )
            if not unseen:
                page = written_metadata(image.metadata, upscaler.made(image), how) if sequence.paged else None
                writer.add(replace(frame, alpha=alpha, duration=seen[-1].duration, page=page))
            unseen = False
            if progress:
                progress(1 / sequence.count)
    notes = (
        dict.fromkeys(opened.notes) | notes | dict.fromkeys([*sequence.notes, *upscaler.losses(opened), *writer.notes])
    )
    return Written(tuple(notes), time.perf_counter() - started - network)


def _frames(sequence: Sequence, opened: ImageData, seen: list[Frame], max_pixels: int) -> Iterator[ImageData]:
    for frame in sequence.frames(max_pixels):
        image = replace(frame.image, choice=opened.choice)
        if not sequence.paged:  # the frames of an animation have the colours of the file
            image = replace(image, metadata=Metadata(colour=opened.metadata.colour))
        seen[:] = [replace(frame, image=image)]
        yield image


def upscaled(
    upscaler: Upscaler,
    frames: Iterator[ImageData],
    name: str,
    tolerance: int = 0,
    *,
    restart: Callable[[], bool] = lambda: False,
) -> Iterator[Drawn]:
    """Upscale frames one after the other; parts that equal the frame before are exactly those of its result.

    Args:
        upscaler: The opened model.
        frames: The frames as they are seen.
        name: The name of the file, for errors.
        tolerance: The levels of 255 by which a pixel may differ from the one that was upscaled and still count as
            equal; 0 by default.
        restart: Asked for each frame whether it is made without the frame before; by default never.
    """
    before: ImageData | None = None
    pixels: Array = np.empty(0)
    alpha: Array | None = None
    for frame in frames:
        boxes = None if before is None or restart() else _differences(upscaler, before, frame, tolerance)
        drawn = pixels if not boxes else _redrawn(upscaler, frame, boxes, pixels, name)
        if boxes is None or drawn is None:
            pixels, alpha = _whole(upscaler, frame, name)
            yield Drawn(pixels, alpha, [(0, 0, pixels.shape[0], pixels.shape[1])])
        else:
            scale, pixels = int(upscaler.factor), drawn
            yield Drawn(pixels, alpha, [(a * scale, b * scale, c * scale, d * scale) for a, b, c, d in boxes])
        before = frame if tolerance == 0 or boxes is None or drawn is None else _seen(before, frame, tolerance)


def _seen(before: ImageData | None, frame: ImageData, tolerance: int) -> ImageData:
    """What the result was made of: where a frame differs by no more than the tolerance, still what was there before."""
    assert before is not None
    kept = _blocks(frame.pixels, before.pixels, tolerance)
    pixels = frame.pixels.copy()
    for row, column in zip(*np.nonzero(kept == 0), strict=True):
        part = slice(row * BLOCK, (row + 1) * BLOCK), slice(column * BLOCK, (column + 1) * BLOCK)
        pixels[part] = before.pixels[part]
    return replace(frame, pixels=pixels)


def _whole(upscaler: Upscaler, frame: ImageData, name: str) -> tuple[Array, Array | None]:
    channels = frame.pixels.shape[2]
    made = upscaler.whole(frame, name=name)
    if frame.alpha is None:
        return made, None
    return np.ascontiguousarray(made[..., :channels]), np.ascontiguousarray(made[..., channels])


def _differences(upscaler: Upscaler, before: ImageData, frame: ImageData, tolerance: int) -> list[Box] | None:
    """The rectangles of a frame that differ from the one before, or see what differs; None where all has to be made."""
    if before.pixels.shape != frame.pixels.shape or before.pixels.dtype != frame.pixels.dtype:
        return None
    if before.metadata.colour.is_linear != frame.metadata.colour.is_linear:
        return None
    same_alpha = frame.alpha is before.alpha or np.array_equal(frame.alpha, before.alpha)  # type: ignore[arg-type]
    if same_alpha and frame.pixels is before.pixels:
        return []
    blocks = _blocks(frame.pixels, before.pixels, tolerance)
    if same_alpha and not blocks.any():
        return []
    reach = upscaler.reach(frame)
    if reach is None or frame.alpha is not None:
        return None
    boxes = list(_boxes(_grown(blocks, -(-reach // BLOCK)), 0, 0, frame.pixels.shape[:2]))
    area = sum((bottom - top) * (right - left) for top, left, bottom, right in boxes)
    return boxes if area <= MOST * frame.pixels[..., 0].size else None


def _redrawn(upscaler: Upscaler, frame: ImageData, boxes: list[Box], pixels: Array, name: str) -> Array | None:
    """The result with these rectangles made anew, each with the surroundings that it sees; None where one looks wrong.

    A part alone may look wrong to the check of results where the whole does not.
    """
    reach, scale = upscaler.reach(frame) or 0, int(upscaler.factor)
    height, width = frame.pixels.shape[:2]
    pixels = pixels.copy()  # what was made before is perhaps still being written
    for top, left, bottom, right in boxes:
        rows = slice(max(0, top - reach), min(height, bottom + reach))
        columns = slice(max(0, left - reach), min(width, right + reach))
        part = replace(frame, pixels=np.ascontiguousarray(frame.pixels[rows, columns]))
        try:
            out, _ = _whole(upscaler, part, name)
        except ResultError:
            return None
        first, start = (top - rows.start) * scale, (left - columns.start) * scale
        high, wide = (bottom - top) * scale, (right - left) * scale
        pixels[top * scale : bottom * scale, left * scale : right * scale] = out[
            first : first + high, start : start + wide
        ]
    return pixels


def _blocks(one: Array, other: Array, tolerance: int) -> NDArray[np.bool_]:
    """Which blocks of `BLOCK` pixels hold one that differs by more than so many levels of 255."""
    height, width, channels = one.shape
    first, second = one.reshape(height, -1), other.reshape(height, -1)
    level = tolerance * (1 if one.dtype == np.uint8 else 257)
    far: Any = np.maximum(first, second) - np.minimum(first, second) > level if level else first != second
    blocks = np.zeros((-(-height // BLOCK), -(-width // BLOCK)), bool)
    starts = np.arange(0, width * channels, BLOCK * channels)
    rows = far.any(1)
    for number in range(len(blocks)):
        band = slice(number * BLOCK, (number + 1) * BLOCK)
        if rows[band].any():  # few bands of a screen change at a time
            blocks[number] = np.logical_or.reduceat(far[band].any(0), starts)
    return blocks


def _grown(blocks: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """The same with all blocks that are so many away, also across corners."""
    for axis in (0, 1):
        for _ in range(by):
            moved = np.swapaxes(blocks, 0, axis)
            grown = moved.copy()
            grown[1:] |= moved[:-1]
            grown[:-1] |= moved[1:]
            blocks = np.swapaxes(grown, 0, axis)
    return blocks


def _boxes(blocks: NDArray[np.bool_], row: int, column: int, size: tuple[int, int]) -> Iterator[Box]:
    """Rectangles, in pixels, that hold all blocks that are set, and little else."""
    rows, columns = np.flatnonzero(blocks.any(1)), np.flatnonzero(blocks.any(0))
    if not len(rows):
        return
    blocks = blocks[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    row, column = row + int(rows[0]), column + int(columns[0])
    high, wide = blocks.shape
    if blocks.mean() >= 0.5 or high * wide <= 4:
        bottom, right = min(size[0], (row + high) * BLOCK), min(size[1], (column + wide) * BLOCK)
        yield row * BLOCK, column * BLOCK, bottom, right
    elif high >= wide:
        yield from _boxes(blocks[: high // 2], row, column, size)
        yield from _boxes(blocks[high // 2 :], row + high // 2, column, size)
    else:
        yield from _boxes(blocks[:, : wide // 2], row, column, size)
        yield from _boxes(blocks[:, wide // 2 :], row, column + wide // 2, size)
