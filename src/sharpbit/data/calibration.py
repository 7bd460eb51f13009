"""Small crops of ordinary images, such as a network will get: what a quantizer looks at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sharpbit.errors import UsageError
from sharpbit.image import is_image_name, read
from sharpbit.image.resize import shrink
from sharpbit.system.progress import Phases

SIDE = 64
CROPS = 300


def from_folder(folder: str | Path, scale: int, *, progress: Phases | None = None) -> tuple[Tensor, int]:
    """Crops `(N, 3, 64, 64)` uint8 of the images in a folder, and of how many they are, see `from_images`.

    Raises:
        UsageError: no folder, no images in it, or none that is large enough.
        ImageError: an image cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one with ordinary images to calibrate on")
    paths = sorted(path for path in folder.rglob("*") if is_image_name(path))
    if not paths:
        raise UsageError(f"{folder} holds no images to calibrate on; give a folder of PNG or JPEG files")
    chosen = [paths[k * len(paths) // CROPS] for k in range(CROPS)] if len(paths) > CROPS else paths

    def images() -> Iterable[np.ndarray]:
        for number, path in enumerate(chosen, 1):
            yield read(path).rgb8()
            if progress:
                progress("reading", number, len(chosen))

    return _crops(images(), len(chosen), scale, str(folder))


def from_images(images: Sequence[np.ndarray], scale: int) -> tuple[Tensor, int]:
    """Crops of `(H, W, 3)` uint8 images, from each equally many, about 300 in all; and how many images had any.

    Each image is shrunk `scale` times by the benchmarks' bicubic first, as what people upscale is as sharp as that;
    one that would be too small is taken as it is. Of each, crops are taken from the half that has most detail.

    Raises:
        UsageError: none has 64 pixels on both sides, or something is no such image.
    """
    for image in images:
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
            kind = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}".strip()
            raise UsageError(f"images to calibrate on are uint8 arrays (H, W, 3) from 0 to 255, not {kind}")
    return _crops(images, len(images), scale, "what is given")


def _crops(images: Iterable[np.ndarray], count: int, scale: int, source: str) -> tuple[Tensor, int]:
    each, used = math.ceil(CROPS / max(count, 1)), 0
    found: list[np.ndarray] = []
    for image in images:
        crops = of_one(image, each, scale)
        used += bool(crops)
        found += crops
    if not found:
        raise UsageError(
            f"no image of {source} has {SIDE} pixels on both sides, which calibration needs; give larger ones"
        )
    return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).copy()), used


def of_one(image: np.ndarray, count: int, scale: int) -> list[np.ndarray]:
    """At most `count` crops of one image `(H, W, 3)`, none where it is too small. See `from_images`."""
    height, width = (size // scale * scale for size in image.shape[:2])
    if min(height, width) >= SIDE * scale:
        image = shrink(np.ascontiguousarray(image[:height, :width]), scale)
    if min(image.shape[:2]) < SIDE:
        return []
    rows, columns = (range(0, size - SIDE + 1, SIDE // 2) for size in image.shape[:2])
    crops = [image[y : y + SIDE, x : x + SIDE] for y in rows for x in columns]
    crops.sort(key=_detail, reverse=True)
    best = max(1, len(crops) // 2)
    return [crops[k * best // count] for k in range(min(count, best))]


def _detail(crop: np.ndarray) -> float:
    values = crop.astype(np.float32)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())
