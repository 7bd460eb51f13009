"""Images of noise, as arrays and as files."""

from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def soft_noise(seed: int, height: int, width: int, grain: int = 10, more: int = 0) -> np.ndarray:
    """Noise of one pixel for `grain` pixels (and `more` rows and columns), upscaled: as soft as a photograph."""
    small = Image.fromarray(noise(seed, height // grain + more, width // grain + more))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def put(path: Path, pixels: np.ndarray) -> None:
    """Write an image, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def put_photos(folder: Path, count: int, height: int, width: int, grain: int = 10) -> Path:
    """The folder, with soft noise in it: `0.png`, `1.png` and so on."""
    for seed in range(count):
        put(folder / f"{seed}.png", soft_noise(seed, height, width, grain))
    return folder
