"""Small crops of ordinary pictures, such as a network will get: what a quantizer looks at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sharpbit.errors import UsageError
from sharpbit.image import is_picture_name, read
from sharpbit.image.resize import shrink

SIDE = 64
CROPS = 300


def from_folder(
    folder: str | Path, scale: int, *, progress: Callable[[str, int, int], object] | None = None
) -> tuple[Tensor, int]:
    """Crops `(N, 3, 64, 64)` uint8 of the pictures in a folder, and of how many they are, see `from_pictures`.

    Raises:
        UsageError: no folder, no pictures in it, or none that is large enough.
        ImageError: a picture cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one with ordinary pictures to calibrate on")
    paths = sorted(path for path in folder.rglob("*") if is_picture_name(path))
    if not paths:
        raise UsageError(f"{folder} holds no pictures to calibrate on; give a folder of PNG or JPEG files")
    chosen = [paths[k * len(paths) // CROPS] for k in range(CROPS)] if len(paths) > CROPS else paths

    def pictures() -> Iterable[np.ndarray]:
        for number, path in enumerate(chosen, 1):
            yield read(path).rgb8()
            if progress:
                progress("reading", number, len(chosen))

    return _crops(pictures(), len(chosen), scale, str(folder))


def from_pictures(pictures: Sequence[np.ndarray], scale: int) -> tuple[Tensor, int]:
    """Crops of `(H, W, 3)` uint8 pictures, from each equally many, about 300 in all; and how many pictures had any.

    Each picture is shrunk `scale` times by the benchmarks' bicubic first, as what people enlarge is as sharp as that;
    one that would be too small is taken as it is. Of each, crops are taken from the half that has most detail.

    Raises:
        UsageError: none has 64 pixels on both sides, or something is no such picture.
    """
    for picture in pictures:
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.shape[2:] != (3,):
            kind = f"{getattr(picture, 'dtype', type(picture).__name__)} {getattr(picture, 'shape', '')}".strip()
            raise UsageError(f"pictures to calibrate on are uint8 arrays (H, W, 3) from 0 to 255, not {kind}")
    return _crops(pictures, len(pictures), scale, "what is given")


def _crops(pictures: Iterable[np.ndarray], count: int, scale: int, source: str) -> tuple[Tensor, int]:
    each, used = math.ceil(CROPS / max(count, 1)), 0
    found: list[np.ndarray] = []
    for picture in pictures:
        crops = of_one(picture, each, scale)
        used += bool(crops)
        found += crops
    if not found:
        raise UsageError(
            f"no picture of {source} has {SIDE} pixels on both sides, which calibration needs; give larger ones"
        )
    return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).copy()), used


def of_one(picture: np.ndarray, count: int, scale: int) -> list[np.ndarray]:
    """At most `count` crops of one picture `(H, W, 3)`, none where it is too small. See `from_pictures`."""
    height, width = (size // scale * scale for size in picture.shape[:2])
    if min(height, width) >= SIDE * scale:
        picture = shrink(np.ascontiguousarray(picture[:height, :width]), scale)
    if min(picture.shape[:2]) < SIDE:
        return []
    rows, columns = (range(0, size - SIDE + 1, SIDE // 2) for size in picture.shape[:2])
    crops = [picture[y : y + SIDE, x : x + SIDE] for y in rows for x in columns]
    crops.sort(key=_detail, reverse=True)
    best = max(1, len(crops) // 2)
    return [crops[k * best // count] for k in range(min(count, best))]


def _detail(crop: np.ndarray) -> float:
    values = crop.astype(np.float32)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())
