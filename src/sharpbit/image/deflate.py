"""Deflate (RFC 1951) at the levels of `WriteOptions`: ISA-L where speed is asked for, zlib where size is.

ISA-L at its level 2 takes an eighth of the time of zlib at level 3, for files of about the same size.
"""

from __future__ import annotations

import zlib

from isal import isal_zlib

from sharpbit.image.data import Array

FAST = 3  # the last level for which ISA-L works
_ISAL = 2  # its level for them: 1 saves no time, and 3 makes flat images larger
_FLAT = 32  # times that data shrinks from where on zlib does better by a tenth, and is quick as well


def deflated(data: Array, level: int) -> bytes:
    """A piece of a raw deflate stream, which ends at a whole byte and is not the last."""
    if 0 < level <= FAST:
        fast = isal_zlib.compressobj(_ISAL, wbits=-15)
        body = fast.compress(data.data) + fast.flush(zlib.Z_SYNC_FLUSH)
        if len(body) > data.nbytes // _FLAT:
            return body
    small = zlib.compressobj(level, wbits=-15, memLevel=9)
    return small.compress(data.data) + small.flush(zlib.Z_SYNC_FLUSH)


def whole(data: Array, level: int) -> bytes:
    """A whole zlib stream (RFC 1950)."""
    return isal_zlib.compress(data.data, _ISAL) if 0 < level <= FAST else zlib.compress(data.data, level)
