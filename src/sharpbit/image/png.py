"""A PNG encoder that streams (ISO/IEC 15948): strips are filtered and deflated by several threads, in bounded memory.

Pillow holds the whole picture and writes 8 bits; this holds a few strips, and 16 bits stay 16 bits.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

import numpy as np

from sharpbit.image.picture import Array, Metadata
from sharpbit.image.strips import Strips

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of channels
_SUB, _UP, _AVERAGE = 1, 2, 3  # Paeth is left out: 4 times the work for some 3 % at best on photographs


class PngEncoder:
    """Writes rows (h, W, channels) of uint8 or uint16 to `file`, which need not be able to seek."""

    def __init__(
        self,
        file: BinaryIO,
        *,
        height: int,
        width: int,
        channels: int,
        bits: int,
        metadata: Metadata,
        level: int,
        threads: int,
    ) -> None:
        self._file = file
        self._level = level
        self._adler = 1
        self._bytes_per_pixel = channels * bits // 8
        row = np.zeros(width * self._bytes_per_pixel, np.uint8)
        self._strips = Strips(row, threads, self._encode, self._put)
        file.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[channels], 0, 0, 0))
        self._metadata(metadata)
        self._start: bytes = b"\x78\x01" if level < 6 else b"\x78\x9c"  # the header of the zlib stream

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
        deflate = zlib.compressobj(self._level, zlib.DEFLATED, -15, 9)
        body = deflate.compress(lines.data) + deflate.flush(zlib.Z_SYNC_FLUSH)
        return struct.pack(">IQ", zlib.adler32(lines.data), lines.nbytes) + body

    def _put(self, strip: bytes) -> None:
        adler, length = struct.unpack_from(">IQ", strip)
        self._adler = joined_adler(self._adler, adler, length)
        self._chunk(b"IDAT", self._start + strip[12:])
        self._start = b""

    def _metadata(self, metadata: Metadata) -> None:
        if metadata.icc:
            self._chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc))
        if metadata.dpi:
            x, y = (round(value / 0.0254) for value in metadata.dpi)
            self._chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
        if metadata.exif:
            self._chunk(b"eXIf", metadata.exif)
        if metadata.xmp:
            self._chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + kind)
        self._file.write(data)
        self._file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def filtered(rows: Array, above: Array, step: int) -> Array:
    """Scanlines (h, 1 + bytes) of `rows` (h, bytes): each with the filter whose differences are smallest in sum.

    `above` (bytes) is the row before, `step` the bytes per pixel.
    """
    up = np.concatenate([above[None], rows[:-1]])
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    mean = (left & up) + ((left ^ up) >> 1)  # floor of the mean, without overflow
    tried = {_SUB: rows - left, _UP: rows - up, _AVERAGE: rows - mean}
    costs = [np.minimum(lines, -lines).sum(axis=1, dtype=np.uint32) for lines in tried.values()]
    best = np.array(list(tried), np.uint8)[np.argmin(costs, axis=0)]
    out = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    out[:, 0] = best
    for kind, lines in tried.items():
        chosen = best == kind
        out[chosen, 1:] = lines[chosen]
    return out


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


def has_late_metadata(file: BinaryIO) -> bool:
    """Whether a PNG file has EXIF or text behind its pixels, where reading its header does not find them."""
    here = file.tell()
    file.seek(len(SIGNATURE))
    seen = found = False
    while not found and len(head := file.read(8)) == 8:
        seen = seen or head[4:] == b"IDAT"
        found = seen and head[4:] in (b"eXIf", b"zTXt", b"tEXt", b"iTXt")
        file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    file.seek(here)
    return found
