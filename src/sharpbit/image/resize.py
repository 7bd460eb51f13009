"""Bicubic resizing that agrees with MATLAB's `imresize` (cubic a = -0.5, widened when shrinking, mirrored edges).

This is how the low-resolution images of every benchmark are made, so a PSNR is comparable only with exactly this.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)

_BAND = 16  # samples made by one matrix product of `shrink`: few enough that little of the matrix is zero


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


def resize(x: NDArray[Float], height: int, width: int, *, scale: float | None = None) -> NDArray[Float]:
    """Resize a float image `(H, W, ...)` to `(height, width, ...)`; values may overshoot, nothing is rounded.

    Args:
        x: The image, of float32 or float64; the work is done in that type.
        height: The number of rows of the result.
        width: The number of columns of the result.
        scale: The factor of both sides, where `height / H` is not exactly what was asked for.
    """
    return resize_rows(lambda rows: x[rows], x.shape[:2], (height, width), slice(0, height), scale=scale)


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
    index, weight = taps(size[0], target[0], scale)
    index, weight = index[rows], weight[rows]
    low, high = int(index.min()), int(index.max()) + 1
    x, index = source(slice(low, high)), index - low
    if target[0] * size[1] <= target[1] * size[0]:  # the side that shrinks more goes first; rows on a tie
        return _columns(_rows(x, index, weight), target[1], scale)
    return _rows(_columns(x, target[1], scale), index, weight)


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
    x = pil_image.astype(np.float64).reshape(pil_image.shape[0], -1)
    x = _mixed(x, height, 1 / scale).reshape(height, *pil_image.shape[1:])
    return np.rint(np.clip(_mixed(x, width, 1 / scale), 0, 255)).astype(np.uint8)


def _mixed(x: NDArray[np.float64], target: int, scale: float) -> NDArray[np.float64]:
    """`(..., size, n)` resized to `(..., target, n)`: the same sums as `_rows`, as a few small matrix products."""
    out = np.empty((*x.shape[:-2], target, x.shape[-1]))
    for made, needed, weights in _bands(x.shape[-2], target, scale):
        np.matmul(weights, x[..., needed, :], out=out[..., made, :])
    return out


@functools.lru_cache(maxsize=64)
def _bands(size: int, target: int, scale: float) -> list[tuple[slice, slice, NDArray[np.float64]]]:
    """`taps` as dense matrices: which samples they make, of which samples, and the weights between them."""
    index, weight = taps(size, target, scale)
    bands = []
    for first in range(0, target, _BAND):
        index_here, weight_here = index[first : first + _BAND], weight[first : first + _BAND]
        low, high = int(index_here.min()), int(index_here.max()) + 1
        matrix = np.zeros((len(index_here), high - low))
        np.add.at(matrix, (np.arange(len(index_here))[:, None], index_here - low), weight_here)
        bands.append((slice(first, first + len(index_here)), slice(low, high), matrix))
    return bands


def _rows(x: NDArray[Float], index: NDArray[np.intp], weight: NDArray[np.float64]) -> NDArray[Float]:
    out = np.zeros((len(index), *x.shape[1:]), x.dtype)
    shape = (-1,) + (1,) * (x.ndim - 1)
    for k in range(index.shape[1]):
        out += weight[:, k].astype(x.dtype).reshape(shape) * x[index[:, k]]
    return out


def _columns(x: NDArray[Float], width: int, scale: float | None) -> NDArray[Float]:
    index, weight = taps(x.shape[1], width, scale)
    return np.ascontiguousarray(np.swapaxes(_rows(np.swapaxes(x, 0, 1), index, weight), 0, 1))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic convolution kernel of Keys (1981) with a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
