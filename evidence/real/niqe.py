"""NIQE: how far the statistics of an image are from those of pristine photos, without the true image; less is better.

Source: Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing
Letters 2013: luma, mean-subtracted contrast-normalized coefficients, an asymmetric generalized Gaussian for each of 5
maps at two scales, and the distance between two Gaussians of these 36 features. Fitted here on the training photos of
the project, so that its values compare with each other, not with those of other fits.
"""

from __future__ import annotations

from math import gamma
from pathlib import Path

import numpy as np
from PIL import Image

from sharpbit.measure.psnr import luma

PATCH = 64
_SHAPES = np.arange(0.2, 10.001, 0.01)
_RATIOS = np.array([gamma(2 / a) ** 2 / (gamma(1 / a) * gamma(3 / a)) for a in _SHAPES])
_WINDOW = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
_WINDOW /= _WINDOW.sum()

Gaussian = tuple[np.ndarray, np.ndarray]


def fitted(photos: Path) -> Gaussian:
    """The mean and the covariance of the features of the sharpest patches of pristine photos."""
    rows = []
    for path in sorted(photos.glob("*.jpg")):
        image = Image.open(path).convert("RGB")
        factor = min(1, 960 / max(image.size))  # fine details, no traces of compression
        small = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BOX)
        found, sharpness = features(np.asarray(small))
        rows.append(found[sharpness > 0.75 * sharpness.max()])
    every = np.concatenate(rows)
    return every.mean(0), np.cov(every, rowvar=False)


def niqe(image: np.ndarray, pristine: Gaussian) -> float:
    """The distance of an image `(H, W, 3)` of bytes, both sides at least 128."""
    found, _ = features(image)
    mean, covariance = pristine
    difference = found.mean(0) - mean
    both = (np.cov(found, rowvar=False) + covariance) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(both) @ difference))


def features(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 36 features of each patch, `(N, 36)`, and how sharp it is."""
    values = luma(image).astype(np.float64)
    rows, columns = (size // PATCH for size in values.shape)
    values = values[: rows * PATCH, : columns * PATCH]
    parts, sharpness = [], np.zeros(rows * columns)
    for number in range(2):
        side = PATCH >> number
        normal, deviation = _normalized(values)
        cells = normal.reshape(rows, side, columns, side).transpose(0, 2, 1, 3).reshape(-1, side, side)
        parts.append(np.array([_described(cell) for cell in cells]))
        if number == 0:
            sharpness = deviation.reshape(rows, side, columns, side).mean((1, 3)).ravel()
            values = values.reshape(rows * side // 2, 2, columns * side // 2, 2).mean((1, 3))
    return np.concatenate(parts, 1), sharpness


def _normalized(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = _blurred(values)
    deviation = np.sqrt(np.abs(_blurred(values**2) - mean**2))
    return (values - mean) / (deviation + 1), deviation


def _blurred(values: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        padded = np.pad(values, [(3, 3) if axis == k else (0, 0) for k in (0, 1)], "edge")
        values = sum(w * np.take(padded, np.arange(k, k + values.shape[axis]), axis) for k, w in enumerate(_WINDOW))
    return values


def _described(cell: np.ndarray) -> list[float]:
    """The 18 features of a patch at one scale."""
    shape, left, right = _asymmetric(cell)
    found = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = _asymmetric(cell * np.roll(cell, (down, across), (0, 1)))
        scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
        mean = (right - left) * scale * gamma(2 / shape) / gamma(1 / shape)
        found += [shape, mean, left * scale, right * scale]
    return found


def _asymmetric(values: np.ndarray) -> tuple[float, float, float]:
    """The shape and both deviations of an asymmetric generalized Gaussian."""
    below, above = values[values < 0], values[values > 0]
    left = float(np.sqrt((below**2).mean())) if below.size else 1e-6
    right = float(np.sqrt((above**2).mean())) if above.size else 1e-6
    energy = float((values**2).mean())
    ratio = float(np.abs(values).mean()) ** 2 / energy if energy else 1.0
    part = left / right
    wanted = ratio * (part**3 + 1) * (part + 1) / (part**2 + 1) ** 2
    return float(_SHAPES[np.argmin((_RATIOS - wanted) ** 2)]), left, right
