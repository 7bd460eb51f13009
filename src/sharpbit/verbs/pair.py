"""From which detail on patches of a pair take the large network: measured on photos, by what each network gets wrong.

Photos are made small by the benchmarks' bicubic, both networks upscale all their patches, and squared errors (Y
channel) are added up patch by patch. So what any threshold would cost is known without running a network again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError
from sharpbit.image import read
from sharpbit.image.folder import in_folder, spread_over
from sharpbit.image.resize import shrink
from sharpbit.measure.psnr import luma
from sharpbit.measure.upscaling import Pixels, Upscale, by
from sharpbit.runtime import Runtime
from sharpbit.system.progress import Progress
from sharpbit.twopass.clustering import pieces
from sharpbit.twopass.detail import contrasts, detail
from sharpbit.twopass.patches import merge

COUNT = 12  # photos that are enough
MAX_DROP = 0.05  # dB
LARGEST = 6 * 96  # side in small pixels of what is looked at of a photo, from its middle
BEST = 1e-10 * 255**2  # a mean squared error that counts as none: 100 dB
WHOLE = 4  # patches along the side of an image that stands for a whole one
TRIES = 3  # of which the quickest counts, for others may use the processor too

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Photo:
    """The patches of a photo, `(n,)` each.

    Attributes:
        detail: detail of each LR patch, see `sharpbit.twopass.detail`.
        pixels: number of pixels of each LR patch.
        large: squared error of the large network, summed over what is kept of each HR patch.
        small: squared error of the small network, summed alike.
        compared: number of HR pixels of the whole photo that errors were summed over.
    """

    detail: Floats
    pixels: Floats
    large: Floats
    small: Floats
    compared: int

    def drop(self, threshold: float) -> float:
        """What a threshold costs against the large network alone, in dB."""
        return self._drop(threshold, self.small)

    def loss(self, threshold: float) -> float:
        """The same where nothing is gained by a patch that the small network does better; at least `drop`.

        It never falls as the threshold rises.
        """
        return self._drop(threshold, np.maximum(self.small, self.large))

    def _drop(self, threshold: float, small: Floats) -> float:
        mixed = np.where(self.detail < threshold, small, self.large)
        ends = [max(float(errors.sum()) / self.compared, BEST) for errors in (mixed, self.large)]
        return float(10 * np.log10(ends[0] / ends[1]))


@dataclass(frozen=True)
class Outlook:
    """What a threshold does on photos.

    Attributes:
        detail: the threshold, in grey levels.
        share: share of the pixels of all patches that the small network gets.
        drop: loss of the mean PSNR in dB against the large network alone.
    """

    detail: float
    share: float
    drop: float


def measured(
    large: Runtime,
    small: Runtime,
    folder: Path,
    patch: int,
    shared: int,
    *,
    tiled: bool = False,
    count: int = COUNT,
    progress: Progress | None = None,
) -> list[Photo]:
    """What both networks get wrong on the photos of a folder.

    Args:
        large: the large network, opened.
        small: the small network, opened, of the same scale.
        folder: a folder of ordinary images.
        patch: side of patches in LR pixels.
        shared: pixels that neighbours have in common.
        tiled: whether patches are tiles of the native engine, each as it is in the whole image; False by default.
        count: photos at most, spread evenly over the folder; those too small for one patch do not count.
        progress: called with the share of the work that is done since the last call.

    Raises:
        UsageError: no such folder, no images in it, or none that is large enough.
        ImageError: an image cannot be read.
    """
    paths = spread_over(in_folder(folder), count)
    found = []
    for path in paths:
        photo = _middle(read(path).rgb8(), large.scale)
        if min(photo.shape[:2]) >= patch * large.scale:
            report = _part_of(progress, len(paths))
            if tiled:
                found.append(_tiled((by(large), by(small)), photo, large.scale, patch, report))
            else:
                found.append(_photo((by(large), by(small)), photo, large.scale, patch, shared, report))
        elif progress:
            progress(1 / len(paths))
    if not found:
        raise UsageError(
            f"no image of {folder} has {patch * large.scale} pixels on both sides, a patch of {patch} before it is"
            f" shrunk {large.scale} times; give larger ones, or a smaller --patch"
        )
    return found


def outlook(photos: Sequence[Photo], threshold: float) -> Outlook:
    """What a threshold does on these photos."""
    pixels, details = (np.concatenate([getattr(photo, name) for photo in photos]) for name in ("pixels", "detail"))
    share = float(pixels[details < threshold].sum() / pixels.sum())
    return Outlook(threshold, share, float(np.mean([photo.drop(threshold) for photo in photos])))


def chosen(photos: Sequence[Photo], max_drop: float = MAX_DROP) -> Outlook:
    """The largest threshold that costs at most `max_drop` dB of the mean PSNR; at worst none takes the small network.

    A patch that the small network happens to do better does not pay for what it loses on others: on other photos it
    would not. Only thresholds are tried between which something changes: the detail of each patch, and just above the
    greatest.
    """
    details = np.unique(np.concatenate([photo.detail for photo in photos]))
    for threshold in (float(np.nextafter(details[-1], np.inf)), *details[::-1].tolist()):
        if np.mean([photo.loss(threshold) for photo in photos]) <= max_drop:
            return outlook(photos, threshold)
    return outlook(photos, 0.0)


def pace(runtime: Runtime, side: int) -> float:
    """Seconds that an engine takes for an LR pixel of an image of this side."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    upscale = by(runtime)
    took = []
    for _ in range(TRIES):
        started = time.perf_counter()
        upscale(image)
        took.append(time.perf_counter() - started)
    return min(took) / side**2


def share_of_time(pair: Runtime, large: Runtime, folder: Path, count: int = COUNT) -> float:
    """What a native pair takes of the time of its large network, for one of the photos that `measured` looks at."""
    lr = shrink(_middle(read(spread_over(in_folder(folder), count)[0]).rgb8(), large.scale), large.scale)
    least = [np.inf, np.inf]
    for _ in range(TRIES):
        for number, runtime in enumerate((pair, large)):
            started = time.perf_counter()
            by(runtime)(lr)
            least[number] = min(least[number], time.perf_counter() - started)
    return least[0] / least[1]


@dataclass(frozen=True)
class Pace:
    """Seconds for an LR pixel: of both networks in patches, and of the large one in a larger image."""

    large: float
    small: float
    whole: float

    @classmethod
    def of(cls, large: Runtime, small: Runtime, patch: int) -> Pace:
        """Measured."""
        return cls(pace(large, patch), pace(small, patch), pace(large, WHOLE * patch))

    def time(self, share: float, patch: int, shared: int) -> float:
        """That of a pair, as a share of that of the large network on whole images; overlaps cost, too."""
        return (patch / (patch - shared)) ** 2 * (share * self.small + (1 - share) * self.large) / self.whole


def _photo(
    networks: tuple[Upscale, Upscale], hr: Pixels, scale: int, patch: int, shared: int, report: Progress
) -> Photo:
    lr = shrink(hr, scale)
    patches = pieces(lr, patch, shared)
    cuts = [one.cut(lr) for one in patches]
    truth, inner = luma(hr), slice(scale, -scale)

    def errors(upscale: Upscale) -> Floats:
        def results() -> Iterator[Pixels]:
            for cut in cuts:
                yield upscale(cut)
                report(1 / len(networks) / len(cuts))

        squares = np.zeros_like(truth)  # without a border, as PSNR is measured
        squares[inner, inner] = ((luma(merge(patches, results(), scale)) - truth) ** 2)[inner, inner]
        kept = [(slice(s.kept_from * scale, s.kept_to * scale) for s in (one.rows, one.columns)) for one in patches]
        return np.array([squares[rows, columns].sum() for rows, columns in kept])

    large, small = (errors(upscale) for upscale in networks)
    return Photo(
        detail=np.array([detail(cut) for cut in cuts]),
        pixels=np.array([one.pixels for one in patches], np.float64),
        large=large,
        small=small,
        compared=truth[inner, inner].size,
    )


def _tiled(networks: tuple[Upscale, Upscale], hr: Pixels, scale: int, tile: int, report: Progress) -> Photo:
    lr = shrink(hr, scale)
    truth, inner = luma(hr), slice(scale, -scale)
    found = contrasts(lr, tile)
    ends = [np.arange(0, side * scale, tile * scale) for side in lr.shape[:2]]

    def summed(values: Floats) -> Floats:
        return np.add.reduceat(np.add.reduceat(values, ends[0], 0), ends[1], 1).ravel()

    errors = []
    for upscale in networks:
        squares = np.zeros_like(truth)  # without a border, as PSNR is measured
        squares[inner, inner] = ((luma(upscale(lr)) - truth) ** 2)[inner, inner]
        errors.append(summed(squares))
        report(1 / len(networks))
    pixels = summed(np.full(truth.shape, scale**-2))
    return Photo(found.ravel(), pixels, errors[0], errors[1], truth[inner, inner].size)


def _middle(image: Pixels, scale: int) -> Pixels:
    sides = [min(side // scale, LARGEST) * scale for side in image.shape[:2]]
    top, left = ((side - kept) // 2 for side, kept in zip(image.shape[:2], sides, strict=True))
    return np.ascontiguousarray(image[top : top + sides[0], left : left + sides[1]])


def _part_of(progress: Progress | None, parts: int) -> Progress:
    def report(share: float) -> None:
        if progress:
            progress(share / parts)

    return report
