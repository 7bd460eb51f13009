"""How much a file's compression took from an image: the JPEG quality by its tables, and whether WebP is lossy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

_ANNEX_K = 3688  # sum of the luminance table that ITU T.81, annex K, gives as an example: quality 50


@dataclass(frozen=True)
class Compression:
    """The lossy compression of a file: the name of its format, and the quality (1 to 100) if the file says so."""

    format: str
    quality: int | None = None

    def __str__(self) -> str:
        return f"lossy {self.format}" if self.quality is None else f"{self.format} quality {self.quality}"


def compression_of(pil_image: Image.Image, file: BinaryIO | None = None) -> Compression | None:
    """The lossy compression of an opened image; None where there is none, or nothing says so.

    Args:
        pil_image: The image as Pillow opened it.
        file: The file that it came from, needed to see whether WebP is lossy.
    """
    tables = getattr(pil_image, "quantization", None)
    if tables:
        return Compression("JPEG", _quality(sum(tables[min(tables)])))
    if pil_image.format == "AVIF" or (pil_image.format == "WEBP" and file is not None and _is_lossy(file)):
        return Compression("WebP" if pil_image.format == "WEBP" else "AVIF")
    return None


def _quality(total: int) -> int:
    """The quality at which libjpeg makes a luminance table of this sum; below 25 a little more than that."""
    if total <= 64:  # each entry is at least 1
        return 100
    ratio = total / _ANNEX_K
    return max(1, min(100, round(100 - 50 * ratio if ratio < 1 else 50 / ratio)))


def _is_lossy(file: BinaryIO) -> bool:
    """Whether the first image chunk of a RIFF file is the lossy one; animations are looked into, too."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name == b"VP8 "
        if name == b"ANMF":
            file.seek(16, 1)  # its chunks follow after the place and the time of the frame
        else:
            file.seek(size + size % 2, 1)
    return False
