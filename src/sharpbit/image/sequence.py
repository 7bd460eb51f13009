"""Images that hold several: the frames of an animation, composed, and the pages of a TIFF file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from sharpbit.errors import ImageError
from sharpbit.image.colour import arrays, oriented
from sharpbit.image.data import MAX_PIXELS, ImageData, Metadata
from sharpbit.image.metadata import collect
from sharpbit.image.muted_decoder import quiet
from sharpbit.image.read import read
from sharpbit.image.source import sentences

ANIMATED = ("GIF", "PNG", "WEBP")
PAGED = ("TIFF",)
_MOST_PAGES = 1 << 16


@dataclass(frozen=True)
class Frame:
    """One frame of an animation, as it is seen, or one page.

    Attributes:
        image: Its pixels and, of a page, its metadata.
        duration: How long it is shown, in milliseconds.
    """

    image: ImageData
    duration: float = 0.0


@dataclass(frozen=True)
class Sequence:
    """A file of several frames or pages.

    Attributes:
        path: The file.
        paged: Whether they are pages, each an image by itself.
        count: How many there are that can be read.
        loop: How often an animation is shown, 0 without an end.
        default_image: Whether the first frame is no part of the animation, but what others than its viewers show.
        channels: The channels that all frames have, 1 (grey) or 3.
        alpha: Whether a frame is anywhere transparent.
        notes: What could not be read.
    """

    path: Path
    paged: bool
    count: int
    loop: int
    default_image: bool
    channels: int
    alpha: bool
    notes: tuple[str, ...] = ()

    def frames(self, max_pixels: int = MAX_PIXELS) -> Iterator[Frame]:
        """The frames in their order; those of an animation have all the same channels and, if one has it, alpha.

        Args:
            max_pixels: The most pixels that a frame may have.
        """
        for number, frame in enumerate(_frames(self.path, self.paged, max_pixels)):
            if number == self.count:
                break
            yield frame if self.paged else replace(frame, image=self._alike(frame.image))

    def _alike(self, image: ImageData) -> ImageData:
        pixels = image.pixels if image.pixels.shape[2] == self.channels else image.pixels.repeat(3, 2)
        alpha = image.alpha if self.alpha else None
        if self.alpha and alpha is None:
            alpha = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
        return replace(image, pixels=pixels, alpha=alpha)


def holds_sequence(source: str, target: str) -> bool:
    """Whether a file of the format `target` can hold what one of the format `source` does, frame by frame."""
    return (source in ANIMATED and target in ANIMATED) or (source in PAGED and target in PAGED)


def open_sequence(path: Path, max_pixels: int = MAX_PIXELS) -> Sequence:
    """Look through a file of several frames or pages once.

    Raises:
        ImageError: The first frame cannot be read.
    """
    with path.open("rb") as file, quiet(max_pixels), sentences(str(path), file, max_pixels), Image.open(file) as image:
        paged, total = image.format in PAGED, int(getattr(image, "n_frames", 1))
        loop, default_image = _plays(image), bool(image.info.get("default_image", False))
    count, channels, alpha = 0, 1, False
    notes: list[str] = []
    try:
        for frame in _frames(path, paged, max_pixels):
            count += 1
            channels = max(channels, frame.image.pixels.shape[2])
            alpha = alpha or (frame.image.alpha is not None and int(frame.image.alpha.min()) < 255)
    except ImageError:
        if count == 0:
            raise
    if count < total:
        notes.append(f"{total - count} of {total} {'pages' if paged else 'frames'} left out (damaged)")
    return Sequence(path, paged, count, loop, default_image, channels, alpha, tuple(notes))


def _plays(image: Image.Image) -> int:
    """How often an animation is shown; a GIF file says how often it is repeated, or nothing where it is shown once."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop + 1 if loop else 0
    return int(loop or 0)


def _frames(path: Path, paged: bool, max_pixels: int) -> Iterator[Frame]:
    if paged:
        for data in _pages(path.read_bytes()):
            image = read(data, name=str(path), max_pixels=max_pixels)
            yield Frame(replace(image, notes=tuple(note for note in image.notes if not note.startswith("first of"))))
        return
    name = str(path)
    with (
        path.open("rb") as file,
        quiet(max_pixels),
        sentences(name, file, max_pixels),
        Image.open(file) as pil_image,
    ):
        turn = collect(pil_image, None, [])[1]
        for number in range(int(getattr(pil_image, "n_frames", 1))):
            pil_image.seek(number)
            pil_image.load()
            yield Frame(_seen(pil_image, turn, name), float(pil_image.info.get("duration", 0)))


def _seen(pil_image: ImageFile, turn: int, name: str) -> ImageData:
    """A frame as it is seen; those that are plain RGB need no conversion, and are most of all."""
    plain = pil_image.mode == "RGB" and "transparency" not in pil_image.info
    pixels, alpha = (np.asarray(pil_image), None) if plain else arrays(pil_image, name)[:2]
    turned = None if alpha is None else oriented(alpha, turn)
    return ImageData(oriented(pixels, turn), turned, Metadata(), (), pil_image.format or "")


def _pages(data: bytes) -> Iterator[bytes]:
    """The file with each of its directories as the first, so that whatever reads a first page reads them all.

    Source: TIFF 6.0, section 2; BigTIFF has offsets and counts of 8 bytes.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    at, form, count_form, entry = (8, "Q", "Q", 20) if big else (4, "I", "H", 12)
    seen: set[int] = set()
    (offset,) = struct.unpack_from(f"{order}{form}", data, at)
    while offset and offset not in seen and len(seen) < _MOST_PAGES and offset + 8 < len(data):
        seen.add(offset)
        first = struct.pack(f"{order}{form}", offset)
        yield data[:at] + first + data[at + len(first) :]
        (number,) = struct.unpack_from(f"{order}{count_form}", data, offset)
        after = offset + struct.calcsize(count_form) + number * entry
        if after + struct.calcsize(form) > len(data):
            break
        (offset,) = struct.unpack_from(f"{order}{form}", data, after)
