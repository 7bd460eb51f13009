"""Images that hold several: the frames of an animation, composed, and the pages of a TIFF file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from sharpbit.errors import ImageError
from sharpbit.image import apng_frames, gif_frames
from sharpbit.image.colour import arrays, oriented
from sharpbit.image.data import MAX_PIXELS, PAGED, ImageData, Metadata
from sharpbit.image.metadata import collect
from sharpbit.image.muted_decoder import quiet
from sharpbit.image.read import read
from sharpbit.image.source import Source, name_of, opened, sentences
from sharpbit.image.tiff_pages import count_pages, directories

_COMPOSED = {"GIF": gif_frames.frames, "PNG": apng_frames.frames}  # of WebP, libwebp does it


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
        source: The file: its path, a binary file that can seek, or its bytes.
        name: What messages call it.
        paged: Whether they are pages, each an image by itself.
        count: How many there are that can be read.
        loop: How often an animation is shown, 0 without an end.
        default_image: Whether the first frame is no part of the animation, but what others than its viewers show.
        channels: The channels that all frames have, 1 (grey) or 3.
        alpha: Whether a frame is anywhere transparent.
        notes: What could not be read.
    """

    source: Source
    name: str
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
        for frame in islice(_frames(self.source, self.name, self.paged, max_pixels), self.count):
            yield frame if self.paged else replace(frame, image=self._alike(frame.image))

    def _alike(self, image: ImageData) -> ImageData:
        pixels = image.pixels if image.pixels.shape[2] == self.channels else image.pixels.repeat(3, 2)
        alpha = image.alpha if self.alpha else None
        if self.alpha and alpha is None:
            alpha = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
        return replace(image, pixels=pixels, alpha=alpha)


def open_sequence(source: Source, max_pixels: int = MAX_PIXELS, name: str | None = None) -> Sequence:
    """Look through a file of several frames or pages once.

    Args:
        source: The path of the file, a binary file that can seek, or the bytes.
        max_pixels: The most pixels that a frame may have.
        name: What messages call it; by default its own name.

    Raises:
        ImageError: The first frame cannot be read.
    """
    name = name or name_of(source)
    with opened(source, name, max_pixels) as file, quiet(max_pixels), sentences(name, file, max_pixels):
        image = Image.open(file)
        paged = image.format in PAGED
        total = count_pages(file) if paged else int(getattr(image, "n_frames", 1))
        loop, default_image = _plays(image), bool(image.info.get("default_image", False))
    count, channels, alpha = 0, 1, False
    notes: list[str] = []
    try:
        for frame in _frames(source, name, paged, max_pixels):
            count += 1
            channels = max(channels, frame.image.pixels.shape[2])
            alpha = alpha or (frame.image.alpha is not None and int(frame.image.alpha.min()) < 255)
    except ImageError:
        if count == 0:
            raise
    if count < total:
        notes.append(f"{total - count} of {total} {'pages' if paged else 'frames'} left out (damaged)")
    return Sequence(source, name, paged, count, loop, default_image, channels, alpha, tuple(notes))


def _plays(image: Image.Image) -> int:
    """How often an animation is shown; a GIF file says how often it is repeated, or nothing where it is shown once."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop + 1 if loop else 0
    return int(loop or 0)


def _frames(source: Source, name: str, paged: bool, max_pixels: int) -> Iterator[Frame]:
    if paged:
        with opened(source, name, max_pixels) as file:
            for page in _pages(file):
                yield Frame(read(page, name=name, max_pixels=max_pixels))
        return
    with opened(source, name, max_pixels) as file, quiet(max_pixels), sentences(name, file, max_pixels):
        pil_image = Image.open(file)  # not closed, which would close a file of the caller's
        turn, composed = collect(pil_image, None, [])[1], _COMPOSED.get(pil_image.format or "")
        if composed is not None:
            file.seek(0)
            for image, duration in composed(file, name, max_pixels):
                yield Frame(_turned(image, turn), duration)
            return
        for number in range(int(getattr(pil_image, "n_frames", 1))):
            pil_image.seek(number)
            pil_image.load()
            yield Frame(_seen(pil_image, turn, name), float(pil_image.info.get("duration", 0)))


def _turned(image: ImageData, turn: int) -> ImageData:
    alpha = None if image.alpha is None else oriented(image.alpha, turn)
    return replace(image, pixels=oriented(image.pixels, turn), alpha=alpha)


def _seen(pil_image: ImageFile, turn: int, name: str) -> ImageData:
    """A frame as it is seen; those that are plain RGB need no conversion, and are most of all."""
    plain = pil_image.mode == "RGB" and "transparency" not in pil_image.info
    pixels, alpha = (np.asarray(pil_image), None) if plain else arrays(pil_image, name)[:2]
    return _turned(ImageData(pixels, alpha, Metadata(), (), pil_image.format or ""), turn)


def _pages(file: BinaryIO) -> Iterator[BinaryIO]:
    """A copy of the file that has each of its directories as the first in turn, so that whatever reads a first page
    reads them all. It lies on the disk: decoders would hold a copy of a file in memory for each page.
    """
    with tempfile.TemporaryDirectory(prefix="sharpbit-") as folder, (Path(folder) / "pages.tif").open("w+b") as copy:
        shutil.copyfileobj(file, copy)
        for at, first in directories(copy):
            copy.seek(at)
            copy.write(first)
            copy.flush()
            yield copy
