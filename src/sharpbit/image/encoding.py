"""What encoders are given: how files are compressed, and what is stored in them."""

from __future__ import annotations

from dataclasses import dataclass

from sharpbit.errors import UsageError
from sharpbit.image.data import Metadata

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


@dataclass(frozen=True)
class WriteOptions:
    """How files are compressed.

    Attributes:
        compression: The deflate level of PNG and TIFF, 0 to 9.
        quality: The quality of JPEG, WebP and AVIF, 1 to 100.
        subsampling: The resolution of the colours of JPEG, `4:4:4` (full), `4:2:2` or `4:2:0`; None takes the full one
            from quality 90 on, and `4:2:0` below.
        lossless: Whether WebP keeps every pixel.
    """

    compression: int = 3
    quality: int = 95
    subsampling: str | None = None
    lossless: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.compression <= 9:
            raise UsageError(f"compression {self.compression} is not between 0 (fast) and 9 (small)")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality} is not between 1 (small) and 100 (best)")
        if self.subsampling not in (None, *SUBSAMPLINGS):
            raise UsageError(f"subsampling {self.subsampling!r} is not one of {', '.join(SUBSAMPLINGS)}")

    @property
    def sampling(self) -> str:
        """The resolution of the colours of JPEG and AVIF, chosen by the quality where none was given."""
        return self.subsampling or ("4:4:4" if self.quality >= 90 else "4:2:0")


@dataclass(frozen=True)
class Stored:
    """What an encoder writes.

    Attributes:
        height: The height in pixels.
        width: The width in pixels.
        channels: 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA).
        bits: The bits of each sample in the file.
        metadata: What lies beside the pixels, fitted to the format.
        options: The compression.
        threads: The number of threads that compress.
    """

    height: int
    width: int
    channels: int
    bits: int
    metadata: Metadata
    options: WriteOptions
    threads: int
