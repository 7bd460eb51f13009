"""The frames of a GIF file as they are seen (GIF89a).

Pillow decodes them, each as a file of its own: composed by it, frames that are cleared show a colour that no browser
shows, and frames that go back to what was before go back to something else.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from sharpbit.image.canvas import BACK, CLEAR, KEEP, Canvas
from sharpbit.image.colour import arrays
from sharpbit.image.data import Array, ImageData, check_size
from sharpbit.image.source import damaged

_AFTER = {2: CLEAR, 3: BACK}


def frames(file: BinaryIO, name: str, max_pixels: int) -> Iterator[tuple[ImageData, float]]:
    """Each frame as it is seen, and for how many milliseconds.

    Args:
        file: The file, at its start.
        name: What messages call it.
        max_pixels: The most pixels that a frame may have.

    Raises:
        ImageError: A frame is damaged.
    """
    data = file.read()
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _palette(flags)
    shared, canvas, control = data[:at], None, bytes(4)
    while at < len(data):
        if data[at : at + 1] == b"!":
            end = _blocks_end(data, at + 2)
            control = data[at + 3 : at + 7] if data[at + 1] == 0xF9 else control
            at = end
        elif data[at : at + 1] == b",":
            if len(data) < at + 11:
                raise damaged(name, "a frame is cut off")
            left, top, wide, high, own = struct.unpack_from("<HHHHB", data, at + 1)
            end = _blocks_end(data, at + 11 + _palette(own))
            flags, delay, transparent = struct.unpack("<BHB", control)
            body = b"," + struct.pack("<HHHHB", 0, 0, wide, high, own) + data[at + 10 : end]
            alone = shared[:6] + struct.pack("<HH", wide, high) + shared[10:]
            if flags & 1:
                alone += b"!\xf9\x04" + struct.pack("<BHB", 1, 0, transparent) + b"\0"
            check_size(name, high, wide, max_pixels)
            pixels, alpha = _decoded(alone + body + b";", name)
            if canvas is None:
                height, width = max(height, top + high), max(width, left + wide)
                check_size(name, height, width, max_pixels)
                canvas = Canvas(height, width, pixels.shape[2], np.dtype(np.uint8))
            canvas.draw(pixels, alpha, top, left, after=_AFTER.get(flags >> 2 & 7, KEEP))
            yield canvas.seen("GIF"), 10.0 * delay
            at, control = end, bytes(4)
        elif data[at : at + 1] == b";":
            break
        else:
            at += 1  # bytes between blocks, which every decoder passes over


def _decoded(data: bytes, name: str) -> tuple[Array, Array | None]:
    with Image.open(io.BytesIO(data), formats=["GIF"]) as image:
        image.load()
        pixels, alpha, _, _ = arrays(image, name)
    return pixels, alpha


def _palette(flags: int) -> int:
    """The length of a palette in bytes, by the flags that announce it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks_end(data: bytes, at: int) -> int:
    """The place behind blocks of data, each with its length in front; the last is empty."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
