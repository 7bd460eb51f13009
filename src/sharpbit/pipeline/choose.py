"""Which family of models suits an image: by the quality of its compression, its noise and how flat it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.image import ImageData

Floats = NDArray[np.float32]

PATCH, SIDE = 32, 12  # the sample: at most 12 x 12 patches of 32 x 32 pixels
CELL = 4  # side of the cells that are flat or not


@dataclass(frozen=True)
class Measures:
    """What the sample of an image shows; levels are of 255.

    Attributes:
        noise: The standard deviation of the noise in its smooth parts, in levels.
        flat: The share of its cells in which no pixel differs from another by more than two levels.
        contrast: The median range of the values in the other cells, in levels.
        blocks: How much larger steps between blocks of 8 pixels are than steps inside them.
        sharp: The energy of the finest details, as a share of that of details twice as large.
    """

    noise: float
    flat: float
    contrast: float
    blocks: float
    sharp: float


def sample(image: ImageData) -> Floats:
    """The luma of patches spread evenly over an image, `(N, h, w)` in levels of 255; they begin where blocks begin."""
    pixels = image.pixels
    height, width = pixels.shape[:2]
    side_y, side_x = min(PATCH, height), min(PATCH, width)
    rows, columns = (_starts(size, side) for size, side in ((height, side_y), (width, side_x)))
    patches = np.stack([pixels[y : y + side_y, x : x + side_x] for y in rows for x in columns])
    values: Floats = patches.astype(np.float32)
    values *= 1.0 if np.issubdtype(pixels.dtype, np.uint8) else 255 / (1 if pixels.dtype.kind == "f" else 65535)
    if values.shape[-1] == 1:
        return values[..., 0]
    return values @ np.array([0.299, 0.587, 0.114], np.float32)


def _starts(size: int, side: int) -> list[int]:
    count = max(1, min(SIDE, size // side))
    return [(size - side) * k // max(count - 1, 1) // 8 * 8 for k in range(count)]


def measured(luma: Floats) -> Measures:
    """What a sample shows."""
    steps_x = np.abs(np.diff(luma, axis=2))
    height, width = (size // CELL * CELL for size in luma.shape[1:])
    if not (height and width):
        return Measures(0.0, 0.0, 0.0, 1.0, 1.0)
    cells = luma[:, :height, :width].reshape(len(luma), height // CELL, CELL, width // CELL, CELL)
    ranges = cells.max((2, 4)) - cells.min((2, 4))
    flat = ranges <= 2
    contrast = float(np.median(ranges[~flat])) if not flat.all() else 0.0
    fine = (cells[:, :, ::2, :, ::2] + cells[:, :, 1::2, :, 1::2] - cells[:, :, ::2, :, 1::2] - cells[:, :, 1::2, :, ::2]) / 2
    half = (cells[:, :, ::2] + cells[:, :, 1::2])[..., ::2] + (cells[:, :, ::2] + cells[:, :, 1::2])[..., 1::2]
    half = half / 4
    coarse = (half[:, :, 0, :, 0] + half[:, :, 1, :, 1] - half[:, :, 0, :, 1] - half[:, :, 1, :, 0]) / 2
    sharp = float((fine**2).mean() / max(float((coarse**2).mean()), 1e-3))
    deviation = np.sqrt((fine**2).mean((2, 4)))
    level = cells.mean((2, 4))
    inside = deviation[(level > 12) & (level < 243)]
    noise = float(np.quantile(inside, 0.25)) if inside.size >= 16 else 0.0
    at = np.arange(steps_x.shape[2]) % 8
    edge, rest = steps_x[:, :, at == 7], steps_x[:, :, (at == 3)]
    blocks = float((edge.mean() + 0.1) / (rest.mean() + 0.1)) if edge.size and rest.size else 1.0
    return Measures(noise, float(flat.mean()), contrast, blocks, sharp)
