"""PSNR and SSIM, by the benchmarks' protocol, of anything that maps a picture to a larger one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sharpbit import tiles
from sharpbit.measure import psnr, ssim
from sharpbit.measure.benchmarks import Benchmark, Pixels
from sharpbit.runtime import Runtime, Samples

Enlarge = Callable[[Pixels], Pixels]

WHOLE = 1 << 20  # input pixels that a network gets in one piece; larger pictures go through it in tiles
_TILE, _HALO = 512, 32


@dataclass(frozen=True)
class Score:
    """One picture: its file name, PSNR in dB (infinite where the result is the true picture) and SSIM."""

    name: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class SetScore:
    """A set of pictures: its name, how it was measured, means of the pictures' values, and the pictures."""

    name: str
    protocol: str
    psnr: float
    ssim: float
    pictures: tuple[Score, ...]


def evaluate(
    enlarge: Enlarge,
    benchmark: Benchmark,
    scale: int,
    *,
    workers: int = 1,
    progress: Callable[[int], object] | None = None,
) -> SetScore:
    """Measure `enlarge` on every picture of a set.

    Args:
        enlarge: `(h, w, 3)` uint8 RGB to `(h * scale, w * scale, 3)` uint8; called from several threads.
        benchmark: the pictures.
        scale: upscaling factor.
        workers: pictures that are worked on at a time, each in a thread of its own from file to numbers.
        progress: called with 1 after each picture.

    Raises:
        SharpbitError: a picture cannot be read, has no partner, or comes out in another size.
    """

    def one(path: Path) -> Score:
        small, large = benchmark.pair(path, scale)
        values = psnr.compared(enlarge(small), large, scale, "y")
        if progress:
            progress(1)
        return Score(path.name, psnr.of_values(*values), ssim.of_values(*values))

    with ThreadPoolExecutor(workers, "evaluate") as pool:
        try:
            scores = tuple(pool.map(one, benchmark.large))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return SetScore(
        name=benchmark.name,
        protocol=f"Y channel, border = scale, results rounded to 8 bits; {benchmark.protocol(scale)}",
        psnr=float(np.mean([score.psnr for score in scores])),
        ssim=float(np.mean([score.ssim for score in scores])),
        pictures=scores,
    )


def by(runtime: Runtime) -> Enlarge:
    """What an engine makes of a picture, clamped and rounded to 8 bits."""

    def enlarge(small: Pixels) -> Pixels:
        x = small if runtime.samples == np.uint8 else small.astype(np.float32) / np.float32(255)
        height, width = x.shape[:2]
        if runtime.tile is None and (runtime.wide or runtime.halo is None or height * width <= WHOLE):
            return _eight_bits(next(iter(runtime([x]))))
        side, halo = _tiling(runtime)
        scale = runtime.scale
        out = np.empty((height * scale, width * scale, 3), np.uint8)
        for tile in (tile for row in tiles.rows(height, width, side, 0) for tile in row):
            top, left = max(0, tile.top - halo), max(0, tile.left - halo)  # the network pads at the edges, as if whole
            result = next(iter(runtime([x[top : tile.bottom + halo, left : tile.right + halo]])))
            rows, columns = slice(tile.top * scale, tile.bottom * scale), slice(tile.left * scale, tile.right * scale)
            own = result[(tile.top - top) * scale :, (tile.left - left) * scale :]
            out[rows, columns] = _eight_bits(own[: rows.stop - rows.start, : columns.stop - columns.start])
        return out

    return enlarge


def _tiling(runtime: Runtime) -> tuple[int, int]:
    halo = _HALO if runtime.halo is None else runtime.halo
    if runtime.tile is None:
        return _TILE, halo
    halo = min(halo, runtime.tile // 4)
    return runtime.tile - 2 * halo, halo


def _eight_bits(x: Samples) -> Pixels:
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    out = np.clip(x, 0, 1)
    out *= 255
    return np.ascontiguousarray(np.rint(out, out=out).astype(np.uint8))
