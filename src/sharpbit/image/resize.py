"""Bicubic resizing that agrees with MATLAB's `imresize` (cubic a = -0.5, widened when shrinking, mirrored edges).

This is how the low-resolution images of every benchmark are made, so a PSNR is comparable only with exactly this.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)

_ROWS, _COLUMNS = 8, 16  # samples made by one matrix product: few enough that little of the matrix is zero
_BLOCK = 64  # rows of a result that are made at a time, so that what lies between stays in the cache


@functools.lru_cache(maxsize=64)
def taps(size: int, target: int, scale: float | None = None) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Which input samples make each output sample, and with what weight.

    Args:
        size: The number of samples that go in.
        target: The number of samples that come out.
        scale: The output samples for each input sample; by default `target / size` (MATLAB keeps the factor that was
            asked for instead).

    Returns:
        indices and weights, each `(target, taps)`; every row of weights sums to 1.
    """
    scale = scale or target / size
    stretch = min(scale, 1.0)
    support = 4.0 / stretch
    centre = (np.arange(1, target + 1) / scale) + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - support / 2)
    index = first[:, None] + np.arange(int(np.ceil(support)) + 2)
    weight = stretch * _cubic(stretch * (centre[:, None] - index))
    weight /= weight.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(size), np.arange(size)[::-1]])
    index = mirror[(index - 1).astype(np.intp) % (2 * size)]
    used = np.any(weight != 0, axis=0)
    index, weight = index[:, used], weight[:, used]
    index.setflags(write=False)
    weight.setflags(write=False)
    return index, weight


@functools.lru_cache(maxsize=16)
def windows(size: int, target: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """`taps` as neighbours: for each output sample the first input sample, and the weights `(target, taps)` from there.

    Args:
        size: The number of samples that go in.
        target: The number of samples that come out.
    """
    index, weight = taps(size, target)
    low = index.min(axis=1)
    count = int((index.max(axis=1) - low).max()) + 1
    first = np.minimum(low, size - count)
    dense = np.zeros((target, count))
    np.add.at(dense, (np.arange(target)[:, None], index - first[:, None]), weight)  # what is mirrored counts twice
    return np.ascontiguousarray(first, np.int32), np.ascontiguousarray(dense, np.float32)


def resize(x: NDArray[Float], height: int, width: int, *, scale: float | None = None) -> NDArray[Float]:
    """Resize a float image `(H, W, ...)` to `(height, width, ...)`; values may overshoot, nothing is rounded.

    Args:
        x: The image, of float32 or float64; the work is done in that type.
        height: The number of rows of the result.
        width: The number of columns of the result.
        scale: The factor of both sides, where `height / H` is not exactly what was asked for.
    """
    out = np.empty((height, width, *x.shape[2:]), x.dtype)
    for top in range(0, height, _BLOCK):
        rows = slice(top, min(height, top + _BLOCK))
        out[rows] = resize_rows(lambda part: x[part], x.shape[:2], (height, width), rows, scale=scale)
    return out


def resize_rows(
    source: Callable[[slice], NDArray[Float]],
    size: tuple[int, ...],
    target: tuple[int, int],
    rows: slice,
    *,
    scale: float | None = None,
) -> NDArray[Float]:
    """Some rows of a resized image, for images that are too large to be resized at once.

    Args:
        source: A function that gives the rows of a slice of the image as `(h, W, ...)` float; asked once, for what is
            needed.
        size: The height and the width of the image.
        target: The height and the width of the result.
        rows: The rows of the result that are made.
        scale: The factor of both sides, as in `resize`.
    """
    bands = _bands(size[0], target[0], scale, _ROWS)[rows.start // _ROWS : -(-rows.stop // _ROWS)]
    low, high = min(band.needed.start for band in bands), max(band.needed.stop for band in bands)
    x = source(slice(low, high))
    shape = x.shape[2:]
    x = x.reshape(len(x), -1)
    if scale or target[0] * size[1] <= target[1] * size[0]:  # the side that shrinks more goes first; rows on a tie
        x = _columns(_rows(x, bands, low), size[1], target[1], scale)
    else:
        x = _rows(_columns(x, size[1], target[1], scale), bands, low)
    first = bands[0].made.start
    return x[rows.start - first : rows.stop - first].reshape(-1, target[1], *shape)


def upscale(x: NDArray[Float], scale: int) -> NDArray[Float]:
    """`resize` of a float image `(H, W)` by a whole factor, alike to the bit wherever a tile of it begins.

    A whole factor needs the same few weights at every pixel, so none depends on the place.
    """
    index, weight = taps(8, 8 * scale)
    middle = slice(4 * scale, 5 * scale)
    for _ in range(2):  # rows, then columns
        padded = np.pad(x, ((4, 4), (0, 0)), mode="symmetric")
        out = np.zeros((len(x), scale, x.shape[1]), x.dtype)
        for phase, (places, weights) in enumerate(zip(index[middle], weight[middle], strict=True)):
            for place, part in zip(places, weights, strict=True):
                out[:, phase] += x.dtype.type(part) * padded[place : place + len(x)]
        x = out.reshape(-1, x.shape[1]).T
    return np.ascontiguousarray(x)


def shrink(pil_image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """The low-resolution image of a benchmark: `image` `(H, W, C)` made `scale` times smaller, rounded once.

    Source: `imresize` of the double image, then 8 bits, as in the data of BasicSR (specs of ETDS, section 5).
    """
    height, width = -(-pil_image.shape[0] // scale), -(-pil_image.shape[1] // scale)
    x = resize(pil_image.astype(np.float64), height, width, scale=1 / scale)
    return np.rint(np.clip(x, 0, 255, out=x)).astype(np.uint8)


@dataclass(frozen=True)
class _Band:
    """Some samples that are made, the samples that they are made of, and the weights between them, a dense matrix."""

    made: slice
    needed: slice
    weights: NDArray[np.float64]


@functools.lru_cache(maxsize=16)
def _bands(size: int, target: int, scale: float | None, height: int) -> list[_Band]:
    """`taps` as matrices for `height` samples each."""
    index, weight = taps(size, target, scale)
    bands = []
    for first in range(0, target, height):
        index_here, weight_here = index[first : first + height], weight[first : first + height]
        low, high = int(index_here.min()), int(index_here.max()) + 1
        matrix = np.zeros((len(index_here), high - low))
        np.add.at(matrix, (np.arange(len(index_here))[:, None], index_here - low), weight_here)
        bands.append(_Band(slice(first, first + len(index_here)), slice(low, high), matrix))
    return bands


def _rows(x: NDArray[Float], bands: list[_Band], low: int) -> NDArray[Float]:
    """The rows of some bands, from the rows `(h, n)` of the image that begin with the row `low`."""
    first = bands[0].made.start
    out = np.empty((bands[-1].made.stop - first, x.shape[1]), x.dtype)
    for band in bands:
        needed = x[band.needed.start - low : band.needed.stop - low]
        np.matmul(band.weights.astype(x.dtype), needed, out=out[band.made.start - first : band.made.stop - first])
    return out


def _columns(x: NDArray[Float], size: int, target: int, scale: float | None) -> NDArray[Float]:
    """All columns of some rows `(h, size * channels)`."""
    channels = x.shape[1] // size
    out = np.empty((len(x), target * channels), x.dtype)
    for band, weights in _column_bands(size, target, scale, channels, x.dtype.char):
        made, needed = (slice(part.start * channels, part.stop * channels) for part in (band.made, band.needed))
        np.matmul(x[:, needed], weights, out=out[:, made])
    return out


@functools.lru_cache(maxsize=4)
def _column_bands(
    size: int, target: int, scale: float | None, channels: int, kind: str
) -> list[tuple[_Band, NDArray[Any]]]:
    """Bands with their matrices turned, and spread over the channels that lie beside each other in a row."""
    apart = np.eye(channels)
    return [
        (band, np.ascontiguousarray(np.kron(band.weights, apart).T, kind))
        for band in _bands(size, target, scale, _COLUMNS)
    ]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic convolution kernel of Keys (1981) with a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
