"""AVIF of 8 to 12 bits by the extra `formats`: Pillow has 8 bits and another matrix, and imagecodecs no metadata;
it is added here.

The boxes are those of ISO/IEC 14496-12 and 23008-12, as libavif lays them out.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from sharpbit.image.data import Array
from sharpbit.image.encoding import Stored
from sharpbit.system.extras import loaded

MOST_BITS = 12
_LARGEST_META = 1 << 24
_SRGB = (1, 13, 0, 1)  # of ITU-T H.273; 0 is no matrix
_UNSAID = (2, 2, 0, 1)  # a profile says it
_MATRICES = (1, 5, 6, 9)
_BT709, _BT601 = 1, 6  # to BT.601, libavif converts 8 bits by libyuv, up to 3 of 255 off; to BT.709 by itself


def is_deep() -> bool:
    """Whether more than 8 bits, and colours that are not changed, can be written."""
    return importlib.util.find_spec("imagecodecs") is not None


class AvifEncoder:
    """Gathers rows (h, W, channels) of uint8 or uint16, which are encoded at the end.

    Args:
        file: The file that is written.
        stored: What is written, in 8, 10 or 12 bits.
    """

    def __init__(self, file: BinaryIO, stored: Stored) -> None:
        self._file, self._metadata, self._bits = file, stored.metadata, stored.bits
        kind = np.uint8 if stored.bits == 8 else np.uint16
        self._samples = np.empty((stored.height, stored.width, 4 if stored.channels == 2 else stored.channels), kind)
        self._row = 0
        pixels = "400" if stored.channels == 1 else stored.options.sampling.replace(":", "")
        colour = stored.metadata.colour
        cicp = colour.cicp or (_UNSAID if colour.icc else _SRGB)
        self._options = {
            "level": stored.options.quality,
            "speed": 6,
            "bitspersample": stored.bits,
            "pixelformat": f"yuv{pixels}",
            "primaries": cicp[0],
            "transfer": cicp[1],
            "matrix": cicp[2] if cicp[2] in _MATRICES else _BT709 if stored.bits == 8 else _BT601,
            "numthreads": stored.threads,
        }

    def write(self, rows: Array) -> None:
        """Add rows, from top to bottom."""
        if rows.shape[2] == 2:
            rows = rows[..., [0, 0, 0, 1]]
        if rows.dtype == np.uint16:
            most = (1 << self._bits) - 1
            rows = ((rows.astype(np.uint32) * most + 32767) // 65535).astype(np.uint16)
        self._samples[self._row : self._row + len(rows)] = rows
        self._row += len(rows)

    def finish(self) -> None:
        """Encode and write."""
        codec = loaded("imagecodecs", "writing AVIF")
        samples = self._samples[..., 0] if self._samples.shape[2] == 1 else self._samples
        data = bytes(codec.avif_encode(samples, **self._options))
        icc = None if self._metadata.colour.cicp else self._metadata.colour.icc
        self._file.write(with_blocks(data, self._metadata.exif, self._metadata.xmp, icc))

    def close(self) -> None:
        """Let go of the pixels."""
        self._samples = np.empty((0, 0, 0), np.uint8)


def not_kept(file: BinaryIO) -> list[str]:
    """What an AVIF file holds beside its image that no result has, as notes; the file is left where it was.

    Source: ISO/IEC 23008-12 (boxes of the items and their properties), 21496-1 (gain maps).
    """
    here = file.tell()
    try:
        meta = dict(_boxes(_meta(file)[4:]))
    finally:
        file.seek(here)
    properties = {kind for kind, _ in _boxes(dict(_boxes(meta.get(b"iprp", b""))).get(b"ipco", b""))}
    gains = b"tmap" in meta.get(b"iinf", b"") or b":hdr:gainmap" in meta.get(b"iprp", b"")
    light = "brightness of the mastering display and the light left out"
    return ["gain map left out"] * gains + [light] * bool(properties & {b"mdcv", b"clli"})


def _meta(file: BinaryIO) -> bytes:
    """The body of the box `meta`, which says what lies where; nothing if it is absurdly long."""
    file.seek(0)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">L4s", head)
        room = int.from_bytes(file.read(8), "big") - 16 if length == 1 else length - 8
        if kind == b"meta":
            return file.read(room) if 0 < room <= _LARGEST_META else b""
        if room < 0:
            break
        file.seek(room, 1)
    return b""


def with_blocks(avif: bytes, exif: bytes | None, xmp: bytes | None, icc: bytes | None) -> bytes:
    """An AVIF file, as libavif writes it without metadata, with an EXIF block, an XMP packet and a profile."""
    top = dict(_boxes(avif))
    meta = dict(_boxes(top[b"meta"][4:]))
    (count,) = struct.unpack_from(">H", meta[b"iloc"], 6)
    items = [struct.unpack_from(">HHHLL", meta[b"iloc"], 8 + 14 * number) for number in range(count)]
    entries, links, payload = meta[b"iinf"][6:], meta.get(b"iref", bytes(4))[4:], b""
    blocks = [(b"Exif", b"", bytes(4) + exif)] if exif else []
    blocks += [(b"mime", b"application/rdf+xml\0", xmp)] if xmp else []
    places: list[tuple[int, int, int]] = []
    for kind, more, block in blocks:
        number = count + len(places) + 1
        entries += _box(b"infe", b"\x02\0\0\0" + struct.pack(">HH4s", number, 0, kind) + b"\0" + more)
        links += _box(b"cdsc", struct.pack(">HHH", number, 1, 1))
        places.append((number, len(payload), len(block)))
        payload += block
    properties = dict(_boxes(meta[b"iprp"]))
    if icc:
        number = len(list(_boxes(properties[b"ipco"]))) + 1
        properties[b"ipco"] += _box(b"colr", b"prof" + icc)
        uses = bytearray(properties[b"ipma"])  # full box, number of items; of the first: its number, how many, which
        uses[10] += 1
        uses[11 + uses[10] - 1 : 11 + uses[10] - 1] = bytes([number])
        properties[b"ipma"] = bytes(uses)

    def built(moved: int, behind: int) -> bytes:
        """The box `meta` for pixels that move so far, and blocks behind them at a place in the file."""
        lines = [struct.pack(">HHHLL", *item[:3], item[3] + moved, item[4]) for item in items]
        lines += [struct.pack(">HHHLL", number, 0, 1, behind + at, size) for number, at, size in places]
        parts = meta | {
            b"iloc": meta[b"iloc"][:6] + struct.pack(">H", len(lines)) + b"".join(lines),
            b"iinf": bytes(4) + struct.pack(">H", len(lines)) + entries,
            b"iref": bytes(4) + links,
            b"iprp": b"".join(_box(kind, properties[kind]) for kind in (b"ipco", b"ipma")),
        }
        order = (b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp")
        return _box(b"meta", bytes(4) + b"".join(_box(kind, parts[kind]) for kind in order if parts[kind] != bytes(4)))

    head = _box(b"ftyp", top[b"ftyp"])
    size = len(built(0, 0))
    moved = size - len(_box(b"meta", top[b"meta"]))
    behind = len(head) + size + 8 + len(top[b"mdat"])
    return head + built(moved, behind) + _box(b"mdat", top[b"mdat"] + payload)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes that lie in a row in some bytes: kind and body."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, at)
        yield kind, data[at + 8 : at + (length or len(data) - at)]
        at += max(8, length or len(data))


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L4s", len(body) + 8, kind) + body
