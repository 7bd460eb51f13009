"""What is seen of an animation, into which its frames are drawn one after the other."""

from __future__ import annotations

import numpy as np

from sharpbit.image.data import Array, ImageData, Metadata

KEEP, CLEAR, BACK = range(3)  # what happens to a rectangle after its frame was shown


class Canvas:
    """Pixels and alpha, all transparent at first.

    Args:
        height: The height in pixels.
        width: The width in pixels.
        channels: 1 (grey) or 3.
        dtype: The type of samples.
    """

    def __init__(self, height: int, width: int, channels: int, dtype: np.dtype[np.uint8] | np.dtype[np.uint16]) -> None:
        self._pixels = np.zeros((height, width, channels), dtype)
        self._alpha = np.zeros((height, width), dtype)
        self._after = KEEP, slice(0), slice(0), self._pixels[:0, :0], self._alpha[:0, :0]

    def draw(
        self, pixels: Array, alpha: Array | None, top: int, left: int, *, after: int = KEEP, blend: bool = True
    ) -> None:
        """Do what was to happen after the frame before, and draw another; what lies outside is cut off.

        Args:
            pixels: The pixels of its rectangle, `(h, w, C)`; the first that are not grey make all of it RGB.
            alpha: Their alpha `(h, w)`, or None.
            top: The first row of the rectangle.
            left: The first column of the rectangle.
            after: What happens to the rectangle before the next: `KEEP`, `CLEAR` (transparent), or `BACK`.
            blend: Whether it is laid over what is there; else it replaces it, with its alpha.
        """
        self._dispose()
        if pixels.shape[2] < self._pixels.shape[2]:
            pixels = pixels.repeat(3, 2)
        elif pixels.shape[2] > self._pixels.shape[2]:  # the first frame that is not grey
            self._pixels = self._pixels.repeat(3, 2)
        rows, columns = slice(top, top + pixels.shape[0]), slice(left, left + pixels.shape[1])
        under, cover = self._pixels[rows, columns], self._alpha[rows, columns]
        saved = (under.copy(), cover.copy()) if after == BACK else (under[:0], cover[:0])
        self._after = after, rows, columns, *saved
        pixels = pixels[: under.shape[0], : under.shape[1]]
        if alpha is None:
            under[...], cover[...] = pixels, np.iinfo(cover.dtype).max
            return
        alpha = alpha[: under.shape[0], : under.shape[1]]
        if blend:
            pixels, alpha = _over(pixels, alpha, under, cover)
        under[...], cover[...] = pixels, alpha

    def clear(self) -> None:
        """Make all of it transparent, as before the first frame."""
        self._pixels[...], self._alpha[...] = 0, 0
        self._after = KEEP, slice(0), slice(0), self._pixels[:0, :0], self._alpha[:0, :0]

    def seen(self, format: str) -> ImageData:  # noqa: A002
        """What is seen now, as an image that stays as it is; its alpha is None where nothing is transparent."""
        opaque = int(self._alpha.min()) == np.iinfo(self._alpha.dtype).max
        return ImageData(self._pixels.copy(), None if opaque else self._alpha.copy(), Metadata(), (), format)

    def _dispose(self) -> None:
        after, rows, columns, pixels, alpha = self._after
        if after == CLEAR:
            self._pixels[rows, columns], self._alpha[rows, columns] = 0, 0
        elif after == BACK:
            self._pixels[rows, columns], self._alpha[rows, columns] = pixels, alpha


def _over(pixels: Array, alpha: Array, under: Array, cover: Array) -> tuple[Array, Array]:
    """Pixels laid over others (the operator "over" of Porter and Duff, alpha not multiplied in)."""
    most = int(np.iinfo(alpha.dtype).max)
    if not ((alpha > 0) & (alpha < most)).any():  # a mask
        drawn = alpha > 0
        return np.where(drawn[..., None], pixels, under), np.where(drawn, alpha, cover)
    front, behind = alpha / most, cover / most * (1 - alpha / most)
    total = front + behind
    mixed = pixels * front[..., None] + under * behind[..., None]
    mixed /= np.maximum(total, 0.1 / most)[..., None]
    return np.rint(mixed).astype(pixels.dtype), np.rint(total * most).astype(alpha.dtype)
