"""Pages of a TIFF file, each an image by itself."""

from __future__ import annotations

from typing import BinaryIO

from PIL import TiffImagePlugin

from sharpbit.image.animation.frame import Animation, Drawn, still


class PageWriter:
    """Writes a page behind the other.

    Args:
        file: The file, which can seek and be read.
        animation: What all pages share.
    """

    def __init__(self, file: BinaryIO, animation: Animation) -> None:
        self._animation = animation
        self._pages = TiffImagePlugin.AppendingTiffWriter(file)
        self.notes: tuple[str, ...] = ()

    def add(self, frame: Drawn) -> None:
        """Add a page."""
        shared = self._animation
        data, notes = still("TIFF", frame.pixels, frame.alpha, shared, frame.page or shared.metadata)
        self.notes = tuple(dict.fromkeys((*self.notes, *notes)))
        self._pages.write(data)
        self._pages.newFrame()

    def finish(self) -> None:
        """Nothing is left to be written."""
