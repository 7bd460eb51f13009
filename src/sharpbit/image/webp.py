"""What Pillow does not say of a WebP file."""

from __future__ import annotations

import struct
from typing import BinaryIO

_MOST_CHUNKS = 64


def is_lossless(file: BinaryIO) -> bool:
    """Whether a WebP file keeps every pixel: its (first) image is a chunk VP8L.

    Args:
        file: The file, which can seek; where it stands afterwards is not defined.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    at = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return False
        kind, size = head[:4], struct.unpack("<I", head[4:])[0]
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
        at += 8 + 16 if kind == b"ANMF" else 8 + size + size % 2  # a frame holds the chunks of its image
    return False
