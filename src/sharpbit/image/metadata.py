"""What a file says beside its pixels: colour profile, EXIF, XMP, resolution. A broken block costs that block only."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO, TypeVar

from PIL import Image

from sharpbit.image import exif as exif_block
from sharpbit.image import space as space_of
from sharpbit.image import xmp as xmp_block
from sharpbit.image.data import Metadata
from sharpbit.image.icc import as_grey
from sharpbit.image.space import ColourSpace

_ICC_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}
T = TypeVar("T")


def collect(
    pil_image: Image.Image, channels: int | None, notes: list[str], file: BinaryIO | None = None
) -> tuple[Metadata, int]:
    """The metadata of an opened Pillow image (`image.info`), for pixels of `channels` channels;
    without what it says about colour if that is None. `file` is where the image came from, if that is known.

    Returns the metadata, with its orientation reset, and the orientation (1 to 8) that the pixels still need.
    What could not be used is said in `notes`.
    """
    info = pil_image.info
    icc = fitting_icc(info.get("icc_profile"), channels, notes)
    xmp = xmp_of(info.get("xmp"), notes)
    block = kept(lambda: _exif_of(info), "EXIF block", notes)
    turn = (exif_block.orientation(block) if block else None) or xmp_block.orientation(xmp) or 1
    colour = described(pil_image, icc, block, file) if channels else ColourSpace()
    return upright(Metadata(exif=block, xmp=xmp, dpi=_dpi(info, block), colour=colour)), turn


def xmp_of(xmp: object, notes: list[str]) -> bytes | None:
    """The XMP packet of an image, without what it announces beside that image."""
    packet = kept(lambda: xmp_block.checked(xmp), "XMP block", notes)
    return kept(lambda: xmp_block.alone(packet, notes), "XMP block", notes) if packet else None


def upright(metadata: Metadata) -> Metadata:
    """The same metadata, saying that the pixels need no turning."""
    return replace(
        metadata,
        exif=exif_block.upright(metadata.exif) if metadata.exif else None,
        xmp=xmp_block.upright(metadata.xmp) if metadata.xmp else None,
    )


def described(pil_image: Image.Image, icc: bytes | None, block: bytes | None, file: BinaryIO | None) -> ColourSpace:
    """What an opened image says about its colours, with the profile and the EXIF block that were found in it."""
    space, format = ColourSpace(), pil_image.format  # noqa: A001
    if format == "PNG" and file is not None:
        space = space_of.of_png(_short_chunks(file))
    elif format == "PNG":
        info = pil_image.info
        space = ColourSpace(
            gamma=info.get("gamma") or None, chromaticities=info.get("chromaticity"), intent=info.get("srgb")
        )
    elif format in ("AVIF", "HEIF") and icc is None and file is not None:
        space = ColourSpace(cicp=_nclx(file))
    return with_profile(space, icc, block)


def with_profile(space: ColourSpace, icc: bytes | None, block: bytes | None) -> ColourSpace:
    """A description with a profile; where there is neither, what EXIF says of the colours."""
    if icc is not None:
        return replace(space, icc=icc, intent=None)
    if space == ColourSpace() and block and exif_block.is_adobe_rgb(block):
        return ColourSpace(gamma=256 / 563, chromaticities=space_of.ADOBE)
    return space


def fitting_icc(profile: object, channels: int | None, notes: list[str]) -> bytes | None:
    """The profile as it fits pixels of `channels` channels: grey pixels get the curve of an RGB profile."""
    if channels == 1 and isinstance(profile, bytes) and profile[16:20] == b"RGB ":
        curve = kept(lambda: as_grey(checked_icc(profile, 3) or b""), "colour profile", [])
        if curve is not None:
            notes.append("RGB profile of a grey image replaced by its curve for grey")
            return curve
    return kept(lambda: checked_icc(profile, channels), "colour profile", notes)


def _short_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """The short chunks of a PNG file that lie before its pixels; the file is left where it was."""
    here, chunks = file.tell(), dict[bytes, bytes]()
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        length = int.from_bytes(head[:4], "big")
        if length <= 32:
            chunks.setdefault(head[4:], file.read(length))
            file.seek(4, io.SEEK_CUR)
        else:
            file.seek(length + 4, io.SEEK_CUR)
    file.seek(here)
    return chunks


def _nclx(file: BinaryIO) -> tuple[int, int, int, int] | None:
    """The numbers of the first box `nclx` of an AVIF or HEIF file."""
    here = file.tell()
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(here)
    at = head.find(b"colrnclx")
    if not 0 <= at <= len(head) - 15:
        return None
    primaries, transfer, matrix, full = struct.unpack_from(">HHHB", head, at + 8)
    return space_of.of_nclx(primaries, transfer, matrix, full >> 7)


def checked_icc(profile: object, channels: int | None) -> bytes | None:
    """The profile, cut to the length it declares; None if there is none or `channels` is None.

    Raises:
        ValueError: it is broken, or it describes other colours than `channels` channels (1 grey, 3 RGB, 4 CMYK).
    """
    if not profile or channels is None:
        return None
    if not isinstance(profile, bytes) or len(profile) < 132 or profile[36:40] != b"acsp":
        raise ValueError("broken")
    length = int.from_bytes(profile[:4], "big")
    if not 132 <= length <= len(profile):
        raise ValueError("cut off")
    space = profile[16:20]
    if space != _ICC_SPACES[channels]:
        raise ValueError(f"it is for {space.decode('latin-1').strip()} and the pixels are {_colours(channels)}")
    return profile[:length]


def tiff_exif(file: BinaryIO, tags: dict[int, object]) -> bytes | None:
    """The EXIF block that says what the first directory (`tags`) of a TIFF file says about the image.

    Raises:
        ValueError: it has an EXIF directory, and is a BigTIFF file, in which Pillow finds none.
    """
    kept = Image.Exif()
    for tag in sorted(exif_block.DESCRIPTIVE & set(tags)):
        kept[tag] = tags[tag]
    pointers = {exif_block.EXIF_IFD, exif_block.GPS_IFD} & set(tags)
    if pointers:
        file.seek(2)
        if b"+" in file.read(2):
            raise ValueError("in a BigTIFF file")
        there = Image.Exif()
        file.seek(0)
        there.load_from_fp(file)
        for tag in pointers:
            kept.get_ifd(tag).update(there.get_ifd(tag))
    block = exif_block.strip_prefix(kept.tobytes())
    return block if exif_block.first_directory(block) else None


def tiff_dpi(tags: dict[int, object]) -> tuple[float, float] | None:
    """The resolution in the tags of a TIFF file, if it has a unit."""
    unit = _plain(tags.get(296, 2))
    factor = 1.0 if unit == 2 else 2.54 if unit == 3 else None
    if factor is None or 282 not in tags or 283 not in tags:
        return None
    return _sane_dpi((tags[282], tags[283]), factor)


def kept(get: Callable[[], T | None], what: str, notes: list[str]) -> T | None:
    """What `get` returns; if it raises, None and a note that this block was left out, and why."""
    try:
        return get()
    except Exception as error:  # these blocks come from anywhere, and the image is worth more than any of them
        notes.append(f"{what} left out ({(str(error) if isinstance(error, ValueError) else '') or 'broken'})")
        return None


def exif_of(block: object, notes: list[str]) -> bytes | None:
    """An EXIF block as a decoder gave it, with or without its prefix; if it is broken, None and a note."""
    return kept(lambda: _exif_of({"exif": block}), "EXIF block", notes)


def _exif_of(info: dict[str | tuple[int, int], object]) -> bytes | None:
    block = info.get("exif")
    raw = info.get("Raw profile type exif")
    if block is None and isinstance(raw, str):  # how ImageMagick stored EXIF before PNG had a chunk for it
        block = bytes.fromhex("".join(raw.split("\n")[3:]))
    if not isinstance(block, bytes):
        return None
    block = exif_block.strip_prefix(block)
    if not block:
        return None
    exif_block.first_directory(block)
    return block


def _dpi(info: dict[str | tuple[int, int], object], block: bytes | None) -> tuple[float, float] | None:
    dpi = info.get("dpi")
    if isinstance(dpi, tuple) and len(dpi) == 2:
        return _sane_dpi(dpi)
    if block is None:
        return None
    values = Image.Exif()
    try:
        values.load(block)
        return tiff_dpi(dict(values))
    except Exception:  # as above
        return None


def _sane_dpi(dpi: tuple[object, object], factor: float = 1.0) -> tuple[float, float] | None:
    try:
        x, y = (float(value) * factor for value in dpi)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (x, y) if all(math.isfinite(value) and 1 <= value <= 1e6 for value in (x, y)) else None


def _plain(value: object) -> object:
    return value[0] if isinstance(value, tuple) and value else value


def _colours(channels: int) -> str:
    return {1: "grey", 3: "RGB", 4: "CMYK"}[channels]
