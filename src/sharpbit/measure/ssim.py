"""Structural similarity by the protocol of the super-resolution benchmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError
from sharpbit.measure.psnr import compared


def ssim(image: NDArray[np.uint8], truth: NDArray[np.uint8], *, border: int, channel: str = "y") -> float:
    """SSIM of two `(H, W, 3)` uint8 RGB pictures, 1 if they are the same; for `rgb` the mean of the channels.

    A Gaussian window of 11x11 with sigma 1.5, only where it fits into the picture.
    Source: Wang et al., "Image quality assessment", 2004; constants K1 = 0.01, K2 = 0.03.

    Args:
        image: what came out.
        truth: what should have.
        border: pixels to leave out on each side, the scale by custom.
        channel: `y` or `rgb`.

    Raises:
        UsageError: shapes that differ, or less than a window left inside the border.
    """
    a, b = compared(image, truth, border, channel)
    if min(a.shape[:2]) < 11:
        raise UsageError(f"SSIM needs 11x11 pixels inside the border of {border}; the picture is {image.shape[:2]}")
    if a.ndim == 2:
        a, b = a[..., None], b[..., None]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def _blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    rows = sum(w * x[k : x.shape[0] - 10 + k] for k, w in enumerate(window))
    return np.asarray(sum(w * rows[:, k : x.shape[1] - 10 + k] for k, w in enumerate(window)))
