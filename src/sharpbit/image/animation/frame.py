"""What the writers of animations and pages take: what all frames of a file share, and one frame."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np

from sharpbit.image.data import Array, Metadata
from sharpbit.image.encoding import WriteOptions
from sharpbit.image.write import open_writer

Box = tuple[int, int, int, int]  # top, left, bottom, right


@dataclass(frozen=True)
class Animation:
    """What all frames of a file share.

    Attributes:
        count: The number of frames.
        loop: How often they are shown, 0 without an end.
        default_image: Whether the first is no part of the animation.
        metadata: The metadata of the file.
        options: The compression.
        threads: The number of threads that compress.
    """

    count: int
    loop: int
    default_image: bool
    metadata: Metadata
    options: WriteOptions
    threads: int


@dataclass(frozen=True)
class Drawn:
    """A frame of a result, or a page.

    Attributes:
        pixels: All of its pixels `(H, W, C)`; the next frame may be drawn into the same array.
        alpha: Its alpha `(H, W)`, or None.
        boxes: The rectangles in which it differs from the frame before, in pixels.
        duration: The time for which it is shown, in milliseconds.
        page: The metadata of a page; None takes those of the file.
    """

    pixels: Array
    alpha: Array | None
    boxes: Sequence[Box]
    duration: float = 0.0
    page: Metadata | None = None

    @property
    def whole(self) -> Box:
        """The rectangle of the whole frame."""
        height, width = self.pixels.shape[:2]
        return 0, 0, height, width

    @property
    def changed(self) -> Box:
        """The rectangle around all that differs; a single pixel where nothing does, since formats want something."""
        if not self.boxes:
            return 0, 0, 1, 1
        top, left, bottom, right = zip(*self.boxes, strict=True)
        return min(top), min(left), max(bottom), max(right)

    def part(self, box: Box) -> tuple[Array, Array | None]:
        """The pixels and the alpha in a rectangle."""
        rows, columns = slice(box[0], box[2]), slice(box[1], box[3])
        return self.pixels[rows, columns], None if self.alpha is None else self.alpha[rows, columns]


class FrameWriter(Protocol):
    """Takes the frames of one file."""

    notes: tuple[str, ...]

    def __init__(self, file: BinaryIO, animation: Animation) -> None: ...

    def add(self, frame: Drawn) -> None:
        """Add a frame, of which nothing is kept."""

    def finish(self) -> None:
        """Write what is left to be written."""


def still(
    format: str,  # noqa: A002
    pixels: Array,
    alpha: Array | None,
    shared: Animation,
    metadata: Metadata,
) -> tuple[bytes, tuple[str, ...]]:
    """An image as the bytes of a file, and what of its metadata could not be kept."""
    out = io.BytesIO()
    height, width, channels = pixels.shape
    with open_writer(
        out,
        format,
        height=height,
        width=width,
        channels=channels,
        alpha=alpha is not None,
        dtype=pixels.dtype,
        metadata=metadata,
        options=shared.options,
        threads=shared.threads,
    ) as writer:
        writer.write(np.ascontiguousarray(pixels), None if alpha is None else np.ascontiguousarray(alpha))
    return out.getvalue(), writer.notes
