"""Protocol buffer messages, of which ONNX files are made: fields and numbers of variable length."""

from __future__ import annotations

from collections.abc import Iterator


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
