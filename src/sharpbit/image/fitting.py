"""The metadata that a result can carry: fitted to its size, its colours and its format."""

from __future__ import annotations

from dataclasses import replace

from sharpbit.errors import ImageError
from sharpbit.image import exif
from sharpbit.image import icc as icc_profile
from sharpbit.image.data import Metadata
from sharpbit.image.mark import mark_of
from sharpbit.image.metadata import checked_icc
from sharpbit.image.space import SRGB, ColourSpace
from sharpbit.image.xmp import resized

_JPEG_SEGMENT = 65533 - 29  # bytes of metadata in one JPEG segment, less the longest name in front of them
_BARE = ("GIF", "BMP")
_WITHOUT_EXIF = ("PNG", "GIF", "BMP")  # the mark of a result has another place there, or none


def fitted(
    metadata: Metadata, kind: str, height: int, width: int, channels: int, *, as_rgb: bool = False
) -> tuple[Metadata, tuple[str, ...]]:
    """The metadata which pixels of this size in this format can carry, and notes on what they cannot.

    Args:
        metadata: What the image said beside its pixels.
        kind: The format of the result, such as `PNG`.
        height: The height of the result in pixels.
        width: The width of the result in pixels.
        channels: 1 for grey, 3 for RGB.
        as_rgb: Whether grey pixels are stored as RGB, by default not.
    """
    colour, notes = _colour(metadata.colour, kind, channels, 3 if as_rgb else channels)
    metadata = sized(metadata, height, width)
    block, xmp = metadata.exif, metadata.xmp
    if kind in _BARE and (block or xmp):
        what = " and ".join(name for name, held in (("EXIF", block), ("XMP", xmp)) if held)
        notes.append(f"{what} left out ({kind} holds none)")
    if kind == "JPEG" and block and len(block) > _JPEG_SEGMENT:
        block = None
        notes.append("EXIF block left out (more than the 64 KiB that JPEG holds)")
    if kind == "JPEG" and xmp and len(xmp) > _JPEG_SEGMENT:
        xmp = None
        notes.append("XMP block left out (more than the 64 KiB that JPEG holds)")
    if metadata.dpi and kind in ("WEBP", "AVIF"):  # they have no other place for it
        block = exif.with_resolution(block, metadata.dpi)
    if metadata.made and kind not in _WITHOUT_EXIF:
        marked = exif.with_software(block, mark_of(metadata.made))
        block = block if kind == "JPEG" and len(marked) > _JPEG_SEGMENT else marked
    return replace(metadata, colour=colour, exif=block, xmp=xmp), tuple(notes)


def sized(metadata: Metadata, height: int, width: int) -> Metadata:
    """The metadata of an image that was resized: whatever in it counts in pixels follows."""
    high, wide = (1.0, 1.0) if metadata.size is None else (height / metadata.size[0], width / metadata.size[1])
    return replace(
        metadata,
        exif=exif.resized(metadata.exif, height, width, high, wide) if metadata.exif else None,
        xmp=resized(metadata.xmp, wide, high) if metadata.xmp else None,
        size=(height, width),
    )


def _colour(space: ColourSpace, kind: str, channels: int, stored: int) -> tuple[ColourSpace, list[str]]:
    """The description in the form that a format has for it, which may store grey pixels in three channels."""
    notes = []
    try:
        checked_icc(space.icc, channels)
    except ValueError as error:
        space = replace(space, icc=None)
        notes.append(f"colour profile left out ({error})")
    if kind == "PNG":
        return space, notes
    if space.mastering or space.light:
        notes.append(f"brightness of the mastering display and the light left out ({kind} holds none here)")
        space = replace(space, mastering=None, light=None)
    if kind == "AVIF" and space.cicp and space.cicp[3]:
        return space, notes
    try:
        icc = space.profile(stored)
        if icc and stored != channels and icc[16:20] == b"GRAY":
            icc = icc_profile.as_rgb(icc, SRGB)
        return ColourSpace(icc=icc), notes
    except ImageError:
        return ColourSpace(), [*notes, f"colour space left out ({kind} cannot describe {space.name})"]
