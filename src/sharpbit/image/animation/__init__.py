"""Write animations frame by frame, and pages one after the other.

GIF and PNG get only the rectangle of a frame that changed; frames that equal the one before stay frames of their own.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sharpbit.errors import ImageError, SharpbitError
from sharpbit.image.animation.apng import ApngWriter
from sharpbit.image.animation.frame import Animation, Box, Drawn, FrameWriter
from sharpbit.image.animation.gif import GifWriter
from sharpbit.image.animation.pages import PageWriter
from sharpbit.image.animation.webp import WebpWriter
from sharpbit.system.atomic import open_atomic

__all__ = ["Animation", "Box", "Drawn", "FrameWriter", "open_animation"]

_WRITERS: dict[str, type[FrameWriter]] = {
    "PNG": ApngWriter,
    "GIF": GifWriter,
    "WEBP": WebpWriter,
    "TIFF": PageWriter,
}


@contextlib.contextmanager
def open_animation(
    target: Path | BinaryIO,
    format: str,  # noqa: A002
    animation: Animation,
    *,
    overwrite: bool,
) -> Iterator[FrameWriter]:
    """A writer of frames for a file that appears, complete, when the block ends without an error.

    Args:
        target: The path of the file, or a binary stream that can seek and be read.
        format: `GIF`, `PNG` or `WEBP`; or `TIFF`, whose pages may have any size.
        animation: What all frames share.
        overwrite: Whether a file that exists is replaced.

    Raises:
        OutputExists: `target` exists, and `overwrite` is false.
        ImageError: It cannot be written.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_sentences(str(target) if isinstance(target, Path) else "the output"))
        file = stack.enter_context(open_atomic(target, overwrite=overwrite)) if isinstance(target, Path) else target
        writer = _WRITERS[format](file, animation)
        yield writer
        writer.finish()


@contextlib.contextmanager
def _sentences(name: str) -> Iterator[None]:
    try:
        yield
    except SharpbitError:
        raise
    except (OSError, ValueError, struct.error, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no reason given"
        raise ImageError(f"{name} cannot be written: {reason}") from error
