"""Write an image strip by strip: PNG and TIFF stream, the other formats are gathered in a Pillow image."""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from sharpbit.errors import ImageError, UsageError
from sharpbit.image import avif, light
from sharpbit.image.colour import on_white, to_8_bits
from sharpbit.image.convert import conversion, converted
from sharpbit.image.data import Array, Metadata
from sharpbit.image.encoding import Stored, WriteOptions
from sharpbit.image.fitting import fitted
from sharpbit.image.pillow_encoder import PillowEncoder
from sharpbit.image.png import PngEncoder
from sharpbit.image.tiff import TiffEncoder
from sharpbit.system.atomic import open_atomic

_DEEP = ("PNG", "TIFF")
_OPAQUE = ("JPEG", "BMP")
_WITHOUT_COLOUR = ("GIF", "BMP")
_MOST = {
    "JPEG": 65500,
    "WEBP": 16383,
    "GIF": 65535,
    "AVIF": 65535,
    "BMP": 2**31 - 1,
    "PNG": 2**31 - 1,
    "TIFF": 2**32 - 1,
}


class _Encoder(Protocol):
    def write(self, rows: Array) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


def losses(
    format: str,  # noqa: A002
    *,
    dtype: npt.DTypeLike,
    alpha: bool,
    height: int,
    width: int,
    bits: int | None = None,
) -> tuple[str, ...]:
    """What `format` cannot hold of such an image, as notes for the user.

    `bits` is how many bits of each 16 its samples really have, if that is known.

    Raises:
        ImageError: it cannot hold an image of this size at all.
        UsageError: `format` is none that is written here.
    """
    if format not in _MOST:
        raise UsageError(f"format {format!r} is not written here; choose one of {', '.join(sorted(_MOST))}")
    if max(height, width) > _MOST[format]:
        raise ImageError(
            f"{format} holds at most {_MOST[format]} pixels a side and the image would be {width} x {height}; "
            "write PNG or TIFF instead (-f png)"
        )
    notes = []
    deep = np.dtype(dtype).itemsize > 1 and format not in _DEEP
    if deep and format == "AVIF" and avif.is_deep():
        if (bits or 16) > avif.MOST_BITS:
            notes.append(f"AVIF holds {avif.MOST_BITS} bits per sample: 16 were rounded to them")
    elif deep:
        notes.append(f"{format} holds 8 bits per sample here: 16 were rounded to 8")
    if alpha and format in _OPAQUE:
        notes.append(f"{format} holds no alpha: laid on white")
    if format == "GIF":
        notes.append("GIF holds 256 colours" + (" and alpha of one bit" if alpha else ""))
    return tuple(notes)


@contextlib.contextmanager
def open_writer(
    target: Path | BinaryIO,
    format: str,  # noqa: A002
    *,
    height: int,
    width: int,
    channels: int,
    alpha: bool,
    dtype: npt.DTypeLike,
    metadata: Metadata = Metadata(),  # noqa: B008  (frozen)
    options: WriteOptions = WriteOptions(),  # noqa: B008  (frozen)
    overwrite: bool = False,
    threads: int = 1,
) -> Iterator[ImageWriter]:
    """A writer for an image of `height` x `width`, `channels` (1 or 3) and `dtype` (uint8 or uint16).

    A path appears, complete, when the block ends without an error, and not at all otherwise. A stream need not be
    able to seek, but must take all bytes that it is given (`sys.stdout.buffer` does). What the format cannot hold
    (see `losses`) is reduced.

    Raises:
        OutputExists: `target` is a path that exists, and `overwrite` is false.
        ImageError: the image cannot be written (size, disk full, permission).
        RuntimeError: the block ended before all rows were written (a mistake of the caller).
    """
    losses(format, dtype=dtype, alpha=alpha, height=height, width=width)
    with contextlib.ExitStack() as stack:
        name = str(target) if isinstance(target, Path) else "the output"
        with _sentences(name):
            file = stack.enter_context(open_atomic(target, overwrite=overwrite)) if isinstance(target, Path) else target
            writer = ImageWriter(
                file, name, format, height, width, channels, alpha, np.dtype(dtype), metadata, options, threads
            )
        stack.callback(writer._encoder.close)
        yield writer
        with _sentences(name):
            writer._finish()
            stack.close()


class ImageWriter:
    """Takes the rows of one image from top to bottom; `open_writer` makes it.

    `notes` say which metadata could not be kept.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        kind: str,
        height: int,
        width: int,
        channels: int,
        alpha: bool,
        dtype: np.dtype[Any],
        metadata: Metadata,
        options: WriteOptions,
        threads: int,
    ) -> None:
        if channels not in (1, 3) or dtype not in (np.uint8, np.uint16) or height < 1 or width < 1:
            raise ValueError(f"not an image: {height} x {width}, {channels} channels of {dtype}")
        self._linear = kind not in _DEEP and metadata.colour.is_linear  # of which 8 bits keep no dark tones
        if self._linear:
            metadata = replace(metadata, colour=metadata.colour.encoded())
        self._shape, self._dtype, self._alpha = (height, width, channels), dtype, alpha
        self._name, self._row = name, 0
        own_avif = kind == "AVIF" and avif.is_deep()
        self._reduce = dtype == np.uint16 and kind not in _DEEP and not own_avif
        self._flatten = alpha and kind in _OPAQUE
        as_rgb = channels == 1 and (kind == "WEBP" or (kind == "AVIF" and alpha))
        metadata, self.notes = fitted(metadata, kind, height, width, channels, as_rgb=as_rgb)
        self._convert: Callable[[Array], Array] | None = None
        if kind in _WITHOUT_COLOUR:
            self._convert, note = conversion(metadata.colour, kind, channels)
            self.notes = (*self.notes, *(note or ((converted(kind),) if self._linear else ())))
        samples = channels + (alpha and not self._flatten)
        stored = Stored(height, width, samples, 8 * dtype.itemsize, metadata, options, threads)
        self._encoder: _Encoder
        if kind in _DEEP:
            self._encoder = (PngEncoder if kind == "PNG" else TiffEncoder)(file, stored)
        elif own_avif:
            bits = min(metadata.bits or avif.MOST_BITS, avif.MOST_BITS)
            bits = 8 if dtype == np.uint8 else bits + bits % 2
            self._encoder = avif.AvifEncoder(file, replace(stored, bits=bits))
        else:
            self._encoder = PillowEncoder(file, kind, stored)

    def write(self, rows: Array, alpha: Array | None = None) -> None:
        """Add `rows` (h, W, C) and, if the image has it, their `alpha` (h, W)."""
        height, width, channels = self._shape
        if rows.shape[1:] != (width, channels) or rows.dtype != self._dtype or self._row + len(rows) > height:
            raise ValueError(f"rows {rows.shape} of {rows.dtype} do not continue an image {self._shape} at {self._row}")
        if (alpha is not None) != self._alpha or (alpha is not None and alpha.shape != rows.shape[:2]):
            raise ValueError("alpha does not fit the rows or the image")
        self._row += len(rows)
        if self._linear:
            rows = light.encode(rows)
        if self._reduce:
            rows, alpha = to_8_bits(rows), None if alpha is None else to_8_bits(alpha)
        if self._convert is not None:
            rows = self._convert(rows)
        if alpha is not None:
            rows = on_white(rows, alpha) if self._flatten else np.concatenate([rows, alpha[..., None]], axis=2)
        with _sentences(self._name):
            self._encoder.write(rows)

    def _finish(self) -> None:
        if self._row != self._shape[0]:
            raise RuntimeError(f"{self._row} of {self._shape[0]} rows were written")
        self._encoder.finish()


@contextlib.contextmanager
def _sentences(name: str) -> Iterator[None]:
    """Turn what the system or an encoder raises into an `ImageError` of one sentence."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output has gone: nobody to tell
        raise
    except (OSError, struct.error, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no reason given"
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            reason = "its name is too long; choose a shorter one with -o"
        raise ImageError(f"{name} cannot be written: {reason}") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory to write than there is; write PNG or TIFF instead") from error
