"""Write animations frame by frame, and pages one after the other.

GIF and PNG get only the rectangle of a frame that changed; frames that equal the one before stay frames of their own.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, TiffImagePlugin

from sharpbit.errors import ImageError, SharpbitError
from sharpbit.image.convert import conversion
from sharpbit.image.data import Array, Metadata
from sharpbit.image.fitting import fitted
from sharpbit.image.mark import mark_of
from sharpbit.image.muted_decoder import quiet
from sharpbit.image.write import WriteOptions, open_writer
from sharpbit.system.atomic import open_atomic

_SAMPLE = 1 << 13  # pixels whose colours a frame of a GIF is reduced to
Box = tuple[int, int, int, int]  # top, left, bottom, right


@dataclass(frozen=True)
class Animation:
    """What all frames of a file share.

    Attributes:
        count: The number of frames.
        loop: How often they are shown, 0 without an end.
        default_image: Whether the first is no part of the animation.
        metadata: The metadata of the file.
        options: The compression.
        threads: The number of threads that compress.
    """

    count: int
    loop: int
    default_image: bool
    metadata: Metadata
    options: WriteOptions
    threads: int


class FrameWriter(Protocol):
    """Takes the frames of one file."""

    notes: tuple[str, ...]

    def add(
        self,
        pixels: Array,
        alpha: Array | None,
        boxes: Sequence[Box],
        duration: float,
        page: Metadata | None = None,
    ) -> None:
        """Add a frame.

        Args:
            pixels: All of its pixels `(H, W, C)`; they are not kept.
            alpha: Its alpha `(H, W)`, or None.
            boxes: The rectangles in which it differs from the frame before.
            duration: The time for which it is shown, in milliseconds.
            page: The metadata of a page; None takes those of the file.
        """

    def finish(self) -> None:
        """Write what is left to be written."""


@contextlib.contextmanager
def open_animation(target: Path, format: str, animation: Animation, *, overwrite: bool) -> Iterator[FrameWriter]:  # noqa: A002
    """A writer of frames for a file that appears, complete, when the block ends without an error.

    Args:
        target: The path of the file.
        format: `GIF`, `PNG` or `WEBP`; or `TIFF`, whose pages may have any size.
        animation: What all frames share.
        overwrite: Whether a file that exists is replaced.

    Raises:
        OutputExists: `target` exists, and `overwrite` is false.
        ImageError: It cannot be written.
    """
    with _sentences(target), open_atomic(target, overwrite=overwrite) as file:
        writer = _WRITERS[format](file, animation)
        yield writer
        writer.finish()


class _Png:
    """An APNG: fcTL and fdAT chunks behind the image that every viewer shows (PNG 3, sections 11.3.6 and 13)."""

    def __init__(self, file: BinaryIO, animation: Animation) -> None:
        self._file, self._animation = file, animation
        self._frames, self._chunks = 0, 0
        self.notes: tuple[str, ...] = ()

    def add(
        self,
        pixels: Array,
        alpha: Array | None,
        boxes: Sequence[Box],
        duration: float,
        page: Metadata | None = None,
    ) -> None:
        shared, number = self._animation, self._frames
        self._frames += 1
        whole = (0, 0, *pixels.shape[:2])
        if number == 0:
            data, self.notes = _still("PNG", pixels, alpha, shared, shared.metadata)
            chunks = list(_chunks(data))
            first = next(k for k, (kind, _) in enumerate(chunks) if kind == b"IDAT")
            count = shared.count - shared.default_image
            chunks[1:1] = [(b"acTL", struct.pack(">II", count, shared.loop))]
            if not shared.default_image:
                chunks[first + 1 : first + 1] = [(b"fcTL", self._control(whole, duration))]
            self._file.write(data[:8])
            self._put(chunk for chunk in chunks if chunk[0] != b"IEND")
            return
        if number == 1 and shared.default_image:
            boxes = [whole]
        top, left, bottom, right = _around(boxes) if boxes else (0, 0, 1, 1)
        part = None if alpha is None else alpha[top:bottom, left:right]
        data, _ = _still("PNG", pixels[top:bottom, left:right], part, shared, Metadata())
        self._put([(b"fcTL", self._control((top, left, bottom, right), duration))])
        for kind, body in _chunks(data):
            if kind == b"IDAT":
                self._put([(b"fdAT", struct.pack(">I", self._next()) + body)])

    def finish(self) -> None:
        self._put([(b"IEND", b"")])

    def _control(self, box: Box, duration: float) -> bytes:
        top, left, bottom, right = box
        delay = Fraction(duration / 1000).limit_denominator(65535)
        if delay.numerator > 65535:
            delay = Fraction(min(round(duration / 1000), 65535))
        delays = delay.numerator, delay.denominator
        return struct.pack(">IIIIIHHBB", self._next(), right - left, bottom - top, left, top, *delays, 0, 0)

    def _next(self) -> int:
        self._chunks += 1
        return self._chunks - 1

    def _put(self, chunks: Iterator[tuple[bytes, bytes]] | list[tuple[bytes, bytes]]) -> None:
        for kind, body in chunks:
            self._file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


class _Gif:
    """A GIF, each frame with a palette of its own (GIF89a)."""

    def __init__(self, file: BinaryIO, animation: Animation) -> None:
        self._file, self._animation, self._begun = file, animation, False
        self._convert: Callable[[Array], Array] | None = None
        self._times_kept = True
        self.notes: tuple[str, ...] = ()

    def add(
        self,
        pixels: Array,
        alpha: Array | None,
        boxes: Sequence[Box],
        duration: float,
        page: Metadata | None = None,
    ) -> None:
        if not self._begun:
            self._begun = True
            self._header(*pixels.shape, alpha=alpha is not None)
            boxes = [(0, 0, pixels.shape[0], pixels.shape[1])]
        if duration % 10 and self._times_kept:
            self._times_kept = False
            self.notes = (*self.notes, "GIF times frames in hundredths of a second")
        if alpha is not None:  # what becomes transparent cannot be drawn over what is there: each frame is cleared
            boxes = [(0, 0, pixels.shape[0], pixels.shape[1])]
        top, left, bottom, right = _around(boxes) if boxes else (0, 0, 1, 1)
        drawn = np.zeros((bottom - top, right - left), bool)
        for box in boxes:
            drawn[box[0] - top : box[2] - top, box[1] - left : box[3] - left] = True
        if alpha is not None:
            drawn &= alpha >= 128
        part = pixels[top:bottom, left:right]
        image, transparent = _palette_image(part if self._convert is None else self._convert(part), drawn)
        options: dict[str, float] = {"duration": duration, "disposal": 1 if alpha is None else 2}
        if transparent is not None:
            options["transparency"] = transparent
        for data in GifImagePlugin.getdata(image, (left, top), include_color_table=True, **options):
            self._file.write(data)

    def finish(self) -> None:
        self._file.write(b";")

    def _header(self, height: int, width: int, channels: int, *, alpha: bool) -> None:
        metadata, notes = fitted(self._animation.metadata, "GIF", height, width, channels)
        self._convert, note = conversion(metadata.colour, "GIF", channels)
        one_bit = " and alpha of one bit" if alpha else ""
        self.notes = (f"GIF holds 256 colours a frame{one_bit}", *notes, *note)
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0))
        if self._animation.loop != 1:  # what follows is how often it is repeated, 0 without an end
            loop = struct.pack("<H", min(max(self._animation.loop - 1, 0), 65535))
            self._file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + loop + b"\0")
        if self._animation.metadata.made:
            text = mark_of(self._animation.metadata.made).encode()[:255]
            self._file.write(b"!\xfe" + bytes([len(text)]) + text + b"\0")


class _WebP:
    """A WebP, whose encoder looks for what changed itself, and takes all frames at once."""

    def __init__(self, file: BinaryIO, animation: Animation) -> None:
        self._file, self._animation = file, animation
        self._images: list[Image.Image] = []
        self._durations: list[int] = []
        self._info: dict[str, object] = {}
        self.notes: tuple[str, ...] = ()

    def add(
        self,
        pixels: Array,
        alpha: Array | None,
        boxes: Sequence[Box],
        duration: float,
        page: Metadata | None = None,
    ) -> None:
        shared = self._animation
        if not self._images:
            data, self.notes = _still(
                "WEBP", pixels[:1, :1], None if alpha is None else alpha[:1, :1], shared, shared.metadata
            )
            with Image.open(io.BytesIO(data)) as first:
                self._info = {key: first.info[key] for key in ("icc_profile", "exif", "xmp") if key in first.info}
        if not boxes and self._images:
            self._images.append(self._images[-1])
        else:
            rgb = pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels
            samples = rgb.copy() if alpha is None else np.dstack([rgb, alpha])
            self._images.append(Image.fromarray(samples))
        self._durations.append(round(duration))

    def finish(self) -> None:
        options = self._animation.options
        effort = {"quality": 20, "kmax": 0} if options.lossless else {"quality": options.quality}
        self._images[0].save(
            self._file,
            "WEBP",
            save_all=True,
            append_images=self._images[1:],
            duration=self._durations,
            loop=min(self._animation.loop, 65535),
            lossless=options.lossless,
            **effort,
            **self._info,
        )
        self._file.seek(0)
        with quiet(), Image.open(self._file) as image:
            joined = len(self._images) - int(getattr(image, "n_frames", 1))
        if joined:
            self.notes = (*self.notes, f"WebP: {joined} frames that equal the one before were joined with it")


class _Tiff:
    """Pages, each an image by itself."""

    def __init__(self, file: BinaryIO, animation: Animation) -> None:
        self._animation = animation
        self._pages = TiffImagePlugin.AppendingTiffWriter(file)
        self.notes: tuple[str, ...] = ()

    def add(
        self,
        pixels: Array,
        alpha: Array | None,
        boxes: Sequence[Box],
        duration: float,
        page: Metadata | None = None,
    ) -> None:
        shared = self._animation
        data, notes = _still("TIFF", pixels, alpha, shared, page or shared.metadata)
        self.notes = tuple(dict.fromkeys((*self.notes, *notes)))
        self._pages.write(data)
        self._pages.newFrame()

    def finish(self) -> None:
        pass


_WRITERS: dict[str, type[_Png] | type[_Gif] | type[_WebP] | type[_Tiff]] = {
    "PNG": _Png,
    "GIF": _Gif,
    "WEBP": _WebP,
    "TIFF": _Tiff,
}


def _still(
    format: str,  # noqa: A002
    pixels: Array,
    alpha: Array | None,
    shared: Animation,
    metadata: Metadata,
) -> tuple[bytes, tuple[str, ...]]:
    """An image as the bytes of a file, and what of its metadata could not be kept."""
    out = io.BytesIO()
    height, width, channels = pixels.shape
    with open_writer(
        out,
        format,
        height=height,
        width=width,
        channels=channels,
        alpha=alpha is not None,
        dtype=pixels.dtype,
        metadata=metadata,
        options=shared.options,
        threads=shared.threads,
    ) as writer:
        writer.write(np.ascontiguousarray(pixels), None if alpha is None else np.ascontiguousarray(alpha))
    return out.getvalue(), writer.notes


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG file: kind and content."""
    at = 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def _palette_image(pixels: Array, drawn: NDArray[np.bool_]) -> tuple[Image.Image, int | None]:
    """An image of up to 256 colours, and the number of the one that is transparent, where not all is drawn."""
    rgb = np.ascontiguousarray(pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels)
    if drawn.all():
        return _quantized(Image.fromarray(rgb), 256), None
    indices = np.full(drawn.shape, 255, np.uint8)
    palette: list[int] = []
    if drawn.any():
        strip = _quantized(Image.fromarray(rgb[drawn][None]), 255)
        indices[drawn] = np.asarray(strip)[0]
        palette = (strip.getpalette() or [])[: 3 * 255]
    image = Image.fromarray(indices, "P")
    image.putpalette(palette + [0] * (3 * 256 - len(palette)))
    return image, 255


def _quantized(image: Image.Image, colours: int) -> Image.Image:
    """An image in so many colours, which are those of some of its pixels: of all of them it takes a second a frame."""
    if image.getcolors(colours) is not None or image.width * image.height <= _SAMPLE:
        return image.quantize(colours, Image.Quantize.MEDIANCUT)
    pixels = np.asarray(image).reshape(-1, 3)
    some = np.ascontiguousarray(pixels[:: len(pixels) // _SAMPLE])
    palette = Image.fromarray(some[None]).quantize(colours, Image.Quantize.MEDIANCUT)
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def _around(boxes: Sequence[Box]) -> Box:
    """The rectangle around others."""
    top, left, bottom, right = zip(*boxes, strict=True)
    return min(top), min(left), max(bottom), max(right)


@contextlib.contextmanager
def _sentences(target: Path) -> Iterator[None]:
    try:
        yield
    except SharpbitError:
        raise
    except (OSError, ValueError, struct.error, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no reason given"
        raise ImageError(f"{target} cannot be written: {reason}") from error
