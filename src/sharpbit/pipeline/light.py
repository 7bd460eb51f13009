"""Linear light is encoded as sRGB for the network, and its results are decoded again.

Networks have learned images whose codes are even steps to the eye. In linear light dark tones lie within a few codes,
and edges ring: a step from 0 to 1 of 255 is as large to the eye as one from 0 to 13 in sRGB.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.image import ImageData, Metadata

Array = NDArray[Any]


def encoded(image: ImageData) -> ImageData:
    """The same image with codes of sRGB, in the same type of samples."""
    return replace(image, pixels=_mapped(image.pixels, _encode), metadata=Metadata())


def decoded(pixels: Array) -> Array:
    """Codes of sRGB as linear light, in the same type of samples."""
    return _mapped(pixels, _decode)


def _mapped(pixels: Array, curve: Any) -> Array:
    if pixels.dtype.kind == "f":
        return np.asarray(curve(pixels), pixels.dtype)
    most = np.iinfo(pixels.dtype).max
    table = np.rint(curve(np.arange(most + 1) / most) * most).astype(pixels.dtype)
    return np.asarray(table[pixels])


def _encode(light: Array) -> Array:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def _decode(code: Array) -> Array:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
