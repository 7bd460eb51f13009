"""Sets of test images: where their files lie, and the pairs of a small and an HR image made of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ImageError, UsageError
from sharpbit.image import is_image_name, read
from sharpbit.image.resize import shrink

Pixels = NDArray[np.uint8]

CROP = 12  # what "GTmod12" is cut to multiples of: every scale from 2 to 4 divides it
KEEP = 1 << 30  # bytes of a set's images that stay in memory for the next model or scale
_LARGE = ("GTmod12", "GTmode12", "HR", "GT")
_SMALL = ("LRbicx{0}", "LRmod12x{0}", "LR_bicubic/X{0}", "LR/X{0}", "LRx{0}")
_SCALES = (2, 3, 4, 6, 8)


class Shelf:
    """Keeps arrays that were made, until it is full; shared by threads."""

    def __init__(self, room: int = KEEP) -> None:
        self._room = room
        self._kept: dict[Hashable, Pixels] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Pixels]) -> Pixels:
        """What is kept under `key`, or what `make` makes now."""
        if key in self._kept:
            return self._kept[key]
        value = make()
        with self._lock:
            if key not in self._kept and value.nbytes <= self._room:
                self._kept[key] = value
                self._room -= value.nbytes
        return value


@dataclass(frozen=True)
class Benchmark:
    """A set of test images.

    Attributes:
        name: name of the set, such as `Set5`.
        large: paths of the HR images.
        small: folders of their LR images by scale, where there are such folders.
        crop: HR images are cut at the right and below to multiples of this, where the small ones are made of them.
    """

    name: str
    large: tuple[Path, ...]
    small: Mapping[int, Path] = field(default_factory=dict)
    crop: int = CROP
    shelf: Shelf = field(default_factory=Shelf, repr=False, compare=False)

    def pair(self, path: Path, scale: int) -> tuple[Pixels, Pixels]:
        """The LR image `(h, w, 3)` and the true one `(h * scale, w * scale, 3)` of one of the files of `large`.

        Raises:
            ImageError: a file cannot be read, has no LR image, or one of another size.
        """
        if scale in self.small:
            return self._read_pair(path, scale)
        large = self.shelf.get(path, lambda: _cut(_rgb(path), self.crop))
        if 0 in large.shape:
            raise ImageError(f"{path} is smaller than the {self.crop} pixels that images are cut to multiples of")
        if large.shape[0] % scale or large.shape[1] % scale:
            raise UsageError(f"images cut to multiples of {self.crop} cannot be made {scale} times smaller")
        return self.shelf.get((path, scale), lambda: shrink(large, scale)), large

    def protocol(self, scale: int) -> str:
        """How the LR images come about, in words."""
        if scale in self.small:
            return f"LR read from {self.small[scale].name}, HR cropped to its size"
        return f"HR cropped to multiples of {self.crop}, LR made of it by MATLAB-style bicubic, 8 bits"

    def _read_pair(self, path: Path, scale: int) -> tuple[Pixels, Pixels]:
        partner = self._partner(path, scale)
        small = self.shelf.get(partner, lambda: _rgb(partner))
        large = self.shelf.get((path, "whole"), lambda: _rgb(path))
        height, width = small.shape[0] * scale, small.shape[1] * scale
        if not (0 <= large.shape[0] - height < CROP and 0 <= large.shape[1] - width < CROP):
            raise ImageError(
                f"{partner} has {small.shape[1]}x{small.shape[0]} pixels, which times {scale} is not the size of"
                f" {path}, {large.shape[1]}x{large.shape[0]}"
            )
        return small, large[:height, :width]

    def _partner(self, path: Path, scale: int) -> Path:
        folder = self.small[scale]
        for stem in (path.stem, f"{path.stem}x{scale}", f"{path.stem}_x{scale}"):
            for suffix in (path.suffix, ".png"):
                if (folder / f"{stem}{suffix}").exists():
                    return folder / f"{stem}{suffix}"
        raise ImageError(
            f"{path} has no partner {path.stem}{path.suffix} in {folder}; add it, or make the LR images anew with"
            " --make-lr"
        )


def find(folder: str | Path, *, crop: int = CROP, make_small: bool = False) -> list[Benchmark]:
    """The set of test images in a folder, or the sets in its subfolders, the ones with fewest images first.

    Known layouts: HR images in `GTmod12`, `GTmode12`, `HR` or `GT`, or in the folder itself; small ones, where
    there are any, in `LRbicx2` or `LR_bicubic/X2` beside them (or `NAME_LR_bicubic/X2` beside `NAME_HR`).

    Args:
        folder: folder of a set, of sets, or of HR images.
        crop: number of pixels that sides are cut to multiples of; default: 12.
        make_small: whether LR images are made even where there are some; default: false.

    Raises:
        UsageError: no such folder, or no images in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one with test images, such as Set5")
    found = _benchmark(folder.resolve(), crop, make_small)
    if found is not None:
        return [found]
    inner = (_benchmark(path.resolve(), crop, make_small) for path in sorted(folder.iterdir()) if path.is_dir())
    several = [benchmark for benchmark in inner if benchmark is not None]
    if not several:
        raise UsageError(
            f"{folder} holds no test images; expected are images, or a folder {', '.join(_LARGE)}, or folders that"
            " have one"
        )
    return sorted(several, key=lambda benchmark: len(benchmark.large))


def _benchmark(folder: Path, crop: int, make_small: bool) -> Benchmark | None:
    if re.match(r"LR|X\d$", folder.name):
        return None
    for name in (*_LARGE, "."):
        large = _images(folder / name)
        if large:
            inside = folder.name in _LARGE
            root = folder.parent if inside and name == "." else folder
            small = {} if make_small else _small_folders(root, folder)
            return Benchmark(root.name, large, small, crop)
    return None


def _small_folders(root: Path, large: Path) -> dict[int, Path]:
    found = {}
    for scale in _SCALES:
        candidates = [root / pattern.format(scale) for pattern in _SMALL]
        candidates.append(large.with_name(f"{large.name.removesuffix('_HR')}_LR_bicubic") / f"X{scale}")
        for candidate in candidates:
            if _images(candidate):
                found[scale] = candidate
                break
    return found


def _images(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(path for path in folder.iterdir() if is_image_name(path) and path.is_file()))


def _cut(image: Pixels, multiple: int) -> Pixels:
    height, width = (size // multiple * multiple for size in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def _rgb(path: Path) -> Pixels:
    return np.ascontiguousarray(read(path).rgb8())
