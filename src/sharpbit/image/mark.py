"""The mark of a result: which model made it and how much larger, in the field `Software` of the file.

PNG holds it as text, GIF as a comment, BMP not at all, every other format in EXIF.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from sharpbit._version import __version__
from sharpbit.image.muted_decoder import quiet
from sharpbit.image.source import name_of, opened

_SOFTWARE = 0x0131
_MARK = re.compile(r"sharpbit \S+ \((.+)\)")
_MAX_PIXELS = 1 << 40  # nothing is decoded


def mark_of(made: str) -> str:
    """The text of the field `Software` for what `made_by` shall give back, such as `x2-clean-balanced x2`."""
    return f"sharpbit {__version__} ({' '.join(made.split())})"


def made_by(source: Path | BinaryIO | bytes) -> str | None:
    """Which model and scale made an image, such as `x2-clean-balanced x2`; None if sharpbit did not make it.

    Only the header is read. What is no image, or cannot be read, was not made here.

    Args:
        source: The path of an image, a binary stream, or the bytes.
    """
    try:
        with opened(source, name_of(source), 0) as file, quiet(_MAX_PIXELS), Image.open(file) as pil_image:
            texts = [pil_image.info.get("Software"), pil_image.info.get("comment"), pil_image.getexif().get(_SOFTWARE)]
    except Exception:  # broken files make decoders raise nearly anything
        return None
    for text in texts:
        found = _MARK.fullmatch(_plain(text))
        if found:
            return found[1]
    return None


def _plain(text: object) -> str:
    """A text as Pillow gives it: bytes, or characters that stand for bytes of UTF-8."""
    try:
        if isinstance(text, str):
            return text.encode("latin-1").decode().strip("\0 \n")
        return text.decode().strip("\0 \n") if isinstance(text, bytes) else ""
    except UnicodeError:
        return str(text)
