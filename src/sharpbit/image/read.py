"""Read an image from a file, a stream or bytes: upright, grey or RGB, 8 or 16 bits, with its metadata."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile

from sharpbit.errors import ImageError
from sharpbit.image import avif, colour, deep, depth, newer, png, tiff_header, webp
from sharpbit.image.compression import compression_of
from sharpbit.image.data import MAX_PIXELS, Array, ImageData, Metadata, check_size
from sharpbit.image.metadata import collect
from sharpbit.image.muted_decoder import libtiff_errors, quiet
from sharpbit.image.source import damaged, name_of, opened, sentences
from sharpbit.image.space import ColourSpace
from sharpbit.image.tiff_pages import count_pages

# Formats that Pillow decodes itself. Not EPS, WMF, FPX and the like, which start other programs or libraries.
# JPEG stands for MPO too. TGA has no signature, so it comes last.
_FORMATS = (
    *("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "AVIF", "JPEG2000", "PPM", "ICO", "CUR", "ICNS"),
    *("PSD", "DDS", "SGI", "SUN", "QOI", "IM", "PCX", "TGA"),
)
_COMMON = (png.SIGNATURE, b"\xff\xd8\xff", b"GIF8")  # how the formats begin that Pillow loads by itself, in no time
_FRAMED = ("GIF", "WEBP", "PNG", "MPO", "AVIF", "TIFF")  # in which one file may hold several images
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def read(source: Path | BinaryIO | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> ImageData:
    """The first image in `source`: a path, a binary stream (read from its start if it can seek) or the bytes.

    Its orientation is applied; CMYK and LAB become sRGB; 9 to 15 bits per sample are scaled to 16. What was
    changed or lost is in `notes`. `name` stands in messages for a source that has none.

    Raises:
        ImageTooLarge: it has more than `max_pixels` pixels (checked before it is decoded).
        ImageError: it cannot be opened, is no image, is damaged, or holds samples that are not supported.
    """
    name = name or name_of(source)
    with opened(source, name, max_pixels) as file, quiet(max_pixels), sentences(name, file, max_pixels):
        return _read(file, name, max_pixels)


def probe(source: Path | BinaryIO | bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """The (height, width) which `read` will give, from the header if possible. Raises what `read` raises."""
    name = name_of(source)
    with opened(source, name, max_pixels) as file, quiet(max_pixels), sentences(name, file, max_pixels):
        height, width, turn = _header(file, name, max_pixels)
        check_size(name, height, width, max_pixels)
        return (width, height) if turn >= 5 else (height, width)


def _header(file: BinaryIO, name: str, max_pixels: int) -> tuple[int, int, int]:
    """Height and width as they are stored, and the orientation."""
    kind = newer.kind_of(file)
    if kind is not None:
        opened_newer = newer.NewerImage(file, kind, name)
        return opened_newer.height, opened_newer.width, 1
    header = tiff_header.tiff_header(file)
    if header is not None:
        return header.height, header.width, header.turn
    try:
        pil_image = _open(file)
        if pil_image.format != "PNG" or "exif" in pil_image.info or not png.has_late_metadata(file):
            return pil_image.height, pil_image.width, collect(pil_image, None, [])[1]
    except Exception:  # what cannot be opened at once may still be read, or be refused with a better reason
        file.seek(0)
    height, width = _read(file, name, max_pixels).pixels.shape[:2]
    return height, width, 1


def _read(file: BinaryIO, name: str, max_pixels: int) -> ImageData:
    notes: list[str] = []
    kind = newer.kind_of(file)
    if kind is not None:
        pixels, alpha, metadata = newer.NewerImage(file, kind, name).read(max_pixels, notes)
        return _image(pixels, alpha, metadata, 1, notes, kind)
    header = tiff_header.tiff_header(file)
    if header is not None:
        check_size(name, header.height, header.width, max_pixels)
        tiff_header.refuse_unsupported(header, name)
        if header.is_ours:
            pixels, alpha = tiff_header.read_tiff(file, header, name, notes)
            metadata = tiff_header.tiff_metadata(file, header, pixels.shape[2], notes)
            image = _image(pixels, alpha, metadata, header.turn, notes, "TIFF")
            return replace(image, frames=count_pages(file) if header.next else 1)
    pil_image, file, bits = _loaded(file, name, max_pixels, notes)
    bits = header.bits if header is not None else bits
    pixels, alpha, icc = _samples(file, pil_image, bits, name, notes)
    if bits > 8 and pixels.dtype.itemsize == 1:
        more = "; sharpbit[formats] reads all" if pil_image.format == "AVIF" else ""
        notes.append(f"only 8 of {bits} bits per sample could be read{more}")
    elif 8 < bits < 16:
        notes.append(f"{bits}-bit samples scaled to 16 bits")
    channels = pixels.shape[2] if icc is None else None
    if header is not None:
        metadata, turn = tiff_header.tiff_metadata(file, header, channels, notes), 1  # Pillow turns TIFF files itself
    else:
        metadata, turn = collect(pil_image, channels, notes, file)
    if icc is not None:
        metadata = replace(metadata, colour=ColourSpace(icc=icc or None))
    if 8 < bits < 16:
        metadata = replace(metadata, bits=bits)
    if pil_image.format == "AVIF":
        notes += avif.not_kept(file)
    lossless = pil_image.format == "WEBP" and webp.is_lossless(file)
    image = _image(pixels, alpha, metadata, turn, notes, pil_image.format or "?")
    compression = None if lossless else compression_of(pil_image)
    frames = _frames(pil_image) if header is None else count_pages(file)
    return replace(image, lossless=lossless, compression=compression, frames=frames)


def _image(pixels: Array, alpha: Array | None, metadata: Metadata, turn: int, notes: list[str], kind: str) -> ImageData:
    turned = None if alpha is None else colour.oriented(alpha, turn)
    upright = colour.oriented(pixels, turn)
    metadata = replace(metadata, size=upright.shape[:2])
    return ImageData(upright, turned, metadata, tuple(notes), kind)


def _loaded(file: BinaryIO, name: str, max_pixels: int, notes: list[str]) -> tuple[ImageFile, BinaryIO, int]:
    """The decoded Pillow image, the file that it really came from, and the bits per sample of that file.

    A PNG file whose text or profile is broken, or too large when inflated, is read again without those chunks.
    """
    try:
        return _load(file, name, max_pixels, notes)
    except (ImageError, MemoryError):
        raise
    except Exception:
        file.seek(0)
        if file.read(8) != png.SIGNATURE:
            raise
        for unwanted, what in ((_TEXTS, "text"), ((*_TEXTS, b"iCCP", b"eXIf"), "text, colour profile and EXIF block")):
            with contextlib.suppress(OSError, SyntaxError, ValueError):
                loaded = _load(png.without(file, unwanted), name, max_pixels, notes)
                notes.append(f"{what} left out (broken, or too large when unpacked)")
                return loaded
        raise


def _load(file: BinaryIO, name: str, max_pixels: int, notes: list[str]) -> tuple[ImageFile, BinaryIO, int]:
    pil_image = _open(file)
    check_size(name, pil_image.height, pil_image.width, max_pixels)
    bits = depth.bits(file, pil_image)
    if pil_image.format == "TIFF":
        with libtiff_errors() as lines:
            error = None
            try:
                pil_image.load()
            except Exception as caught:
                error = caught
        if error is not None or lines:  # Pillow lets some errors pass, and gives white for what is missing
            raise damaged(name, lines[0] if lines else str(error)) from error
    elif pil_image.format != "PPM" or not depth.is_wide_ppm(pil_image):
        pil_image.load()
    check_size(name, pil_image.height, pil_image.width, max_pixels)  # an icon shows its real size only now
    if pil_image.format == "PNG" and not pil_image.info.get("icc_profile") and png.holds(file, b"iCCP"):
        notes.append("colour profile left out (broken)")
    return pil_image, file, bits


def _samples(
    file: BinaryIO, pil_image: ImageFile, bits: int, name: str, notes: list[str]
) -> tuple[Array, Array | None, bytes | None]:
    """Pixels, alpha and the profile of converted colours (see `colour.arrays`)."""
    if bits > 8 and pil_image.format == "AVIF":
        samples = newer.deep_avif(file, (pil_image.height, pil_image.width), bits)
        if samples is not None:
            return *deep.split(samples), None
    if depth.is_wide_ppm(pil_image):
        return depth.ppm_rgb(file, pil_image), None, None
    if bits == 16 and pil_image.format in ("PNG", "SGI"):
        samples = deep.decode(file, name, f".{pil_image.format.lower()}", (pil_image.height, pil_image.width))
        return *deep.split(samples), None
    pixels, alpha, more, icc = colour.arrays(pil_image, name)
    notes += more
    return pixels, alpha, icc


def _open(file: BinaryIO) -> ImageFile:
    file.seek(0)
    common = file.read(8).startswith(_COMMON)
    file.seek(0)
    if common:
        Image.preinit()
    else:
        Image.init()  # so that all formats are known; AVIF and WebP are missing from some builds of Pillow
    return Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])


def _frames(pil_image: ImageFile) -> int:
    if pil_image.format not in _FRAMED:
        return 1
    with contextlib.suppress(Exception):  # a later frame may be broken; only the first is wanted
        return int(getattr(pil_image, "n_frames", 1))
    pil_image.seek(0)
    return 1
