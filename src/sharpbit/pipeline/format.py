"""Which format a result gets: the one that was asked for, or one that loses as little as the image's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sharpbit.errors import UsageError
from sharpbit.image import WRITE_FORMATS, ImageData

_KEPT = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "WEBP": ".webp",
    "GIF": ".gif",
    "TIFF": ".tif",
}  # what stays what it is; everything else becomes PNG


def suffix_of(format: str) -> str:  # noqa: A002 - the option of the command
    """The ending of files of a format, such as `.png` for `PNG`.

    Raises:
        UsageError: A format that sharpbit does not write.
    """
    suffix = f".{format.lower().lstrip('.')}"
    if suffix not in WRITE_FORMATS:
        known = " ".join(sorted(name[1:] for name in WRITE_FORMATS))
        raise UsageError(f"format {format!r} is not written; use one of {known}")
    return suffix


def suffix_like(source: Path) -> str:
    """The ending that a result gets where none was asked for.

    JPEG, WebP and what holds several frames or pages stay what
    they are, the rest is PNG.

    What a file is decide its first bytes, not its name: a WebP file called `a.jpg` stays WebP.
    """
    own = source.suffix.lower()
    kind = _kind_of(source)
    if kind is None:
        return ".png"
    return own if WRITE_FORMATS.get(own) == kind else _KEPT[kind]


def format_like(opened: ImageData) -> str:
    """The format of a result that has no name, such as `PNG`: what `suffix_like` says of a file."""
    stays = opened.format in ("JPEG", "MPO", "WEBP") or opened.frames > 1
    return WRITE_FORMATS[_KEPT.get(opened.format, ".png")] if stays else "PNG"


def format_of(target: Any) -> str:
    """The format that a file name asks for; PNG where there is no name.

    Raises:
        UsageError: An ending that sharpbit does not write.
    """
    suffix = target.suffix.lower() if isinstance(target, Path) else ".png"
    if suffix not in WRITE_FORMATS:
        known = " ".join(sorted(WRITE_FORMATS))
        raise UsageError(f"{target} ends in {suffix or 'nothing'!r}, which is not a format to write; known: {known}")
    return WRITE_FORMATS[suffix]


def _kind_of(source: Path) -> str | None:
    if not os.path.isfile(source):  # noqa: PTH113 - no error for impossible names; a pipe would be waited for
        return None
    try:
        with source.open("rb") as file:
            head = file.read(12)
    except OSError:
        return None
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"RIFF") and head.endswith(b"WEBP"):
        return "WEBP"
    for kind, marks in (("GIF", (b"GIF8",)), ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))):
        if head.startswith(marks) and _holds_several(source):
            return kind
    return None


def _holds_several(source: Path) -> bool:
    from PIL import Image

    from sharpbit.image.muted_decoder import quiet

    try:
        with quiet(), Image.open(source) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # broken files make decoders raise nearly anything
        return False
