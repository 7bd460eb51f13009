"""What samples of an image are as numbers: bytes, 16 bits, or floats from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
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
    x = np.clip(to_float(x), 0, 1)
    if np.issubdtype(dtype, np.integer):
        x *= np.iinfo(dtype).max
        np.rint(x, out=x)
    return x.astype(dtype)


def grey(x: Array) -> Array:
    """Luma `(h, w, 1)`, summed pixel by pixel: a matrix product may round by where a pixel lies in its tile."""
    luma = np.asarray(x[..., 0:1] * GREY[0] + x[..., 1:2] * GREY[1] + x[..., 2:3] * GREY[2])
    return np.rint(luma).astype(x.dtype) if x.dtype.kind == "u" else luma
