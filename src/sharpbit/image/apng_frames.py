"""The frames of an animated PNG file as they are seen (PNG 3, section 13).

Each is read as a file of its own, so that 16 bits stay 16 bits; Pillow composes 8 bits, and mixes what is half
transparent with the wrong weights.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from sharpbit.image.canvas import BACK, CLEAR, KEEP, Canvas
from sharpbit.image.data import ImageData, check_size
from sharpbit.image.png import SIGNATURE
from sharpbit.image.read import read
from sharpbit.image.source import damaged

_AFTER = (KEEP, CLEAR, BACK)


def frames(file: BinaryIO, name: str, max_pixels: int) -> Iterator[tuple[ImageData, float]]:
    """Each frame as it is seen, and for how many milliseconds; an image that is no part of the animation comes first.

    Args:
        file: The file, at its start.
        name: What messages call it.
        max_pixels: The most pixels that a frame may have.

    Raises:
        ImageError: A frame is damaged.
    """
    canvas: Canvas | None = None
    control, first = b"", True
    for head, palette, control, body in _parts(file, name):
        height, width = struct.unpack(">II", head[:8])[::-1]
        wide, high, left, top = struct.unpack_from(">IIII", control, 4) if control else (width, height, 0, 0)
        data = SIGNATURE + _chunk(b"IHDR", struct.pack(">II", wide, high) + head[8:]) + palette
        part = read(data + _chunk(b"IDAT", body) + _chunk(b"IEND", b""), name=name, max_pixels=max_pixels)
        if canvas is None:
            check_size(name, height, width, max_pixels)
            canvas = Canvas(height, width, part.pixels.shape[2], part.pixels.dtype)
        after, blend, delay = _shown(control)
        if first and after == BACK:
            after = CLEAR
        canvas.draw(part.pixels, part.alpha, top, left, after=after, blend=blend)
        yield canvas.seen("PNG"), delay
        if control:
            first = False
        else:
            canvas.clear()


def _shown(control: bytes) -> tuple[int, bool, float]:
    """What happens after a frame, whether it is laid over what is there, and how many milliseconds it is shown."""
    if not control:
        return KEEP, False, 0.0
    number, of, after, blend = struct.unpack_from(">HHBB", control, 20)
    return _AFTER[min(after, 2)], blend == 1, 1000.0 * number / (of or 100)


def _parts(file: BinaryIO, name: str) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Of each image in a file: IHDR, the palette and its transparency as chunks, fcTL (or nothing), and its data."""
    head, palette, control, body = b"", b"", b"", b""
    file.seek(len(SIGNATURE))
    for kind, data in _chunks(file, name):
        if kind == b"IHDR":
            head = data
        elif kind in (b"PLTE", b"tRNS"):
            palette += _chunk(kind, data)
        elif kind == b"IDAT":
            body += data
        elif kind == b"fdAT":
            body += data[4:]
        if kind in (b"fcTL", b"IEND"):
            if body:
                yield head, palette, control, body
            control, body = data, b""
            if kind == b"fcTL" and len(data) != 26:
                raise damaged(name, "a frame has no size")
    if body:
        yield head, palette, control, body


def _chunks(file: BinaryIO, name: str) -> Iterator[tuple[bytes, bytes]]:
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">L4s", start)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"fdAT", b"fcTL", b"IEND"):
            data, check = file.read(length), file.read(4)
            if check != struct.pack(">L", zlib.crc32(kind + data)):
                raise damaged(name, f"broken chunk {kind.decode()}")
            yield kind, data
        else:
            file.seek(length + 4, 1)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
