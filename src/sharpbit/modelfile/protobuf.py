"""Protocol buffer messages, of which ONNX files are made: fields and numbers of variable length."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator


def fields(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """The fields of a protocol buffer message: number, all bytes of the field, its content."""
    position = 0
    while position < len(data):
        start = position
        tag, position = varint(data, position)
        match tag & 7:
            case 0:
                end = varint(data, position)[1]
            case 1:
                end = position + 8
            case 2:
                size, position = varint(data, position)
                end = position + size
            case 5:
                end = position + 4
            case _:
                raise ValueError("wire type")
        if tag >> 3 == 0 or end > len(data):
            raise ValueError("field is cut off")
        yield tag >> 3, data[start:end], data[position:end]
        position = end


def varints(data: memoryview) -> list[int]:
    """Packed numbers of variable length."""
    values, position = [], 0
    while position < len(data):
        value, position = varint(data, position)
        values.append(value)
    return values


def varint(data: memoryview, position: int) -> tuple[int, int]:
    """The number of variable length at a position, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("varint")


def message(parts: Iterable[tuple[int, int | float | bytes]]) -> bytes:
    """A protocol buffer message of fields: their numbers, and whole numbers, 32-bit floats, or bytes."""
    found = list[bytes]()
    for number, value in parts:
        if isinstance(value, bytes):
            found += [_varint(number << 3 | 2), _varint(len(value)), value]
        elif isinstance(value, float):
            found += [_varint(number << 3 | 5), struct.pack("<f", value)]
        else:
            found += [_varint(number << 3), _varint(value & (1 << 64) - 1)]
    return b"".join(found)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
