"""EXIF blocks, edited in place: a block keeps every byte except the few that the new pixels make wrong.

An EXIF block is a small TIFF file: a header, then directories of 12-byte entries (TIFF 6.0, section 2; CIPA DC-008).
Rewriting it from parsed values would break the offsets inside makers' notes, hence the patching.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

from sharpbit.image.rounding import half_up

Order = Literal["<", ">"]

ORIENTATION, SOFTWARE, EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x0112, 0x0131, 0x8769, 0x8825, 0xA005
_COLOUR_SPACE, _PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA001, 0xA002, 0xA003
_WIDTH, _LENGTH, _SUBJECT_AREA, _SUBJECT_LOCATION = 0x0100, 0x0101, 0x9214, 0xA214
_FOCAL_PLANE_X, _FOCAL_PLANE_Y = 0xA20E, 0xA20F
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes per value, by type
_PREFIX = b"Exif\0\0"

# What may move between the main directories of an EXIF block and of a TIFF file: words about the image,
# nothing about how its samples are stored.
DESCRIPTIVE = frozenset({0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298})


class Entry(NamedTuple):
    """One entry of a directory: its type, how many values, and where in the block its bytes lie."""

    kind: int
    values: int
    start: int
    stop: int


def strip_prefix(block: bytes) -> bytes:
    """The block without the prefix that JPEG puts in front of it (some programs put it there twice)."""
    while block.startswith(_PREFIX):
        block = block[len(_PREFIX) :]
    return block


def byte_order(block: bytes) -> Order:
    """The `struct` letter of the byte order of a block.

    Raises:
        ValueError: the block does not begin like one.
    """
    if block[:4] == b"II*\0":
        return "<"
    if block[:4] == b"MM\0*":
        return ">"
    raise ValueError("not an EXIF block")


def directory(block: bytes, offset: int) -> dict[int, Entry]:
    """The entries of the directory at `offset`; entries that point out of the block are left out.

    Raises:
        ValueError: there is no directory there.
    """
    order = byte_order(block)
    entries = {}
    try:
        (count,) = struct.unpack_from(order + "H", block, offset)
        for at in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, values, start = struct.unpack_from(order + "HHLL", block, at)
            length = _SIZES.get(kind, 0) * values
            start = at + 8 if length <= 4 else start
            if length and start >= 8 and start + length <= len(block):  # the header is no value
                entries[tag] = Entry(kind, values, start, start + length)
    except struct.error:
        raise ValueError("broken EXIF directory") from None
    return entries


def first_directory(block: bytes) -> dict[int, Entry]:
    """The entries of the main directory. Raises ValueError as `directory` does."""
    order = byte_order(block)
    if len(block) < 8:
        raise ValueError("broken EXIF header")
    return directory(block, struct.unpack_from(order + "L", block, 4)[0])


def _behind(block: bytes, pointer: Entry | None) -> dict[int, Entry]:
    """The entries of the directory that an entry leads to; none if it leads nowhere."""
    offset = integer(block, pointer)
    return directory(block, offset) if offset else {}


def integer(block: bytes, entry: Entry | None) -> int | None:
    """The value of an entry that is one SHORT or LONG, else None."""
    if entry is None or entry.values != 1 or entry.kind not in (3, 4, 13):
        return None
    value: int = struct.unpack_from(byte_order(block) + ("H" if entry.kind == 3 else "L"), block, entry.start)[0]
    return value


def orientation(block: bytes) -> int | None:
    """The orientation (1 to 8) that a block asks for, or None. Raises ValueError for a broken block."""
    value = integer(block, first_directory(block).get(ORIENTATION))
    return value if value is not None and 1 <= value <= 8 else None


def is_adobe_rgb(block: bytes) -> bool:
    """Whether a block says that the pixels are Adobe RGB, as cameras do without a profile (DCF 2.0)."""
    try:
        entries = _behind(block, first_directory(block).get(EXIF_IFD))
        if integer(block, entries.get(_COLOUR_SPACE)) == 2:
            return True
        index = _behind(block, entries.get(INTEROP_IFD)).get(1)
    except ValueError:
        return False
    return index is not None and block[index.start : index.start + 3] == b"R03"


def upright(block: bytes) -> bytes:
    """The block with orientation 1, and without a thumbnail if that was not upright. Raises ValueError."""
    entries = first_directory(block)
    turned = orientation(block) not in (None, 1)
    block = _patch(block, entries.get(ORIENTATION), 1)
    return _without_thumbnail(block) if turned else block


def resized(block: bytes, height: int, width: int, high: float = 1.0, wide: float = 1.0) -> bytes:
    """The block saying, where it says so at all, that the image is `height` x `width`.

    What else counts in pixels follows: the subject's place, and the pixels of each unit of the sensor's plane, which
    become `high` and `wide` times as many. A thumbnail of another shape than the image is unhooked.
    """
    try:
        main = first_directory(block)
        entries = _behind(block, main.get(EXIF_IFD))
    except ValueError:
        return block
    for tag, value in ((_PIXEL_WIDTH, width), (_PIXEL_HEIGHT, height)):
        block = _patch(block, entries.get(tag), value)
    for tag in (_SUBJECT_AREA, _SUBJECT_LOCATION):
        block = _scaled(block, entries.get(tag), (wide, high, wide, high))
    for tag, factor in ((_FOCAL_PLANE_X, wide), (_FOCAL_PLANE_Y, high)):
        block = _scaled(block, entries.get(tag), (factor,))
    for tag, value in ((_WIDTH, width), (_LENGTH, height)):
        block = _patch(block, main.get(tag), value)
    return block if abs(high / wide - 1) < 0.02 else _without_thumbnail(block)


def _scaled(block: bytes, entry: Entry | None, factors: tuple[float, ...]) -> bytes:
    """The block with the values of an entry multiplied: whole numbers, or the numerators of fractions."""
    if entry is None or entry.kind not in (3, 4, 5) or entry.values > len(factors):
        return block
    letters = {3: "H", 4: "L", 5: "LL"}[entry.kind]
    form = byte_order(block) + letters * entry.values
    values = list(struct.unpack_from(form, block, entry.start))
    most = 0xFFFF if entry.kind == 3 else 0xFFFFFFFF
    for number in range(entry.values):
        values[number * len(letters)] = min(half_up(values[number * len(letters)] * factors[number]), most)
    return block[: entry.start] + struct.pack(form, *values) + block[entry.stop :]


def _without_thumbnail(block: bytes) -> bytes:
    """The block whose main directory leads to no other: there hangs the thumbnail."""
    order = byte_order(block)
    (offset,) = struct.unpack_from(order + "L", block, 4)
    (count,) = struct.unpack_from(order + "H", block, offset)
    link = offset + 2 + 12 * count
    return block[:link] + bytes(len(block[link : link + 4])) + block[link + 4 :]


def with_resolution(block: bytes | None, dpi: tuple[float, float]) -> bytes:
    """The block, or one of its own, saying (horizontal, vertical) dots per inch if it did not name a resolution."""
    block, entries = _some(block)
    if _X_RESOLUTION in entries:
        return block
    order = byte_order(block)
    x, y = (struct.pack(order + "LL", round(value * 1000), 1000) for value in dpi)
    inch = struct.pack(order + "H", 2)
    return _with(block, {_X_RESOLUTION: (5, 1, x), _Y_RESOLUTION: (5, 1, y), _RESOLUTION_UNIT: (3, 1, inch)})


def with_software(block: bytes | None, text: str) -> bytes:
    """The block, or one of its own, with `text` as the program that made the image."""
    block, entries = _some(block)
    value, old = text.encode() + b"\0", entries.get(SOFTWARE)
    if old is not None and old.kind == 2 and len(value) <= old.stop - old.start:
        return block[: old.start] + value.ljust(old.stop - old.start, b"\0") + block[old.stop :]
    return _with(block, {SOFTWARE: (2, len(value), value)})


def _some(block: bytes | None) -> tuple[bytes, dict[int, Entry]]:
    """The block and its main directory; an empty one if it is broken or there is none."""
    try:
        return block or b"", first_directory(block or b"")
    except ValueError:
        return b"II*\0\x08\0\0\0\0\0\0\0\0\0", {}


def _with(block: bytes, values: dict[int, tuple[int, int, bytes]]) -> bytes:
    """The block with more values (type, count, bytes) in its main directory, which is written again at the end.

    Everything else stays in its place, so that offsets in makers' notes remain true.
    """
    order = byte_order(block)
    (offset,) = struct.unpack_from(order + "L", block, 4)
    (count,) = struct.unpack_from(order + "H", block, offset)
    lines = {}
    for at in range(offset + 2, offset + 2 + 12 * count, 12):
        lines[struct.unpack_from(order + "H", block, at)[0]] = block[at : at + 12]
    link = block[offset + 2 + 12 * count :][:4].ljust(4, b"\0")
    start = len(block) + len(block) % 2
    behind, tail = start + 2 + 12 * len(lines.keys() | values.keys()) + 4, b""
    for tag, (kind, number, value) in values.items():
        head = struct.pack(order + "HHL", tag, kind, number)
        if len(value) <= 4:
            lines[tag] = head + value.ljust(4, b"\0")
        else:
            lines[tag] = head + struct.pack(order + "L", behind + len(tail))
            tail += value + bytes(len(value) % 2)
    body = b"".join(lines[tag] for tag in sorted(lines))
    moved = block[:4] + struct.pack(order + "L", start) + block[8:].ljust(start - 8, b"\0")
    return moved + struct.pack(order + "H", len(lines)) + body + link + tail


def _patch(block: bytes, entry: Entry | None, value: int) -> bytes:
    """The block with one whole number for another; one that needs 32 bits gets them, in the same place."""
    if integer(block, entry) is None or entry is None:
        return block
    order, start = byte_order(block), entry.start
    if entry.kind == 3 and value > 0xFFFF:
        kind, count = struct.pack(order + "H", 4), block[start - 4 : start]
        return block[: start - 6] + kind + count + struct.pack(order + "L", value) + block[start + 4 :]
    return block[:start] + struct.pack(order + ("H" if entry.kind == 3 else "L"), value) + block[entry.stop :]
