"""More than 8 bits per sample, which Pillow cuts off: TIFF, PNG and SGI through OpenImageIO, PPM by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL.ImageFile import ImageFile

from sharpbit.errors import ImageError
from sharpbit.image import xmp as xmp_block
from sharpbit.image.data import Array, Metadata
from sharpbit.image.metadata import (
    fitting_icc,
    kept,
    tiff_dpi,
    tiff_exif,
    upright,
    with_profile,
    xmp_of,
)
from sharpbit.image.source import damaged
from sharpbit.image.space import ColourSpace

_WEBP_IN_TIFF = 50001  # compression that Pillow's libtiff lacks
_MOST_SAMPLES = 16
_ASSOCIATED = 1  # ExtraSamples: alpha, multiplied into the colours


@dataclass(frozen=True)
class TiffHeader:
    """What the first directory of a TIFF file says about its samples. `bits` is the most of any sample."""

    tags: dict[int, object]
    next: int
    height: int
    width: int
    bits: int
    samples: int
    kind: int
    photometric: int
    compression: int
    extra: tuple[int, ...]

    @property
    def turn(self) -> int:
        """The orientation (1 to 8) which the pixels need."""
        xmp = self.tags.get(700)
        value = _first(self.tags.get(274), 0) or xmp_block.orientation(xmp if isinstance(xmp, bytes) else None) or 1
        return value if 1 <= value <= 8 else 1

    @property
    def is_ours(self) -> bool:
        """Whether Pillow would lose something that OpenImageIO keeps."""
        if self.photometric not in (0, 1, 2) or self.kind != 1 or self.bits > 16:
            return False
        return self.bits > 8 or self.compression == _WEBP_IN_TIFF


def tiff_header(file: BinaryIO) -> TiffHeader | None:
    """The header of a TIFF file, or None if this is none or it is broken (Pillow then says what is wrong)."""
    file.seek(0)
    head = file.read(16)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        from PIL.TiffImagePlugin import ImageFileDirectory_v2

        directory = ImageFileDirectory_v2(head if b"+" in head[:4] else head[:8])
        file.seek(directory.next)
        directory.load(file)
        tags: dict[int, object] = dict(directory)
        bits = tags.get(258, 1)
        extra = tags.get(338, ())
        return TiffHeader(
            tags=tags,
            next=int(directory.next),
            height=_first(tags[257]),
            width=_first(tags[256]),
            bits=max(bits) if isinstance(bits, tuple) else _first(bits),
            samples=_first(tags.get(277), 1),
            kind=_first(tags.get(339), 1),
            photometric=_first(tags.get(262), 1),
            compression=_first(tags.get(259), 1),
            extra=extra if isinstance(extra, tuple) else (_first(extra),),
        )
    except Exception:  # a broken directory raises nearly anything
        return None
    finally:
        file.seek(0)


def refuse_unsupported(header: TiffHeader, name: str) -> None:
    """Raise ImageError for samples that are signed, floating-point, wider than 16 bits or too many per pixel."""
    if header.samples > _MOST_SAMPLES:  # OpenImageIO would find the memory for thousands
        raise ImageError(f"{name} has {header.samples} channels, and at most {_MOST_SAMPLES} are read; split it first")
    what = {2: "signed", 3: "floating-point"}.get(header.kind)
    if what is None and header.bits > 16:
        what = f"{header.bits}-bit"
    if what is not None:
        raise ImageError(f"{name} has {what} samples, which are not supported; convert it to unsigned 16 bits first")


def read_tiff(file: BinaryIO, header: TiffHeader, name: str, notes: list[str]) -> tuple[Array, Array | None]:
    """The pixels and alpha of a TIFF file for which `header.is_ours` holds; not yet turned upright."""
    samples = decode(file, name, ".tif", (header.height, header.width))
    colours = 3 if header.photometric == 2 else 1
    has_alpha = bool(header.extra) and header.extra[0] in (1, 2) and samples.shape[2] > colours
    surplus = samples.shape[2] - colours - has_alpha
    if surplus > 0:
        notes.append(f"{surplus} extra channel{'s' * (surplus > 1)} left out")
    pixels, alpha = split(samples[..., : colours + has_alpha])
    if header.photometric == 0 and header.bits > 8:  # white is zero, which OpenImageIO inverts up to 8 bits only
        pixels = 65535 - pixels
    if alpha is not None and header.extra[0] == _ASSOCIATED:
        pixels = unmultiplied(pixels, alpha)
    if 8 < header.bits < 16:
        notes.append(f"{header.bits}-bit samples scaled to 16 bits")
    return pixels, alpha


def tiff_metadata(file: BinaryIO, header: TiffHeader, channels: int | None, notes: list[str]) -> Metadata:
    """The metadata in the tags of a TIFF file, upright; without its profile if `channels` is None."""
    icc = fitting_icc(header.tags.get(34675), channels, notes)
    block = kept(lambda: tiff_exif(file, header.tags), "EXIF block", notes)
    xmp = xmp_of(header.tags.get(700), notes)
    colour = with_profile(_tiff_space(header.tags), icc, block) if channels else ColourSpace()
    return upright(Metadata(exif=block, xmp=xmp, dpi=tiff_dpi(header.tags), colour=colour))


def _tiff_space(tags: dict[int, object]) -> ColourSpace:
    """The tags WhitePoint and PrimaryChromaticities (TIFF 6.0, section 20), if both are there."""
    white, primaries = tags.get(318), tags.get(319)
    if not (isinstance(white, tuple) and isinstance(primaries, tuple) and len(white) == 2 and len(primaries) == 6):
        return ColourSpace()
    x = [float(value) for value in (*white, *primaries)]
    if not all(0 <= value <= 1 for value in x):
        return ColourSpace()
    return ColourSpace(chromaticities=(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]))


def decode(file: BinaryIO, name: str, suffix: str, size: tuple[int, int]) -> Array:
    """All samples (H, W, channels) of the file, uint8 or uint16, alpha as it is stored.

    Raises:
        ImageError: OpenImageIO cannot decode it, or finds another (height, width) than `size`, which was checked.
    """
    return decode_with(file, name, suffix, size)[0]


def size_of(file: BinaryIO, name: str, suffix: str) -> tuple[int, int]:
    """Height and width of a file that OpenImageIO opens. Raises ImageError if it does not."""
    with _opened(file, name, suffix) as reader:
        spec = reader.spec()
        return spec.height, spec.width


def decode_with(file: BinaryIO, name: str, suffix: str, size: tuple[int, int]) -> tuple[Array, dict[str, Any]]:
    """What `decode` gives, and what OpenImageIO knows beside the samples."""
    with _opened(file, name, suffix) as reader:
        spec = reader.spec()
        if (spec.height, spec.width) != size:
            raise damaged(name, "two readers see different sizes")
        if str(spec.format) not in ("uint8", "uint16"):
            raise ImageError(f"{name} has {spec.format} samples, which are not supported; convert it to 16 bits first")
        samples = reader.read_image(0, 0, 0, spec.nchannels, str(spec.format))
        message = reader.geterror()
        attributes = {attribute.name: attribute.value for attribute in spec.extra_attribs}
    if not isinstance(samples, np.ndarray):
        raise damaged(name, message)
    return samples.reshape(spec.height, spec.width, spec.nchannels), attributes


@contextlib.contextmanager
def _opened(file: BinaryIO, name: str, suffix: str) -> Iterator[Any]:
    import OpenImageIO as oiio  # noqa: N813  # slow to load and seldom needed

    wishes = oiio.ImageSpec()
    wishes.attribute("oiio:UnassociatedAlpha", 1)
    with _path_of(file, suffix) as path:
        reader = oiio.ImageInput.open(path, wishes)
        if reader is None:
            raise damaged(name, oiio.geterror())
        try:
            yield reader
        finally:
            reader.close()


def split(samples: Array) -> tuple[Array, Array | None]:
    """(H, W, 1 to 4) samples as contiguous pixels and alpha (second of two, fourth of four)."""
    colours = 3 if samples.shape[2] >= 3 else 1
    alpha = np.ascontiguousarray(samples[..., colours]) if samples.shape[2] > colours else None
    return np.ascontiguousarray(samples[..., :colours]), alpha


def bits(file: BinaryIO, pil_image: ImageFile) -> int:
    """The bits per sample of a file that Pillow opened and has not decoded, where they may be more than 8."""
    here = file.tell()
    try:
        file.seek(0)
        head = file.read(4096)
    finally:
        file.seek(here)
    if pil_image.format == "PNG":
        return head[24]
    if pil_image.format == "SGI":
        return 8 * head[3]
    if (
        pil_image.format == "JPEG2000"
    ):  # SIZ marker: its length, 34 bytes of sizes, the number of components, their depth
        at = head.find(b"\xff\x51")
        return (head[at + 40] & 0x7F) + 1 if 0 <= at < len(head) - 40 else 8
    if pil_image.format == "AVIF":  # box av1C: a marker, profile and level, then the flags of high bit depth
        at = head.find(b"av1C")
        flags = head[at + 6] if 0 <= at < len(head) - 6 else 0
        return 12 if flags & 0x20 and flags & 0x40 else 10 if flags & 0x40 else 8
    if pil_image.format == "PPM":
        most = _ppm_most(pil_image)
        return 8 if most <= 255 else most.bit_length()
    if (
        pil_image.format == "DDS"
        and pil_image.tile
        and pil_image.tile[0][0] == "bcn"
        and pil_image.tile[0][3]
        and pil_image.tile[0][3][0] == 6
    ):
        return 16
    return 8


def is_wide_ppm(pil_image: ImageFile) -> bool:
    """Whether Pillow opened a binary PPM file of more than 8 bits, whose low bits it would drop."""
    return pil_image.format == "PPM" and pil_image.mode == "RGB" and bool(pil_image.tile) and _ppm_most(pil_image) > 255


def ppm_rgb(file: BinaryIO, pil_image: ImageFile) -> Array:
    """The pixels of such a PPM file, scaled to 16 bits."""
    count = pil_image.height * pil_image.width * 3
    file.seek(pil_image.tile[0].offset)
    data = file.read(2 * count)
    if len(data) < 2 * count:
        raise OSError("image file is truncated")
    values = np.frombuffer(data, ">u2").reshape(pil_image.height, pil_image.width, 3)
    most = _ppm_most(pil_image)
    table = (np.arange(65536, dtype=np.uint64).clip(0, most) * 65535 + most // 2) // most
    scaled: Array = table.astype(np.uint16)[values]
    return scaled


def _ppm_most(pil_image: ImageFile) -> int:
    """The sample value that means white in an opened and not decoded PPM file."""
    codec, _, _, args = pil_image.tile[0] if pil_image.tile else ("", None, 0, ())
    if codec == "raw":
        return 65535 if pil_image.mode == "I" else 255
    return int(args[1]) if codec == "ppm" and isinstance(args, tuple) else 255


def unmultiplied(pixels: Array, alpha: Array) -> Array:
    """Colours divided by the alpha that was multiplied into them; where alpha is 0 they are 0."""
    top = int(np.iinfo(pixels.dtype).max)
    out = np.empty_like(pixels)
    for y in range(pixels.shape[0]):  # by rows: the products need 4 times the memory
        cover = np.maximum(alpha[y, :, None].astype(np.uint64), 1)
        row = np.minimum((pixels[y] * np.uint64(top) + cover // 2) // cover, top)
        out[y] = np.where(alpha[y, :, None] > 0, row, 0)
    return out


@contextlib.contextmanager
def _path_of(file: BinaryIO, suffix: str) -> Iterator[str]:
    """A path under which a library that takes paths alone can read `file`."""
    name = getattr(file, "name", None)
    if isinstance(name, str) and Path(name).is_file() and not _has_surrogates(name):
        yield name
        return
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="sharpbit-"))
    try:
        copy = folder / ("picture" + suffix)
        file.seek(0)
        with copy.open("wb") as out:
            shutil.copyfileobj(file, out)
        yield str(copy)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_surrogates(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def _first(value: object, default: int | None = None) -> int:
    if isinstance(value, tuple) and value:
        value = value[0]
    if value is None and default is not None:
        return default
    return int(value)  # type: ignore[call-overload, no-any-return]
