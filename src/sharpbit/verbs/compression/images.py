"""The images of `compress`: those that are calibrated on, those kept apart to measure on, and their fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sharpbit.errors import ImageError, UsageError
from sharpbit.image import read
from sharpbit.image.folder import in_folder, spread_over
from sharpbit.image.read import probe as size_of
from sharpbit.image.resize import shrink
from sharpbit.measure.benchmarks import Benchmark, Pixels, find

MOST = 300  # images that are looked at, as many as there are crops
APART = 6  # images at most that are measured on and not calibrated on
LARGEST = 480  # side in HR pixels of what is measured of each, from its middle
LEAST = 24  # side in LR pixels of what is measured on
HELD_OUT = "held out"


@dataclass(frozen=True)
class HeldOut(Benchmark):
    """Images of the calibration folder that nothing is calibrated on, each cut to its middle."""

    def pair(self, path: Path, scale: int) -> tuple[Pixels, Pixels]:
        """See `Benchmark`."""
        large = self.shelf.get((path, "middle", scale), lambda: middle(read(path).rgb8(), scale))
        return self.shelf.get((path, scale), lambda: shrink(large, scale) if scale > 1 else large), large

    def protocol(self, scale: int) -> str:
        """See `Benchmark`."""
        return f"middle {LARGEST}x{LARGEST} of each image, LR made of it by MATLAB-style bicubic, 8 bits"


@dataclass(frozen=True)
class Images:
    """What `compress` works with.

    Attributes:
        calibrate: the files that crops for calibration are cut from.
        folder: where they lie, for errors.
        held_out: the files that are measured on.
        tests: sets of test images, those of `--data`.
        apart: whether none of `held_out` is calibrated on.
    """

    calibrate: tuple[Path, ...]
    folder: str
    held_out: HeldOut
    tests: tuple[Benchmark, ...]
    apart: bool

    @property
    def sets(self) -> tuple[Benchmark, ...]:
        """All that is measured on."""
        return (self.held_out, *self.tests)

    @property
    def judged(self) -> tuple[str, ...]:
        """Names of the sets that a limit of loss is for: the test images, or else those held out."""
        return tuple(item.name for item in self.tests) or (HELD_OUT,)


def split(calibrate: str | Path, data: Sequence[str | Path], scale: int) -> Images:
    """The images of a folder, some of them kept apart, and the sets of test images.

    Raises:
        UsageError: a folder is missing or holds no images, or none is large enough to measure on.
    """
    paths = spread_over(in_folder(calibrate), MOST)
    large = [path for path in paths[:: max(1, len(paths) // (4 * APART))] if _large_enough(path, scale)]
    if not large:
        raise UsageError(
            f"no image of {calibrate} that was looked at has {LEAST * scale} pixels on both sides, which measuring"
            " needs; give larger ones"
        )
    kept = spread_over(large, max(1, min(APART, len(paths) // 3)))
    rest = tuple(path for path in paths if path not in kept)
    tests = tuple(item for folder in data for item in find(folder))
    names = [item.name for item in tests]
    if len({*names, HELD_OUT}) <= len(names):
        raise UsageError(f"two sets of test images have one name ({', '.join(names)}); give each its own")
    return Images(rest or tuple(kept), str(calibrate), HeldOut(HELD_OUT, tuple(kept)), tests, bool(rest))


def middle(image: np.ndarray, scale: int) -> Pixels:
    """The middle of an image `(H, W, 3)`, with sides that are multiples of `scale`.

    Raises:
        ImageError: it is too small.
    """
    height, width = (min(side, LARGEST) // scale * scale for side in image.shape[:2])
    if min(height, width) < LEAST * scale:
        raise ImageError(f"an image of {image.shape[1]}x{image.shape[0]} pixels is too small to measure on")
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _large_enough(path: Path, scale: int) -> bool:
    return min(size_of(path)) >= LEAST * scale


def fingerprint(paths: Iterable[Path]) -> dict[str, Any]:
    """How many files these are, and one sha256 of the contents of all of them, whatever their names and order."""
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return {"images": len(digests), "sha256": hashlib.sha256("".join(digests).encode()).hexdigest()}


def described(item: Benchmark, scale: int) -> dict[str, Any]:
    """What a receipt says of a set of test images."""
    table = {"set": item.name, **fingerprint(item.large), "protocol": item.protocol(scale)}
    if isinstance(item, HeldOut):
        table["files"] = [path.name for path in item.large]
    return table


def matching(table: Mapping[str, Any], folder: str | Path) -> Benchmark | None:
    """The images in a folder that a receipt was measured on: a set, or those kept apart; None if it lacks them."""
    if table.get("set") == HELD_OUT:
        names = set(table.get("files", ()))
        paths = tuple(path for path in in_folder(folder) if path.name in names)
        found: list[Benchmark] = [HeldOut(HELD_OUT, paths)] if paths else []
    else:
        found = list(find(folder))
    return next((item for item in found if fingerprint(item.large)["sha256"] == table.get("sha256")), None)
