"""What an image is here, which formats are read and written, and how large one may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from sharpbit.errors import ImageTooLarge
from sharpbit.image.compression import Compression
from sharpbit.image.space import ColourSpace

Array = npt.NDArray[Any]

MAX_PIXELS = 128 * 2**20
"""Pixels an image may have unless the caller says otherwise (a 12000 x 8000 scan has 92 Mi)."""


ANIMATED = ("GIF", "PNG", "WEBP")
"""Formats whose files may hold the frames of an animation; each can hold those of the others."""

PAGED = ("TIFF",)
"""Formats whose files may hold several pages."""


@dataclass(frozen=True, init=False)
class Metadata:
    """What travels with the pixels, as blocks of bytes that are written again unchanged.

    `colour` is what the numbers of the pixels mean; its ICC profile may be given alone, as `icc`. `exif` is a TIFF
    structure without the "Exif" prefix of JPEG; its orientation is 1, because the pixels are upright. `dpi` is
    (horizontal, vertical) dots per inch. `size` is the height and width that sizes in the blocks belong to, `bits` the
    bits of each sample in the file where they are neither 8 nor 16. `made` names the model and the scale of a result
    that is written, for `made_by` to find again.
    """

    colour: ColourSpace
    exif: bytes | None
    xmp: bytes | None
    dpi: tuple[float, float] | None
    size: tuple[int, int] | None = field(compare=False)
    bits: int | None = field(compare=False)
    made: str | None

    def __init__(
        self,
        icc: bytes | None = None,
        exif: bytes | None = None,
        xmp: bytes | None = None,
        dpi: tuple[float, float] | None = None,
        *,
        size: tuple[int, int] | None = None,
        bits: int | None = None,
        made: str | None = None,
        colour: ColourSpace | None = None,
    ) -> None:
        values: dict[str, object] = {"colour": colour or ColourSpace(icc=icc), "exif": exif, "xmp": xmp, "dpi": dpi}
        values |= {"size": size, "bits": bits, "made": made}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def icc(self) -> bytes | None:
        """The ICC profile that the image came with."""
        return self.colour.icc


@dataclass(frozen=True)
class Choice:
    """The family of models that suits an image (`clean`, `photo`, `art`), and why, in a few words."""

    family: str
    why: str


@dataclass(frozen=True)
class ImageData:
    """An upright image in memory.

    `pixels` is (H, W, C) uint8 or uint16, C-contiguous, with C = 1 (grey) or 3 (RGB); `alpha` is (H, W) of the same
    type, not multiplied into the pixels, or None. `notes` are short facts which the user must hear ("gain map left
    out"). `format` is the name of the file format ("PNG", "JPEG"). `lossless` says of a WebP file that it keeps every
    pixel, `frames` how many frames or pages the file has, of which this is the first. `compression` is what the file
    says of its lossy compression, and `choice` the family of models that was found to suit the image, None before
    anybody looked.
    """

    pixels: Array
    alpha: Array | None
    metadata: Metadata
    notes: tuple[str, ...]
    format: str
    lossless: bool = False
    frames: int = 1
    compression: Compression | None = None
    choice: Choice | None = None

    @property
    def still_notes(self) -> tuple[str, ...]:
        """The notes on a result that holds this image alone, where the file has more."""
        if self.frames == 1:
            return self.notes
        return (*self.notes, f"first of {self.frames} {'pages' if self.format == 'TIFF' else 'frames'}")

    def rgb8(self) -> npt.NDArray[np.uint8]:
        """The pixels as (H, W, 3) uint8, without alpha: what networks are trained on and measured with."""
        pixels = self.pixels if self.pixels.dtype == np.uint8 else np.rint(self.pixels / 257).astype(np.uint8)
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _table(**extensions: str) -> MappingProxyType[str, str]:
    return MappingProxyType({f".{ext}": name for name, exts in extensions.items() for ext in exts.split()})


READ_FORMATS = _table(
    PNG="png apng",
    JPEG="jpg jpeg jpe jfif",
    MPO="mpo",
    WEBP="webp",
    TIFF="tif tiff",
    BMP="bmp dib",
    GIF="gif",
    AVIF="avif avifs",
    JPEGXL="jxl",
    HEIF="heic heif hif heics heifs",
    JPEG2000="jp2 j2k j2c jpc jpf jpx",
    PPM="ppm pgm pbm pnm",
    ICO="ico",
    CUR="cur",
    ICNS="icns",
    PSD="psd",
    DDS="dds",
    SGI="sgi rgb rgba bw",
    SUN="ras",
    PCX="pcx",
    IM="im",
    QOI="qoi",
    TGA="tga icb vda vst",
)
"""File extension (lower case, with its dot) -> format. What a file *is* decides its first bytes, not its name."""

WRITE_FORMATS = _table(
    PNG="png", JPEG="jpg jpeg jpe jfif", WEBP="webp", TIFF="tif tiff", BMP="bmp", GIF="gif", AVIF="avif"
)
"""File extension (lower case, with its dot) -> format that `open_writer` writes."""


def is_image_name(path: Path) -> bool:
    """Whether a walk through a folder should take this file for an image: by its extension, hidden files never."""
    return path.suffix.lower() in READ_FORMATS and not path.name.startswith(".")


def holds_sequence(source: str, target: str) -> bool:
    """Whether a file of the format `target` can hold what one of the format `source` does, frame by frame."""
    return (source in ANIMATED and target in ANIMATED) or (source in PAGED and target in PAGED)


def check_size(name: str, height: int, width: int, max_pixels: int) -> None:
    """Refuse an image that has too many pixels, before anything is decoded.

    Raises:
        ImageTooLarge: `height` x `width` is more than `max_pixels`.
    """
    if height * width > max_pixels:
        raise too_large(name, f"{width} x {height} = ", height * width, max_pixels)


def too_large(name: str, sides: str, pixels: int, max_pixels: int) -> ImageTooLarge:
    """The error for an image of too many pixels; `sides` says how they lie, if that is known."""
    return ImageTooLarge(
        f"{name} has {sides}{pixels:,} pixels, more than the limit of {max_pixels:,}; "
        f"if that is meant, raise the limit with --max-pixels {pixels}"
    )
