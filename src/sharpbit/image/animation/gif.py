"""GIF, each frame with a palette of its own (GIF89a)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from sharpbit.image.animation.frame import Animation, Drawn
from sharpbit.image.convert import conversion
from sharpbit.image.data import Array
from sharpbit.image.fitting import fitted
from sharpbit.image.mark import mark_of
from sharpbit.image.rounding import half_up

_TIMES = "GIF times frames in hundredths of a second, up to 655"
_SHORTEST = 20  # milliseconds: browsers show what is shorter for 100
_LONGEST = 655350  # milliseconds
_SAMPLE = 1 << 11  # pixels whose colours a frame is reduced to; four times as many take twice as long for no less error


class GifWriter:
    """Writes of each frame the rectangle that changed; what did not in it is transparent.

    Args:
        file: The file.
        animation: What all frames share.
    """

    def __init__(self, file: BinaryIO, animation: Animation) -> None:
        self._file, self._animation, self._begun = file, animation, False
        self._convert: Callable[[Array], Array] | None = None
        self._late = 0.0  # milliseconds by which the frames so far are shown too short
        self.notes: tuple[str, ...] = ()

    def add(self, frame: Drawn) -> None:
        """Add a frame."""
        if not self._begun:
            self._header(*frame.pixels.shape, alpha=frame.alpha is not None)
        if not self._begun or frame.alpha is not None:
            # what becomes transparent cannot be drawn over what is there: each frame is cleared
            frame = replace(frame, boxes=[frame.whole])
        self._begun = True
        duration = self._time(frame.duration)
        top, left, bottom, right = frame.changed
        drawn = np.zeros((bottom - top, right - left), bool)
        for box in frame.boxes:
            drawn[box[0] - top : box[2] - top, box[1] - left : box[3] - left] = True
        part, alpha = frame.part((top, left, bottom, right))
        if alpha is not None:
            drawn &= alpha >= 128
        image, transparent = _palette_image(part if self._convert is None else self._convert(part), drawn)
        options: dict[str, float] = {"duration": duration, "disposal": 1 if alpha is None else 2}
        if transparent is not None:
            options["transparency"] = transparent
        for data in GifImagePlugin.getdata(image, (left, top), include_color_table=True, **options):
            self._file.write(data)

    def finish(self) -> None:
        """End the file."""
        self._file.write(b";")

    def _time(self, duration: float) -> int:
        """The time of a frame in milliseconds, whole hundredths of a second; what rounding takes, the next one gets."""
        if duration % 10 == 0 and duration <= _LONGEST:
            return int(duration)
        if _TIMES not in self.notes:
            self.notes = (*self.notes, _TIMES)
        exact = min(duration + self._late, _LONGEST)
        time = max(10 * half_up(exact / 10), _SHORTEST)
        self._late = max(exact - time, -10.0)
        return time

    def _header(self, height: int, width: int, channels: int, *, alpha: bool) -> None:
        metadata, notes = fitted(self._animation.metadata, "GIF", height, width, channels)
        self._convert, note = conversion(metadata.colour, "GIF", channels)
        one_bit = " and alpha of one bit" if alpha else ""
        self.notes = (f"GIF holds 256 colours a frame{one_bit}", *notes, *note)
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0))
        if self._animation.loop != 1:  # what follows is how often it is repeated, 0 without an end
            loop = struct.pack("<H", min(max(self._animation.loop - 1, 0), 65535))
            self._file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + loop + b"\0")
        if self._animation.metadata.made:
            text = mark_of(self._animation.metadata.made).encode()[:255]
            self._file.write(b"!\xfe" + bytes([len(text)]) + text + b"\0")


def _palette_image(pixels: Array, drawn: NDArray[np.bool_]) -> tuple[Image.Image, int | None]:
    """An image of up to 256 colours, and the number of the one that is transparent, where not all is drawn."""
    rgb = np.ascontiguousarray(pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels)
    if drawn.all():
        return _quantized(Image.fromarray(rgb), 256), None
    indices = np.full(drawn.shape, 255, np.uint8)
    palette: list[int] = []
    if drawn.any():
        strip = _quantized(Image.fromarray(rgb[drawn][None]), 255)
        indices[drawn] = np.asarray(strip)[0]
        palette = (strip.getpalette() or [])[: 3 * 255]
    image = Image.fromarray(indices, "P")
    image.putpalette(palette + [0] * (3 * 256 - len(palette)))
    return image, 255


def _quantized(image: Image.Image, colours: int) -> Image.Image:
    """An image in so many colours, which are those of some of its pixels: of all of them it takes a second a frame."""
    size = image.width * image.height
    if size <= _SAMPLE or image.getcolors(colours) is not None:
        return image.quantize(colours, Image.Quantize.MEDIANCUT)
    pixels = np.asarray(image).reshape(-1, 3)
    some = np.ascontiguousarray(pixels[:: size // _SAMPLE])
    palette = Image.fromarray(some[None]).quantize(colours, Image.Quantize.MEDIANCUT)
    return image.quantize(palette=palette, dither=Image.Dither.NONE)
