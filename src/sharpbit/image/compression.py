"""How much a file's compression took from an image: whether it is lossy, and of JPEG the quality, by its tables."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

_ANNEX_K = 3688  # sum of the luminance table that ITU T.81, annex K, gives as an example: quality 50


@dataclass(frozen=True)
class Compression:
    """The lossy compression of a file: the name of its format, and the quality (1 to 100) if the file says so."""

    format: str
    quality: int | None = None

    def __str__(self) -> str:
        return f"lossy {self.format}" if self.quality is None else f"{self.format} quality {self.quality}"


def compression_of(pil_image: Image.Image) -> Compression | None:
    """The compression of an image as Pillow opened it; None where its format loses nothing. WebP counts as lossy."""
    tables = getattr(pil_image, "quantization", None)
    if tables:
        return Compression("JPEG", _quality(sum(tables[min(tables)])))
    names = {"WEBP": "WebP", "AVIF": "AVIF"}
    return Compression(names[pil_image.format]) if pil_image.format in names else None


def _quality(total: int) -> int:
    """The quality at which libjpeg makes a luminance table of this sum; below 25 a little more than that."""
    if total <= 64:  # each entry is at least 1
        return 100
    ratio = total / _ANNEX_K
    return max(1, min(100, round(100 - 50 * ratio if ratio < 1 else 50 / ratio)))
