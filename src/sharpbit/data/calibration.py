"""Small crops of ordinary images, such as a network will get: what a quantizer looks at."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sharpbit.errors import ResultWarning, UsageError
from sharpbit.image import read
from sharpbit.image.folder import in_folder, spread_over
from sharpbit.image.resize import shrink
from sharpbit.system.progress import Phases

SIDE = 64
CROPS = 300
PLACES = ("detail", "random", "prepared")
HELD_OUT = 10  # every tenth crop is kept to measure on
MANY = 4
SMALLEST = 192  # side in pixels up to which many images of one size are taken for crops that somebody has prepared


@dataclass(frozen=True)
class Cut:
    """How calibration crops are taken from images.

    Attributes:
        count: number of crops; 300 by default. By `detail` it is about that many, with those that are kept to measure
            on; at `random` these come on top; `prepared` are the first of the files, and none is kept.
        side: side of a crop in LR pixels; 64 by default. 0 takes prepared crops whole.
        place: `detail` (default) takes them where images have most detail, `random` anywhere; `prepared` means that the
            images are LR crops already: none is shrunk, and of each the middle is taken.
        seed: number that decides random places; 0 by default.

    Raises:
        UsageError: there is no such place, or a number is too small.
    """

    count: int = CROPS
    side: int = SIDE
    place: str = "detail"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.place not in PLACES:
            raise UsageError(f"calibration crops are taken by {', '.join(PLACES)}, not {self.place!r}")
        if self.count < 1 or self.side < (0 if self.place == "prepared" else 1):
            raise UsageError(f"{self.count} calibration crops of {self.side} pixels are none; give larger numbers")

    def facts(self, side: int) -> dict[str, int | str]:
        """What a receipt says of it, with the side in pixels that crops really have; the seed where it decides."""
        return {"side": side, "place": self.place, **({"seed": self.seed} if self.place == "random" else {})}


AT_DETAIL = Cut()


def from_folder(
    folder: str | Path, scale: int, cut: Cut = AT_DETAIL, *, progress: Phases | None = None
) -> tuple[Tensor, int]:
    """Crops `(N, 3, side, side)` uint8 of the images in a folder, and of how many they are, see `from_images`.

    Raises:
        UsageError: no folder, no images in it, or none that is large enough.
        ImageError: an image cannot be read.
    """
    return from_paths(in_folder(folder), scale, str(folder), cut, progress=progress)


def from_paths(
    paths: Sequence[Path], scale: int, source: str, cut: Cut = AT_DETAIL, *, progress: Phases | None = None
) -> tuple[Tensor, int]:
    """Crops of image files, and of how many they are, see `from_images`; of more files than crops some are taken.

    Args:
        paths: the files.
        scale: upscaling factor of the network.
        source: where they come from, for errors.
        cut: how crops are taken, see `from_images`.
        progress: called with the name of the phase, how many files were read, and how many there are.
    """
    chosen = read_of(paths, cut)

    def images() -> Iterable[np.ndarray]:
        for number, path in enumerate(chosen, 1):
            yield read(path).rgb8()
            if progress:
                progress("reading", number, len(chosen))

    return _crops(images(), len(chosen), scale, cut, source)


def read_of(paths: Sequence[Path], cut: Cut = AT_DETAIL) -> list[Path]:
    """Those of these image files that crops are cut from: all, or where there are more files than crops, some."""
    return list(paths[: cut.count]) if cut.place == "prepared" else spread_over(paths, cut.count)


def from_images(images: Sequence[np.ndarray], scale: int, cut: Cut = AT_DETAIL) -> tuple[Tensor, int]:
    """Crops of `(H, W, 3)` uint8 images, from each about equally many; and how many images had any.

    Each image is shrunk `scale` times by the benchmarks' bicubic first, as what people upscale is as sharp as that;
    one that would be too small is taken as it is. Prepared crops are never shrunk.

    Args:
        images: the images.
        scale: upscaling factor of the network.
        cut: how many crops, of which size, and where; by default 300 of 64x64 pixels, from the half of each image that
            has most detail.

    Raises:
        UsageError: none is large enough, something is no such image, or prepared crops differ in size.
    """
    for image in images:
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
            kind = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}".strip()
            raise UsageError(f"images to calibrate on are uint8 arrays (H, W, 3) from 0 to 255, not {kind}")
    if cut.place == "prepared":
        images = images[: cut.count]
    return _crops(images, len(images), scale, cut, "what is given")


def split(crops: Tensor, cut: Cut = AT_DETAIL) -> tuple[Tensor, Tensor, bool]:
    """Crops to calibrate on, crops to measure on, and whether the two are apart.

    Every tenth is kept to measure on; of few or of prepared crops none is, and all serve for both.
    """
    kept = torch.arange(len(crops)) % HELD_OUT == HELD_OUT - 1
    if cut.place == "prepared" or not bool(kept.any()):
        return crops, crops, False
    return crops[~kept], crops[kept], True


def _crops(images: Iterable[np.ndarray], count: int, scale: int, cut: Cut, source: str) -> tuple[Tensor, int]:
    wanted = cut.count + (cut.count // (HELD_OUT - 1) if cut.place == "random" else 0)
    each, used = math.ceil(wanted / max(count, 1)), 0
    random = np.random.default_rng(cut.seed)
    found: list[np.ndarray] = []
    shapes = set()
    for image in images:
        shapes.add(image.shape[:2])
        if cut.place == "prepared":
            crops = _middle(image, cut.side)
        else:
            crops = of_one(image, each, scale, cut.side, random if cut.place == "random" else None)
        used += bool(crops)
        found += crops
    if not found:
        raise UsageError(
            f"no image of {source} has {cut.side} pixels on both sides, which calibration needs; give larger ones"
        )
    if len(sizes := {crop.shape[:2] for crop in found}) > 1:
        some = " and ".join(f"{width}x{height}" for height, width in sorted(sizes)[:2])
        raise UsageError(f"the prepared crops of {source} differ in size ({some}); say with --crops what is taken")
    if cut.place == "random":
        found = found[:wanted]
    if len(found) < wanted and (cut.place == "random" or (cut.place == "prepared" and cut.side)):
        warnings.warn(_too_few(len(found), cut, source), ResultWarning, stacklevel=3)
    if cut.place != "prepared" and count >= MANY and len(shapes) == 1 and max(shapes) <= (SMALLEST, SMALLEST):
        warnings.warn(_prepared(shapes.pop(), source), ResultWarning, stacklevel=3)
    return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).copy()), used


def _too_few(found: int, cut: Cut, source: str) -> str:
    return (
        f"{source} gives {found} crops of {cut.side}x{cut.side} LR pixels, fewer than the {cut.count} that were asked"
        " for: images are too few or too small"
    )


def _prepared(size: tuple[int, int], source: str) -> str:
    return (
        f"all images of {source} have {size[1]}x{size[0]} pixels and are taken for photographs, which are shrunk and"
        " cut; if they are LR crops already, say so with --prepared"
    )


def of_one(
    image: np.ndarray, count: int, scale: int, side: int = SIDE, random: np.random.Generator | None = None
) -> list[np.ndarray]:
    """At most `count` crops of one image `(H, W, 3)`, at random or where it has detail; none where it is too small."""
    height, width = (size // scale * scale for size in image.shape[:2])
    if min(height, width) >= side * scale:
        image = shrink(np.ascontiguousarray(image[:height, :width]), scale)
    if min(image.shape[:2]) < side:
        return []
    if random is not None:
        corners = [tuple(int(random.integers(size - side + 1)) for size in image.shape[:2]) for _ in range(count)]
        return [image[y : y + side, x : x + side] for y, x in corners]
    rows, columns = (range(0, size - side + 1, max(1, side // 2)) for size in image.shape[:2])
    crops = [image[y : y + side, x : x + side] for y in rows for x in columns]
    crops.sort(key=_detail, reverse=True)
    best = max(1, len(crops) // 2)
    return [crops[k * best // count] for k in range(min(count, best))]


def _middle(image: np.ndarray, side: int) -> list[np.ndarray]:
    """The middle of an LR crop, or all of it for a side of 0; nothing where it is smaller."""
    if not side:
        return [image]
    if min(image.shape[:2]) < side:
        return []
    top, left = ((size - side) // 2 for size in image.shape[:2])
    return [image[top : top + side, left : left + side]]


def _detail(crop: np.ndarray) -> float:
    values = crop.astype(np.float32)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())
