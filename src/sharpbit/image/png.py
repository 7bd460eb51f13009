"""A PNG encoder that streams (ISO/IEC 15948): strips are filtered and deflated by several threads, in bounded memory.

Pillow holds the whole image and writes 8 bits; this holds a few strips, and 16 bits stay 16 bits.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

import numpy as np
from isal import isal_zlib

from sharpbit.image.data import Array, Metadata
from sharpbit.image.deflate import deflated
from sharpbit.image.encoding import Stored
from sharpbit.image.mark import mark_of
from sharpbit.image.space import png_chunks
from sharpbit.image.strips import Strips

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of channels
_FILTERS = _NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)
_SAMPLE = 24  # one row in so many is tried with every filter
_BLOCK = 1 << 17  # bytes that are filtered at a time, so that what lies between stays in the cache


class PngEncoder:
    """Writes rows (h, W, channels) of uint8 or uint16 to a file, which need not be able to seek.

    Args:
        file: The file.
        stored: What is written.
    """

    def __init__(self, file: BinaryIO, stored: Stored) -> None:
        self._file = file
        self._level = stored.options.compression
        self._adler = 1
        self._bytes_per_pixel = stored.channels * stored.bits // 8
        row = np.zeros(stored.width * self._bytes_per_pixel, np.uint8)
        self._strips = Strips(row, stored.threads, self._encode, self._put)
        file.write(SIGNATURE)
        kind = _COLOUR_TYPES[stored.channels]
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", stored.width, stored.height, stored.bits, kind, 0, 0, 0))
        self._metadata(stored.metadata)
        self._start: bytes = b"\x78\x01" if self._level < 6 else b"\x78\x9c"  # the header of the zlib stream

    def write(self, rows: Array) -> None:
        """Add rows, from top to bottom."""
        if rows.dtype == np.uint16:
            rows = rows.astype(">u2")
        self._strips.push(np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1))

    def finish(self) -> None:
        """Write what is missing at the end."""
        self._strips.finish()
        self._chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", self._adler))  # an empty last block, the checksum
        self._chunk(b"IEND", b"")

    def close(self) -> None:
        """Let go of the threads."""
        self._strips.close()

    def _encode(self, rows: Array, above: Array) -> bytes:
        """The deflated strip, with its checksum and length in front."""
        lines = filtered(rows, above, self._bytes_per_pixel)
        return struct.pack(">IQ", isal_zlib.adler32(lines.data), lines.nbytes) + deflated(lines, self._level)

    def _put(self, strip: bytes) -> None:
        adler, length = struct.unpack_from(">IQ", strip)
        self._adler = joined_adler(self._adler, adler, length)
        self._chunk(b"IDAT", self._start + strip[12:])
        self._start = b""

    def _metadata(self, metadata: Metadata) -> None:
        for kind, data in png_chunks(metadata.colour):
            self._chunk(kind, data)
        if metadata.dpi:
            x, y = (round(value / 0.0254) for value in metadata.dpi)
            self._chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
        if metadata.exif:
            self._chunk(b"eXIf", metadata.exif)
        if metadata.made:
            text = mark_of(metadata.made)
            if text.isascii():
                self._chunk(b"tEXt", b"Software\0" + text.encode())
            else:
                self._chunk(b"iTXt", b"Software\0\0\0\0\0" + text.encode())
        if metadata.xmp:
            self._chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + kind)
        self._file.write(data)
        self._file.write(struct.pack(">I", isal_zlib.crc32(data, zlib.crc32(kind))))


def filtered(rows: Array, above: Array, step: int) -> Array:
    """Scanlines (h, 1 + bytes) of `rows` (h, bytes), all with the filter that makes a sample of them smallest.

    `above` (bytes) is the row before, `step` the bytes per pixel. Trying the deflater itself on a few rows costs less
    than the usual sums of differences on all of them, and chooses better.
    """
    first = len(rows) // 2
    some = rows[first : first + max(1, len(rows) // _SAMPLE)]
    before = rows[first - 1] if first else above
    sizes = [len(isal_zlib.compress(_filter(kind, some, before, step).data, 2)) for kind in _FILTERS]
    return _filter(_FILTERS[sizes.index(min(sizes))], rows, above, step)


def _filter(kind: int, rows: Array, above: Array, step: int) -> Array:
    """Scanlines of `rows` with one filter (ISO/IEC 15948, 9.2)."""
    out = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    out[:, 0] = kind
    high = max(1, _BLOCK // rows.shape[1])
    for top in range(0, len(rows), high):
        before = rows[top - 1] if top else above
        _filter_block(kind, rows[top : top + high], before, step, out[top : top + high, 1:])
    return out


def _filter_block(kind: int, rows: Array, above: Array, step: int, out: Array) -> None:
    """Write the differences of some rows to `out`; all arithmetic is modulo 256."""
    if kind == _NONE:
        out[:] = rows
        return
    up = np.concatenate([above[None], rows[:-1]])
    if kind == _UP:
        np.subtract(rows, up, out=out)
        return
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    if kind == _AVERAGE:
        left = (left & up) + ((left ^ up) >> 1)  # floor of the mean, without overflow
    elif kind == _PAETH:
        corner = np.zeros_like(rows)
        corner[:, step:] = up[:, :-step]
        left = _paeth(left, up, corner)
    np.subtract(rows, left, out=out)


def _paeth(a: Array, b: Array, c: Array) -> Array:
    """Whichever of left `a`, up `b` and corner `c` is nearest to a + b - c, in 8-bit arithmetic alone.

    Where c lies between a and b, the distance of c is the difference of the other two distances, else their sum:
    so c is nearest only there, and only if that difference is less than the smaller of the two.
    """
    to_a = np.maximum(b, c) - np.minimum(b, c)
    to_b = np.maximum(a, c) - np.minimum(a, c)
    smaller = np.minimum(to_a, to_b)
    between = (a < c) ^ (b < c)
    take_c = between & (np.maximum(to_a, to_b) - smaller < smaller)
    best = b ^ ((a ^ b) & _mask(to_a <= to_b))
    return best ^ ((best ^ c) & _mask(take_c))


def _mask(condition: Array) -> Array:
    """255 where true, 0 elsewhere."""
    mask: Array = -condition.view(np.uint8)
    return mask


def joined_adler(first: int, second: int, length: int) -> int:
    """The Adler-32 checksum (RFC 1950) of two pieces of data from those of each; `length` is of the second."""
    base = 65521
    a1, b1, a2, b2 = first & 0xFFFF, first >> 16, second & 0xFFFF, second >> 16
    a = (a1 + a2 - 1) % base
    b = (b1 + b2 + length * (a1 - 1)) % base
    return b << 16 | a


def without(file: BinaryIO, unwanted: tuple[bytes, ...]) -> BinaryIO:
    """A copy, in memory, of a PNG file without the chunks of the given kinds."""
    out = io.BytesIO()
    out.write(SIGNATURE)
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        if head[4:] in unwanted:
            file.seek(length + 4, io.SEEK_CUR)
        else:
            out.write(head + file.read(length + 4))
    out.seek(0)
    return out


def holds(file: BinaryIO, kind: bytes) -> bool:
    """Whether a PNG file has a chunk of a kind."""
    return any(found == kind for found in _kinds(file))


def has_late_metadata(file: BinaryIO) -> bool:
    """Whether a PNG file has EXIF or text behind its pixels, where reading its header does not find them."""
    kinds = iter(_kinds(file))
    return b"IDAT" in kinds and any(kind in (b"eXIf", b"zTXt", b"tEXt", b"iTXt") for kind in kinds)


def _kinds(file: BinaryIO) -> list[bytes]:
    """The kinds of all chunks, in order; the file is left where it was."""
    here, kinds = file.tell(), []
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        kinds.append(head[4:])
        file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    file.seek(here)
    return kinds
