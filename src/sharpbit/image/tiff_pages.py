"""The pages of a TIFF file: where their directories lie."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_MOST = 1 << 16


def directories(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """For each page: the place in the file of the offset of the first directory, and what stands there for this page.

    Args:
        file: The file, which can seek; where it stands afterwards is not defined. Its first offset may be written
            meanwhile.

    Source: TIFF 6.0, section 2; BigTIFF has offsets and counts of 8 bytes.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    at, form, count_form, entry = (8, f"{order}Q", f"{order}Q", 20) if big else (4, f"{order}I", f"{order}H", 12)
    offset, seen = _number(form, head[at:]), set[int]()
    while offset and offset not in seen and len(seen) < _MOST:
        seen.add(offset)
        file.seek(offset)
        count = _number(count_form, file.read(struct.calcsize(count_form)))
        yield at, struct.pack(form, offset)
        if count is None:  # it leads out of the file: a page that cannot be read
            break
        file.seek(offset + struct.calcsize(count_form) + count * entry)
        offset = _number(form, file.read(struct.calcsize(form)))


def count_pages(file: BinaryIO) -> int:
    """How many pages a TIFF file has; the file is left where it was."""
    here = file.tell()
    try:
        return sum(1 for _ in directories(file))
    finally:
        file.seek(here)


def _number(form: str, data: bytes) -> int | None:
    """The number at the start of some bytes; None where they are too few."""
    size = struct.calcsize(form)
    return int(struct.unpack(form, data[:size])[0]) if len(data) >= size else None
