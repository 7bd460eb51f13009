"""Which family of models suits an image: by its compression, its noise, its sharpness and how flat it is.

`clean` undoes a reduction and nothing else, `photo` is for what has been compressed, is noisy or soft, `art` for
drawings, screenshots and text. The limits come from `research/training/choice.py`, which tries all families on training
images that were degraded in many ways.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharpbit.image import Choice, ImageData

Floats = NDArray[np.float32]

PATCH, PATCHES = 32, 8  # the sample: at most 8 x 8 patches of 32 x 32 pixels
FLAT_CELL, NOISE_CELL = 4, 8
FLAT, PEAK, CONTRAST = 0.7, 0.25, 10.0  # more than these for `art`: one of the first two, and the last
QUALITY, BLOCKS, NOISE, SHARP = 88, 1.24, 1.1, 0.24  # `photo` where one of them is passed


@dataclass(frozen=True)
class Measures:
    """What the sample of an image shows; levels are of 255.

    Attributes:
        noise: The standard deviation of the finest details where there are fewest, in levels.
        flat: The share of cells of 4 x 4 pixels in which no pixel differs from another by more than two levels.
        contrast: The median range of the values in the other cells, in levels.
        peak: The share of pixels that have the most frequent level, or one beside it.
        blocks: How much larger steps between blocks of 8 pixels are than steps inside them.
        sharp: The energy of the finest details in proportion to that of details twice as large.
    """

    noise: float
    flat: float
    contrast: float
    peak: float
    blocks: float
    sharp: float


def choose(image: ImageData, families: Collection[str]) -> Choice:
    """The family of models for an image.

    Args:
        image: The image, of uint8, uint16 or float32 in `[0, 1]`.
        families: The families that there are.
    """
    found = measured(sample(image))
    if "art" in families and is_drawn(found):
        return Choice("art", "flat areas and hard edges")
    reason = _damage(image, found)
    if "photo" in families and reason:
        return Choice("photo", reason)
    return Choice("clean", "sharp and hardly compressed" if not reason else "no other family at this scale")


def is_drawn(found: Measures) -> bool:
    """Whether an image looks like a drawing, a screenshot or a page of text."""
    return found.contrast > CONTRAST and (found.flat > FLAT or found.peak > PEAK)


def _damage(image: ImageData, found: Measures) -> str:
    """What there is to repair, in a few words."""
    lossy = image.compression
    if lossy is not None and (lossy.quality is None or lossy.quality <= QUALITY):
        return str(lossy)
    if found.blocks > BLOCKS:
        return "blocks of an earlier JPEG"
    if found.noise > NOISE:
        return "noise"
    return "soft" if found.sharp < SHARP else ""


def sample(image: ImageData) -> Floats:
    """The luma of patches spread evenly over an image, `(N, h, w)` in levels of 255; they begin where blocks begin."""
    pixels = image.pixels
    height, width = pixels.shape[:2]
    rows, columns = _starts(height), _starts(width)
    patches = np.stack([pixels[y : y + PATCH, x : x + PATCH] for y in rows for x in columns]).astype(np.float32)
    if pixels.dtype != np.uint8:
        patches *= np.float32(255 if pixels.dtype.kind == "f" else 1 / 257)
    if patches.shape[-1] == 1:
        return patches[..., 0]
    luma: Floats = patches @ np.array([0.299, 0.587, 0.114], np.float32)
    return luma


def _starts(size: int) -> list[int]:
    count = max(1, min(PATCHES, size // PATCH))
    room = max(size - PATCH, 0)
    return [room * k // max(count - 1, 1) // 8 * 8 for k in range(count)]


def measured(luma: Floats) -> Measures:
    """What a sample `(N, h, w)` shows; one of less than 8 pixels shows nothing."""
    if min(luma.shape[1:]) < NOISE_CELL:
        return Measures(0.0, 0.0, 0.0, 0.0, 1.0, 1.0)
    cells = _cells(luma, FLAT_CELL)
    ranges = cells.max((2, 4)) - cells.min((2, 4))
    flat = ranges <= 2
    half = _haar(luma, (1, 1, 1, 1)) / np.float32(2)
    fine, coarse = (_haar(values, (1, -1, -1, 1)) for values in (luma, half))
    smallest = np.sqrt(np.square(_cells(fine, NOISE_CELL // 2)).mean((2, 4)))
    level = _cells(luma, NOISE_CELL).mean((2, 4))
    lit = smallest[(level > 12) & (level < 243)]
    energy = float(np.square(coarse).mean())
    counts = np.bincount(np.rint(luma).astype(np.int64).ravel().clip(0, 255), minlength=256)
    steps = np.abs(np.diff(luma, axis=2))
    outer, inner = (float(steps[:, :, first::8].mean()) for first in (7, 3)) if luma.size >= PATCH**2 else (0.0, 0.0)
    return Measures(
        noise=_quantile(lit, 0.1) if lit.size >= 16 else 0.0,
        flat=float(flat.mean()),
        contrast=0.0 if flat.all() else _quantile(ranges[~flat], 0.5),
        peak=float(np.convolve(counts, np.ones(3), "same").max() / luma.size),
        blocks=(outer + 0.1) / (inner + 0.1),
        sharp=float(np.square(fine).mean()) / energy if energy > 0.1 else 1.0,
    )


def _quantile(values: Floats, share: float) -> float:
    """As `np.quantile`, which loads `numpy.ma`: a tenth of a cold start."""
    return float(np.interp(share * (values.size - 1), np.arange(values.size), np.sort(values)))


def _cells(values: Floats, side: int) -> Floats:
    """The values in cells, `(N, rows, side, columns, side)`."""
    rows, columns = (size // side for size in values.shape[1:])
    return values[:, : rows * side, : columns * side].reshape(len(values), rows, side, columns, side)


def _haar(values: Floats, signs: tuple[int, int, int, int]) -> Floats:
    """Half the signed sum of each 2 x 2 pixels."""
    rows, columns = (size // 2 * 2 for size in values.shape[1:])
    corners = (values[:, y:rows:2, x:columns:2] for y in (0, 1) for x in (0, 1))
    made = np.zeros((len(values), rows // 2, columns // 2), np.float32)
    for sign, corner in zip(signs, corners, strict=True):
        made += np.float32(sign / 2) * corner
    return made
