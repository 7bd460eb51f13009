"""Results on their way into a file: format, options, and what was lost."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sharpbit import image as image_io
from sharpbit.image import ImageData, Metadata, WriteOptions
from sharpbit.image.data import holds_sequence
from sharpbit.pipeline.format import format_like, format_of
from sharpbit.pipeline.samples import Strip
from sharpbit.pipeline.upscaler import Upscaler


@dataclass(frozen=True)
class Target:
    """How results are written.

    Attributes:
        format: The format, such as `PNG`; None takes it from the name of the file, or
            where there is none from the image: JPEG and WebP stay what they are, the rest becomes PNG.
        options: The compression and the quality.
        overwrite: Whether files that exist are replaced.
        strip_metadata: Whether only pixels are written, and the colour profile that gives them their meaning.
        threads: The number of threads that compress.
    """

    format: str | None = None
    options: WriteOptions = WriteOptions()  # noqa: RUF009 - frozen
    overwrite: bool = False
    strip_metadata: bool = False
    threads: int = 1


@dataclass(frozen=True)
class Written:
    """What came of writing: what the user should hear, and the seconds that it took, without waiting for strips."""

    notes: tuple[str, ...]
    seconds: float


def write(strips: Iterable[Strip], upscaler: Upscaler, opened: ImageData, target: Any, how: Target) -> Written:
    """Write an upscaled image to a file or stream, strip by strip.

    Args:
        strips: The result from top to bottom, as `upscaler.strips(image)` gives it.
        upscaler: The opened model.
        opened: The image that is upscaled.
        target: A path, which appears complete or not at all, or a binary stream.
        how: The format and its options.
    """
    height, width, channels = opened.pixels.shape
    _, out_height, out_width = upscaler.plan(height, width, opened.pixels.dtype)
    format = format_for(opened, target, how)  # noqa: A001
    alpha, dtype = opened.alpha is not None, opened.pixels.dtype
    notes = losses(upscaler, opened, target, how)
    metadata = written_metadata(opened.metadata, upscaler.made(opened), how)
    started, waited = time.perf_counter(), 0.0
    with image_io.open_writer(
        target,
        format,
        height=out_height,
        width=out_width,
        channels=channels,
        alpha=alpha,
        dtype=dtype,
        metadata=metadata,
        options=options_for(opened, how),
        overwrite=how.overwrite,
        threads=how.threads,
    ) as writer:
        asked = time.perf_counter()
        for rows, rows_alpha in strips:
            waited += time.perf_counter() - asked
            writer.write(rows, rows_alpha)
            asked = time.perf_counter()
        waited += time.perf_counter() - asked
    notes = (*opened.still_notes, *upscaler.losses(opened), *notes, *writer.notes)
    return Written(notes, time.perf_counter() - started - waited)


def losses(upscaler: Upscaler, opened: ImageData, target: Any, how: Target) -> tuple[str, ...]:
    """What the format cannot hold of a result, as notes for the user; known before any work is done.

    Args:
        upscaler: The opened model.
        opened: The image that is upscaled.
        target: A path or a binary stream.
        how: The format and its options.

    Raises:
        ImageError: The format cannot hold an image as large as the result at all.
        UsageError: A format that sharpbit does not write.
    """
    height, width = opened.pixels.shape[:2]
    _, out_height, out_width = upscaler.plan(height, width, opened.pixels.dtype)
    return image_io.losses(
        format_for(opened, target, how),
        dtype=opened.pixels.dtype,
        alpha=opened.alpha is not None,
        height=out_height,
        width=out_width,
        bits=opened.metadata.bits,
    )


def holds_all(opened: ImageData, target: Any, how: Target) -> bool:
    """Whether an image is the first of several frames or pages, and the format of its result holds them as well.

    Args:
        opened: The image.
        target: A path or a binary stream.
        how: The format and its options.
    """
    return opened.frames > 1 and holds_sequence(opened.format, format_for(opened, target, how))


def written_metadata(metadata: Metadata, made: str, how: Target) -> Metadata:
    """What a result has beside its pixels: what the image had and the mark `made`, or its colour space alone."""
    return Metadata(colour=metadata.colour) if how.strip_metadata else replace(metadata, made=made)


def options_for(opened: ImageData, how: Target) -> WriteOptions:
    """The compression of the result of an image; what was lossless stays so."""
    return replace(how.options, lossless=how.options.lossless or opened.lossless)


def format_for(opened: ImageData, target: Any, how: Target) -> str:
    """The format of the result of an image, see `Target`."""
    return how.format or (format_of(target) if isinstance(target, Path) else format_like(opened))
