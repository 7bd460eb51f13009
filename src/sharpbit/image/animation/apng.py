"""APNG: fcTL and fdAT chunks behind the image that every viewer shows (PNG 3, sections 11.3.6 and 13)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import BinaryIO

from sharpbit.image.animation.frame import Animation, Box, Drawn, still
from sharpbit.image.data import Metadata

Chunk = tuple[bytes, bytes]


class ApngWriter:
    """Writes the first frame as an image, and the others as the rectangles that changed.

    Args:
        file: The file.
        animation: What all frames share.
    """

    def __init__(self, file: BinaryIO, animation: Animation) -> None:
        self._file, self._animation = file, animation
        self._frames, self._chunks = 0, 0
        self.notes: tuple[str, ...] = ()

    def add(self, frame: Drawn) -> None:
        """Add a frame."""
        number = self._frames
        self._frames += 1
        if number == 0:
            self._first(frame)
            return
        box = frame.whole if number == 1 and self._animation.default_image else frame.changed
        data, _ = still("PNG", *frame.part(box), self._animation, Metadata())
        self._put([(b"fcTL", self._control(box, frame.duration))])
        for kind, body in _chunks(data):
            if kind == b"IDAT":
                self._put([(b"fdAT", struct.pack(">I", self._next()) + body)])

    def finish(self) -> None:
        """End the file."""
        self._put([(b"IEND", b"")])

    def _first(self, frame: Drawn) -> None:
        shared = self._animation
        data, self.notes = still("PNG", frame.pixels, frame.alpha, shared, shared.metadata)
        chunks = list(_chunks(data))
        place = next(k for k, (kind, _) in enumerate(chunks) if kind == b"IDAT")
        chunks[1:1] = [(b"acTL", struct.pack(">II", shared.count - shared.default_image, shared.loop))]
        if not shared.default_image:
            chunks[place + 1 : place + 1] = [(b"fcTL", self._control(frame.whole, frame.duration))]
        self._file.write(data[:8])
        self._put(chunk for chunk in chunks if chunk[0] != b"IEND")

    def _control(self, box: Box, duration: float) -> bytes:
        top, left, bottom, right = box
        delay = Fraction(duration / 1000).limit_denominator(65535)
        if delay.numerator > 65535:
            delay = Fraction(min(round(duration / 1000), 65535))
        delays = delay.numerator, delay.denominator
        return struct.pack(">IIIIIHHBB", self._next(), right - left, bottom - top, left, top, *delays, 0, 0)

    def _next(self) -> int:
        self._chunks += 1
        return self._chunks - 1

    def _put(self, chunks: Iterable[Chunk]) -> None:
        for kind, body in chunks:
            self._file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


def _chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG file: kind and content."""
    at = 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size
