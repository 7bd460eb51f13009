"""What comes out of a network in strips, brought by bicubic to the size that was asked for, in strips again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from sharpbit.image import ImageData
from sharpbit.image.resize import resize_rows, windows
from sharpbit.pipeline.chain import Chain
from sharpbit.pipeline.samples import Array, Strip, rounded, to_float, to_samples
from sharpbit.runtime import Tensor, native

BAND = 64  # rows that numpy resizes at a time, so that what lies between stays in the cache
AT_ONCE = 1 << 21  # pixels of the result that the engine makes at a time


def sized(strips: Iterable[Strip], image: ImageData, chain: Chain) -> Iterator[Strip]:
    """The strips of the last network of a chain, which `image` went through, brought to the size of the result."""
    if not chain.resized:
        return iter(strips)
    scale = chain.scales[-1] if chain.scales else 1
    size = image.pixels.shape[0] * scale, image.pixels.shape[1] * scale
    return _resized(strips, image, chain.height, chain.width, size)


def _resized(
    strips: Iterable[Strip], image: ImageData, height: int, width: int, size: tuple[int, int]
) -> Iterator[Strip]:
    """`strips` of an image of `size`, brought to another size by bicubic. Alpha weighs the colours."""
    window = _Window(iter(strips))
    target = (height, width)
    dtype, channels = image.pixels.dtype, image.pixels.shape[2]
    most = np.iinfo(dtype).max if dtype.kind == "u" else 1
    opaque = image.alpha is None or bool((image.alpha == most).all())  # then nothing weighs, nothing rounds
    engine = opaque and channels == 3 and dtype == np.uint8 and native.can_resize()
    band = AT_ONCE // width if engine else BAND * height // max(height, size[0])
    band = max(8, band // 8 * 8)
    for top in range(0, height, band):
        rows = slice(top, min(height, top + band))
        if opaque:
            if engine:
                colour = _by_engine(window, size, target, rows)
            else:
                colour = resize_rows(lambda part: window(part)[0].astype(np.float32), size, target, rows)
                colour = rounded(colour, dtype, most)
            yield colour, None if image.alpha is None else np.full(colour.shape[:2], most, dtype)
            continue
        cover = resize_rows(lambda part: to_float(window(part)[1]), size, target, rows)
        covered = resize_rows(lambda part: _covered(*window(part)), size, target, rows)
        yield to_samples(covered[..., :-1] / covered[..., -1:], dtype), to_samples(cover, dtype)
    window.finish()


def _by_engine(window: _Window, size: tuple[int, int], target: tuple[int, int], rows: slice) -> Array:
    """Some rows of RGB bytes by the native engine, in a third of the time of numpy."""
    (first, weights), columns = windows(size[0], target[0]), windows(size[1], target[1])
    first, weights = first[rows], weights[rows]
    low, high = int(first.min()), int(first.max()) + weights.shape[1]
    return native.resize(np.ascontiguousarray(window(slice(low, high))[0]), (first - low, weights), columns)


class _Window:
    """Some consecutive rows of an image that comes in strips; both ends of what is asked for only move down."""

    def __init__(self, strips: Iterator[Strip]) -> None:
        self._strips = strips
        self._held: deque[tuple[int, Strip]] = deque()
        self._end = 0

    def __call__(self, rows: slice) -> tuple[Array, Array]:
        """The pixels and alpha of `rows`; alpha is empty if there is none."""
        while self._end < rows.stop:
            strip = next(self._strips)
            self._held.append((self._end, strip))
            self._end += len(strip[0])
        while self._held[0][0] + len(self._held[0][1][0]) <= rows.start:
            self._held.popleft()
        parts = [(slice(max(0, rows.start - first), rows.stop - first), strip) for first, strip in self._held]
        covers = [cover[part] for part, (_, cover) in parts if cover is not None]
        return _joined([pixels[part] for part, (pixels, _) in parts]), _joined(covers) if covers else np.empty(0)

    def finish(self) -> None:
        """Take the strips that nobody asked for, so that whatever makes them comes to its end."""
        for _ in self._strips:
            pass


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _covered(pixels: Array, alpha: Array) -> Tensor:
    """Colours multiplied by their weight, and the weight: alpha, or a quarter where it is less.

    What is hardly seen has a colour of its surroundings (see `fill`); without a weight, the negative lobes of bicubic
    would leave nothing to divide by.
    """
    weight = np.maximum(to_float(alpha), np.float32(0.25))[..., None]
    return np.concatenate([to_float(pixels) * weight, weight], axis=2)
