"""Results on their way into a file: format, options, and what was lost."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sharpbit import image as image_io
from sharpbit.errors import UsageError
from sharpbit.image import ImageData, Metadata, WriteOptions
from sharpbit.pipeline.upscaler import Strip, Upscaler


@dataclass(frozen=True)
class Target:
    """How results are written.

    Attributes:
        format: The format, such as `PNG`; None takes it from the name of the file, or PNG.
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
    format = how.format or format_of(target)  # noqa: A001
    alpha, dtype = opened.alpha is not None, opened.pixels.dtype
    notes = image_io.losses(format, dtype=dtype, alpha=alpha, height=out_height, width=out_width)
    if how.strip_metadata:
        metadata = Metadata(icc=opened.metadata.icc)
    else:
        metadata = replace(opened.metadata, made=upscaler.made(height, width, dtype))
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
        options=how.options,
        overwrite=how.overwrite,
        threads=how.threads,
    ) as writer:
        asked = time.perf_counter()
        for rows, rows_alpha in strips:
            waited += time.perf_counter() - asked
            writer.write(rows, rows_alpha)
            asked = time.perf_counter()
        waited += time.perf_counter() - asked
    notes = (*opened.notes, *upscaler.losses(opened), *notes, *writer.notes)
    return Written(notes, time.perf_counter() - started - waited)


def suffix_of(format: str) -> str:  # noqa: A002 - the option of the command
    """The ending of files of a format, such as `.png` for `PNG`.

    Raises:
        UsageError: A format that sharpbit does not write.
    """
    suffix = f".{format.lower().lstrip('.')}"
    if suffix not in image_io.WRITE_FORMATS:
        known = " ".join(sorted(name[1:] for name in image_io.WRITE_FORMATS))
        raise UsageError(f"format {format!r} is not written; use one of {known}")
    return suffix


def format_of(target: Any) -> str:
    """The format that a file name asks for; PNG where there is no name.

    Raises:
        UsageError: an ending that sharpbit does not write.
    """
    suffix = target.suffix.lower() if isinstance(target, Path) else ".png"
    if suffix not in image_io.WRITE_FORMATS:
        known = " ".join(sorted(image_io.WRITE_FORMATS))
        raise UsageError(f"{target} ends in {suffix or 'nothing'!r}, which is not a format to write; known: {known}")
    return image_io.WRITE_FORMATS[suffix]
