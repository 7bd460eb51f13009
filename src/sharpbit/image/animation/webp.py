"""Animated WebP (RFC 9649): each frame a still image in the rectangle that changed.

Pillow's writer holds all frames, compares them again, and joins those that are equal.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from sharpbit.image.animation.frame import Animation, Box, Drawn, still
from sharpbit.image.data import Metadata
from sharpbit.image.fitting import fitted

_PIXELS = (b"ALPH", b"VP8 ", b"VP8L")
_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
_ALPHA, _ANIMATED = 0x10, 0x02
_NOT_BLENDED = 2  # the rectangle replaces what is there
_LONGEST = (1 << 24) - 1  # milliseconds
_EFFORT = 20  # of the lossless encoder, 0 to 100: more takes long and saves little


class WebpWriter:
    """Writes of each frame the rectangle that changed.

    Args:
        file: The file, which can seek.
        animation: What all frames share.
    """

    def __init__(self, file: BinaryIO, animation: Animation) -> None:
        self._file, self._begun = file, False
        quick = replace(animation.options, quality=_EFFORT)
        self._exact = replace(animation, options=replace(quick, lossless=True))
        self._animation = self._exact if animation.options.lossless else animation
        self._behind: list[tuple[bytes, bytes]] = []
        self.notes: tuple[str, ...] = ()

    def add(self, frame: Drawn) -> None:
        """Add a frame."""
        if not self._begun:
            self._header(frame)
            frame = replace(frame, boxes=[frame.whole])
        self._begun = True
        same = not frame.boxes
        box = frame.whole if frame.alpha is not None and not same else _even(frame.changed)
        # a pixel that stays as it is must not be drawn with a loss
        shared = self._exact if same else self._animation
        pixels, alpha = frame.part(box)
        data, _ = still("WEBP", pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels, alpha, shared, Metadata())
        chunks = b"".join(_chunk(kind, body) for kind, body in _chunks(data) if kind in _PIXELS)
        duration = min(round(frame.duration), _LONGEST)
        places = (box[1] // 2, box[0] // 2, box[3] - box[1] - 1, box[2] - box[0] - 1, duration)
        self._file.write(_chunk(b"ANMF", b"".join(map(_three, places)) + bytes([_NOT_BLENDED]) + chunks))

    def finish(self) -> None:
        """Write what follows the frames, and the length of the file."""
        for kind, body in self._behind:
            self._file.write(_chunk(kind, body))
        end = self._file.seek(0, 2)
        self._file.seek(4)
        self._file.write(struct.pack("<I", end - 8))
        self._file.seek(end)

    def _header(self, frame: Drawn) -> None:
        height, width, channels = frame.pixels.shape
        metadata, self.notes = fitted(self._animation.metadata, "WEBP", height, width, channels, as_rgb=channels == 1)
        blocks = {b"ICCP": metadata.icc, b"EXIF": metadata.exif, b"XMP ": metadata.xmp}
        held = {kind: body for kind, body in blocks.items() if body}
        flags = _ANIMATED | sum(_FLAGS[kind] for kind in held) | (0 if frame.alpha is None else _ALPHA)
        self._file.write(b"RIFF\0\0\0\0WEBP")
        self._file.write(_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + _three(width - 1) + _three(height - 1)))
        if b"ICCP" in held:
            self._file.write(_chunk(b"ICCP", held.pop(b"ICCP")))
        self._file.write(_chunk(b"ANIM", bytes(4) + struct.pack("<H", min(self._animation.loop, 65535))))
        self._behind = list(held.items())


def _even(box: Box) -> Box:
    """The rectangle from even coordinates on, as WebP places them."""
    return box[0] // 2 * 2, box[1] // 2 * 2, box[2], box[3]


def _three(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a WebP file: kind and content."""
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
