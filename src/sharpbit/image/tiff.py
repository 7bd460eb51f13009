"""A TIFF encoder that streams (TIFF 6.0, beyond 4 GiB BigTIFF): strips with the horizontal predictor, deflated.

Pillow would hold the whole image, RGB in 8 bits only; OpenImageIO would need a path and lose the EXIF block.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

from sharpbit.image import exif
from sharpbit.image.data import Array
from sharpbit.image.deflate import whole
from sharpbit.image.encoding import Stored
from sharpbit.image.strips import Strips

_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _LONG8 = 1, 3, 4, 5, 7, 16
_LIMIT = 2**32 - 2**24  # offsets of a plain TIFF have 32 bits; what may need more becomes a BigTIFF
Value = tuple[int, int, bytes | dict[int, "Value"]]  # type, count, the bytes or a directory of its own


def _temporary() -> BinaryIO:
    import tempfile

    return tempfile.TemporaryFile()


class TiffEncoder:
    """Writes rows (h, W, channels) of uint8 or uint16 to a file, which need not be able to seek.

    Args:
        file: The file.
        stored: What is written.
    """

    def __init__(self, file: BinaryIO, stored: Stored) -> None:
        self._target = file
        self._file = file if file.seekable() else _temporary()
        self._base = self._file.tell()
        self._big = stored.height * stored.width * stored.channels * stored.bits // 8 > _LIMIT
        self._size, self._level = 16 if self._big else 8, stored.options.compression
        self._order: exif.Order = exif.byte_order(stored.metadata.exif) if stored.metadata.exif else "<"
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        row = np.zeros((stored.width, stored.channels), np.dtype(f"u{stored.bits // 8}"))
        self._strips = Strips(row, stored.threads, self._encode, self._put)
        self._tags = self._describe(stored)
        number = struct.pack(self._order + "H", 43 if self._big else 42)
        start = {"<": b"II", ">": b"MM"}[self._order] + number
        self._file.write(start + (struct.pack(self._order + "HH", 8, 0) + bytes(8) if self._big else bytes(4)))

    def write(self, rows: Array) -> None:
        """Add rows, from top to bottom."""
        self._strips.push(rows)

    def finish(self) -> None:
        """Write the directory behind the strips, and its place in front of them."""
        self._strips.finish()
        order, count = self._order, len(self._offsets)
        kind, letter = (_LONG8, "Q") if self._big else (_LONG, "L")
        self._tags[273] = (kind, count, struct.pack(f"{order}{count}{letter}", *self._offsets))
        self._tags[279] = (kind, count, struct.pack(f"{order}{count}{letter}", *self._lengths))
        self._file.write(packed(order, self._tags, self._size, big=self._big))
        end = self._file.tell()
        self._file.seek(self._base + (8 if self._big else 4))
        self._file.write(struct.pack(order + letter, self._size))
        self._file.seek(end)
        if self._file is not self._target:
            self._file.seek(0)
            import shutil

            shutil.copyfileobj(self._file, self._target)

    def close(self) -> None:
        """Let go of the threads and of the temporary file."""
        self._strips.close()
        if self._file is not self._target:
            self._file.close()

    def _encode(self, rows: Array, above: Array) -> bytes:
        steps = rows.copy()
        steps[:, 1:] -= rows[:, :-1]
        return whole(steps.astype(steps.dtype.newbyteorder(self._order), copy=False), self._level)

    def _put(self, strip: bytes) -> None:
        self._offsets.append(self._size)
        self._lengths.append(len(strip))
        self._file.write(strip + bytes(len(strip) % 2))
        self._size += len(strip) + len(strip) % 2

    def _describe(self, stored: Stored) -> dict[int, Value]:
        order, channels, metadata = self._order, stored.channels, stored.metadata
        colours = 3 if channels >= 3 else 1

        def short(*values: int) -> Value:
            return _SHORT, len(values), struct.pack(f"{order}{len(values)}H", *values)

        def long(value: int) -> Value:
            return _LONG, 1, struct.pack(order + "L", value)

        tags = _descriptions(metadata.exif) if metadata.exif else {}
        tags |= {
            256: long(stored.width),
            257: long(stored.height),
            258: short(*[stored.bits] * channels),
            259: short(8),  # deflate
            262: short(2 if colours == 3 else 1),
            274: short(1),
            277: short(channels),
            278: long(self._strips.height),
            284: short(1),
            317: short(2),  # horizontal differences
            339: short(*[1] * channels),
        }
        if channels > colours:
            tags[338] = short(2)  # alpha that is not multiplied into the colours
        if metadata.dpi:
            for tag, value in zip((282, 283), metadata.dpi, strict=True):
                tags[tag] = (_RATIONAL, 1, struct.pack(order + "LL", round(value * 1000), 1000))
            tags[296] = short(2)  # per inch
        if metadata.xmp:
            tags[700] = (_BYTE, len(metadata.xmp), metadata.xmp)
        if metadata.icc:
            tags[34675] = (_UNDEFINED, len(metadata.icc), metadata.icc)
        return tags


def packed(order: str, tags: dict[int, Value], offset: int, *, big: bool = False) -> bytes:
    """The bytes of a directory that will stand at `offset`, its values and inner directories behind it.

    Args:
        order: `<` or `>`, the byte order.
        tags: The values by tag.
        offset: The place of the directory in the file, in bytes.
        big: Whether the file is a BigTIFF, whose counts and offsets have 64 bits.
    """
    number, room, letter = ("Q", 8, "Q") if big else ("H", 4, "L")
    behind = offset + struct.calcsize(order + number) + (4 + 2 * room) * len(tags) + room
    head, tail = struct.pack(order + number, len(tags)), b""
    for tag, (kind, count, value) in sorted(tags.items()):
        kind = _LONG8 if big and isinstance(value, dict) else kind
        head += struct.pack(order + "HH" + letter, tag, kind, count)
        if isinstance(value, dict):
            value = packed(order, value, behind + len(tail), big=big)
        elif len(value) <= room:
            head += value.ljust(room, b"\0")
            continue
        head += struct.pack(order + letter, behind + len(tail))
        tail += value + bytes(len(value) % 2)
    return head + bytes(room) + tail


def _descriptions(block: bytes) -> dict[int, Value]:
    """What of an EXIF block belongs in a TIFF file, in the block's own byte order."""
    main = exif.first_directory(block)
    tags = {tag: _value(block, entry) for tag, entry in main.items() if tag in exif.DESCRIPTIVE}
    for tag in (exif.EXIF_IFD, exif.GPS_IFD):
        inner = _inner(block, main.get(tag))
        if inner:
            tags[tag] = (_LONG, 1, inner)
    return tags


def _inner(block: bytes, pointer: exif.Entry | None) -> dict[int, Value]:
    offset = exif.integer(block, pointer)
    if not offset:
        return {}
    try:
        entries = exif.directory(block, offset)
    except ValueError:
        return {}
    return {tag: _value(block, entry) for tag, entry in entries.items() if tag != exif.INTEROP_IFD}


def _value(block: bytes, entry: exif.Entry) -> Value:
    return entry.kind, entry.values, block[entry.start : entry.stop]
