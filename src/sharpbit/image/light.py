"""Linear light and codes of sRGB, which are even steps to the eye (IEC 61966-2-1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sharpbit.image.data import Array


def encode(pixels: Array) -> Array:
    """Linear light as codes of sRGB, in the same type of samples."""
    return _mapped(pixels, _code)


def decode(pixels: Array) -> Array:
    """Codes of sRGB as linear light, in the same type of samples."""
    return _mapped(pixels, _light)


def _mapped(pixels: Array, curve: Callable[[Array], Array]) -> Array:
    if pixels.dtype.kind == "f":
        return np.asarray(curve(pixels), pixels.dtype)
    most = np.iinfo(pixels.dtype).max
    table = np.rint(curve(np.arange(most + 1) / most) * most).astype(pixels.dtype)
    return np.asarray(table[pixels])


def _code(light: Array) -> Array:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def _light(code: Array) -> Array:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
