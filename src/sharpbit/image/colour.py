"""Pillow images to arrays and back: every mode becomes grey or RGB, 8 or 16 bits, with or without alpha."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from sharpbit.errors import ImageError
from sharpbit.image.compression import compression_of
from sharpbit.image.data import Array, ImageData, Metadata
from sharpbit.image.fitting import sized
from sharpbit.image.metadata import checked_icc, collect
from sharpbit.image.space import ColourSpace

if TYPE_CHECKING:
    from PIL import ImageCms

_ROWS = 256  # rows converted at a time, so that no second copy of a large image is ever made
_DIRECT = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "YCbCr": "RGB",
    "HSV": "RGB",
}
Convert = Callable[[Image.Image], Image.Image]


def from_pil(pil_image: Image.Image) -> ImageData:
    """The image that a Pillow image holds, upright, with its metadata.

    Raises:
        ImageError: its mode holds floating-point or 32-bit samples.
    """
    name = getattr(pil_image, "filename", "") or "the image"
    pil_image.load()
    pixels, alpha, notes, icc = arrays(pil_image, str(name))
    with _file_of(pil_image) as file:
        metadata, turn = collect(pil_image, pixels.shape[2] if icc is None else None, notes, file)
    if icc is not None:
        metadata = replace(metadata, colour=ColourSpace(icc=icc or None))
    turned = None if alpha is None else oriented(alpha, turn)
    lossy = None if pil_image.format == "WEBP" else compression_of(pil_image)  # which kind of WebP is not known
    upright = oriented(pixels, turn)
    metadata = replace(metadata, size=upright.shape[:2])
    return ImageData(upright, turned, metadata, tuple(notes), pil_image.format or "", compression=lossy)


@contextlib.contextmanager
def _file_of(pil_image: Image.Image) -> Iterator[BinaryIO | None]:
    """The file that Pillow opened, if it is still there: of the marks of colour in it, Pillow keeps some."""
    try:
        file = Path(str(getattr(pil_image, "filename", "") or "")).open("rb")  # noqa: SIM115
    except (OSError, ValueError):
        yield None
        return
    with file:
        yield file


def to_pil(pixels: Array, alpha: Array | None = None, metadata: Metadata | None = None) -> Image.Image:
    """A Pillow image of (H, W, C) `pixels` and (H, W) `alpha`, with the metadata in its `info`.

    Pillow has 16 bits for grey alone: other 16-bit pixels become 8 bits.
    """
    if pixels.dtype == np.uint16 and (pixels.shape[2] == 3 or alpha is not None):
        pixels, alpha = to_8_bits(pixels), None if alpha is None else to_8_bits(alpha)
    samples = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    pil_image = Image.fromarray(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples))
    if metadata is not None:
        icc = None
        with contextlib.suppress(ImageError):
            icc = metadata.colour.profile(pixels.shape[2])
        metadata = sized(metadata, *pixels.shape[:2])
        held = {"icc_profile": icc, "exif": metadata.exif, "xmp": metadata.xmp, "dpi": metadata.dpi}
        pil_image.info.update({key: value for key, value in held.items() if value is not None})
    return pil_image


def arrays(pil_image: Image.Image, name: str) -> tuple[Array, Array | None, list[str], bytes | None]:
    """The pixels (H, W, C) and alpha (H, W) of a loaded image, notes, and the profile of converted colours.

    The profile is None if the colours were not converted, and empty if they were without one.

    Raises:
        ImageError: floating-point or 32-bit samples.
    """
    if pil_image.mode.startswith("I;16") or (pil_image.mode == "I" and pil_image.format == "PPM"):
        return _deep_grey(pil_image), None, [], None
    if pil_image.mode in ("I", "F"):
        kind = "32-bit integer" if pil_image.mode == "I" else "floating-point"
        raise ImageError(f"{name} has {kind} samples, which are not supported; convert it to 16-bit integers first")
    notes: list[str] = []
    convert, icc = _conversion(pil_image, notes, name)
    sample = convert(pil_image.crop((0, 0, 1, 1)))
    bands = len(sample.getbands())
    pixels = np.empty((pil_image.height, pil_image.width, 3 if bands > 2 else 1), np.uint8)
    alpha = np.empty((pil_image.height, pil_image.width), np.uint8) if bands in (2, 4) else None
    for top in range(0, pil_image.height, _ROWS):
        bottom = min(top + _ROWS, pil_image.height)
        rows = np.asarray(convert(pil_image.crop((0, top, pil_image.width, bottom))))
        rows = rows.reshape(bottom - top, pil_image.width, bands)
        pixels[top:bottom] = rows[..., : pixels.shape[2]]
        if alpha is not None:
            alpha[top:bottom] = rows[..., -1]
    if pil_image.format == "GIF":
        alpha = _drawn(pil_image, pixels, alpha)
    return pixels, alpha, notes, icc


def _drawn(pil_image: Image.Image, pixels: Array, alpha: Array | None) -> Array | None:
    """The alpha of a GIF image that is transparent around its first frame, as browsers show it.

    Pillow fills what lies around it, which is cleared in `pixels`, with the first colour of the palette.
    """
    left, top, right, bottom = getattr(pil_image, "dispose_extent", None) or (0, 0, *pil_image.size)
    if pil_image.tell() or (right - left, bottom - top) == pil_image.size:
        return alpha
    drawn = np.zeros(pixels.shape[:2], bool)
    drawn[top:bottom, left:right] = True
    pixels[~drawn] = 0
    return np.where(drawn, np.uint8(255) if alpha is None else alpha, np.uint8(0))


def _conversion(pil_image: Image.Image, notes: list[str], name: str) -> tuple[Convert, bytes | None]:
    """How to turn a piece of `image` into a mode that is L, LA, RGB or RGBA."""
    mode = pil_image.mode
    if mode in ("P", "PA"):
        mode = "RGBA" if pil_image.has_transparency_data else "RGB"
    elif mode in ("1", "L", "RGB") and "transparency" in pil_image.info:
        mode = "RGBA" if mode == "RGB" else "LA"
    elif mode == "CMYK":
        return _from_cmyk(pil_image, notes)
    elif mode == "LAB":
        from PIL import ImageCms

        notes.append("LAB converted to sRGB")
        return _transform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")
    elif mode in _DIRECT:
        mode = _DIRECT[mode]
    else:
        raise ImageError(f"{name} has samples of kind {mode}, which are not supported; convert it to PNG first")
    return (
        lambda piece: piece if piece.mode == mode and "transparency" not in piece.info else piece.convert(mode)
    ), None


def _from_cmyk(pil_image: Image.Image, notes: list[str]) -> tuple[Convert, bytes | None]:
    from PIL import ImageCms  # with the library behind it, a twentieth of a cold start

    try:
        icc = checked_icc(pil_image.info.get("icc_profile"), 4)
        if icc is not None:
            convert = _transform(ImageCms.ImageCmsProfile(io.BytesIO(icc)), "CMYK")
            notes.append("CMYK converted to sRGB by its colour profile")
            return convert
    except (ValueError, OSError, ImageCms.PyCMSError):
        pass
    notes.append("CMYK converted to RGB without a colour profile, so its colours are approximate")
    return (lambda piece: piece.convert("RGB")), b""


def _transform(source: ImageCms.ImageCmsProfile, mode: str) -> tuple[Convert, bytes]:
    from PIL import ImageCms

    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    transform = ImageCms.buildTransform(
        source,
        target,
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return (lambda piece: ImageCms.applyTransform(piece, transform) or piece), target.tobytes()


def _deep_grey(pil_image: Image.Image) -> Array:
    pixels = np.empty((pil_image.height, pil_image.width, 1), np.uint16)
    for top in range(0, pil_image.height, _ROWS):
        bottom = min(top + _ROWS, pil_image.height)
        rows = np.asarray(pil_image.crop((0, top, pil_image.width, bottom)))
        pixels[top:bottom, :, 0] = np.clip(rows, 0, 65535)
    return pixels


def oriented(array: Array, orientation: int) -> Array:
    """`array` (H, W, ...) turned and mirrored as EXIF orientation 1 to 8 asks (CIPA DC-008, 4.6.5.1)."""
    if orientation == 1:
        return array
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def to_8_bits(samples: Array) -> Array:
    """16-bit samples rounded to 8 bits; 8-bit ones scaled up by 257 come back exactly."""
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def on_white(pixels: Array, alpha: Array) -> Array:
    """(h, W, C) `pixels` laid on white through (h, W) `alpha`, all of one type."""
    top = int(np.iinfo(pixels.dtype).max)
    cover = alpha[..., None].astype(np.uint64 if top > 255 else np.uint32)
    laid: Array = (pixels * cover + top * (top - cover) + top // 2) // top
    return laid.astype(pixels.dtype)
