"""Peak signal-to-noise ratio by the protocol of the super-resolution benchmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The Y channel of an RGB image, `(H, W, 3)` uint8 to `(H, W)`, 16 to 235, not rounded (ITU-R BT.601)."""
    return image.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16


def compared(
    image: NDArray[np.uint8], truth: NDArray[np.uint8], border: int, channel: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is compared of two `(H, W, 3)` images: without `border` pixels on each side, as `y` or `rgb`."""
    if image.shape != truth.shape or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"images to compare must be RGB of one size, not {image.shape} and {truth.shape}")
    if image.dtype != np.uint8 or truth.dtype != np.uint8:
        raise UsageError(f"images to compare must be uint8, not {image.dtype} and {truth.dtype}")
    if min(image.shape[:2]) <= 2 * border:
        raise UsageError(f"nothing of an image {image.shape[:2]} is left without a border of {border}")
    if channel not in ("y", "rgb"):
        raise UsageError(f"channel {channel!r} is not known; use y or rgb")
    inner = (slice(border, image.shape[0] - border), slice(border, image.shape[1] - border))
    convert = luma if channel == "y" else lambda x: x.astype(np.float64)
    return convert(image[inner]), convert(truth[inner])


def psnr(image: NDArray[np.uint8], truth: NDArray[np.uint8], *, border: int, channel: str = "y") -> float:
    """PSNR in dB of an `(H, W, 3)` uint8 RGB image against the true one; infinite if they are the same.

    Args:
        image: upscaled image.
        truth: HR image of the same shape.
        border: number of pixels left out on each side; usually the scale.
        channel: `y` or `rgb`.

    Raises:
        UsageError: shapes that differ, or nothing left inside the border.
    """
    return of_values(*compared(image, truth, border, channel))


def of_values(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """PSNR in dB of values where white is 255."""
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
