"""What samples of an image are as numbers: bytes, 16 bits, or floats from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Strip = tuple[Array, Array | None]  # some rows of an image, and their alpha
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma weights of ITU-R BT.601


def to_float(x: Array) -> NDArray[np.float32]:
    """Samples of any type as float32, white being 1."""
    if np.issubdtype(x.dtype, np.integer):
        return x.astype(np.float32) / np.float32(np.iinfo(x.dtype).max)
    return x.astype(np.float32, copy=False)


def to_samples(x: Array, dtype: DTypeLike) -> Array:
    """Samples of any type as those of another, clipped and rounded; bytes that stay bytes are passed on as they are."""
    dtype = np.dtype(dtype)
    if x.dtype == dtype and dtype.kind == "u":
        return x
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return rounded(to_float(x) * np.float32(white), dtype, white)


def rounded(x: NDArray[np.float32], dtype: DTypeLike, white: float) -> Array:
    """Floats whose white is that of `dtype` already, clipped and rounded to it; `x` is used up."""
    np.clip(x, 0, white, out=x)
    return np.rint(x, out=x).astype(dtype) if np.issubdtype(dtype, np.integer) else x.astype(dtype, copy=False)


def grey(x: Array) -> Array:
    """Luma `(h, w, 1)`, summed pixel by pixel: a matrix product may round by where a pixel lies in its tile."""
    luma = np.asarray(x[..., 0:1] * GREY[0] + x[..., 1:2] * GREY[1] + x[..., 2:3] * GREY[2])
    return np.rint(luma).astype(x.dtype) if x.dtype.kind == "u" else luma
