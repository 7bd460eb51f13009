"""PSNR and SSIM, by the benchmarks' protocol, of anything that maps an image to a larger one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sharpbit.measure import psnr, ssim
from sharpbit.measure.benchmarks import Benchmark
from sharpbit.measure.patchwise import Cost
from sharpbit.measure.upscaling import Pixels, Upscale
from sharpbit.system.progress import Progress


@dataclass(frozen=True)
class Score:
    """One image: its file name, PSNR in dB (infinite where the result is the HR image), SSIM, and its cost."""

    name: str
    psnr: float
    ssim: float
    cost: Cost | None = None


@dataclass(frozen=True)
class SetScore:
    """A set of images: its name, how it was measured, means of the images' values, the images, mean cost."""

    name: str
    protocol: str
    psnr: float
    ssim: float
    images: tuple[Score, ...]
    cost: Cost | None = None


def evaluate(
    upscale: Upscale | Callable[[Pixels], Pixels | tuple[Pixels, Cost]],
    benchmark: Benchmark,
    scale: int,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    keep: Callable[[Path, Pixels], None] | None = None,
    known: Callable[[Path], Pixels | None] | None = None,
) -> SetScore:
    """Measure `upscale` on every image of a set.

    Args:
        upscale: `(h, w, 3)` uint8 RGB to `(h * scale, w * scale, 3)` uint8, perhaps with what that cost; called from
            several threads.
        benchmark: set of test images.
        scale: upscaling factor.
        workers: number of images at a time, each in a thread of its own from file to numbers.
        progress: function that is called with 1 after each image.
        keep: function that is called with the path of each HR image and the result, `(H, W, 3)` uint8.
        known: function of the path of an HR image that gives its result where that was made before; by default none
            was.

    Raises:
        SharpbitError: an image cannot be read, has no LR image, or comes out in another size.
    """

    def one(path: Path) -> Score:
        small, large = benchmark.pair(path, scale)
        before = known(path) if known else None
        result = upscale(small) if before is None else before
        pixels, cost = result if isinstance(result, tuple) else (result, None)
        values = psnr.compared(pixels, large, scale, "y")
        if keep:
            keep(path, pixels)
        if progress:
            progress(1)
        return Score(path.name, psnr.of_values(*values), ssim.of_values(*values), cost)

    with ThreadPoolExecutor(workers, "evaluate") as pool:
        try:
            scores = tuple(pool.map(one, benchmark.large))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    costs = [score.cost for score in scores if score.cost is not None]
    return SetScore(
        name=benchmark.name,
        protocol=f"Y channel, border = scale, results rounded to 8 bits; {benchmark.protocol(scale)}",
        psnr=float(np.mean([score.psnr for score in scores])),
        ssim=float(np.mean([score.ssim for score in scores])),
        images=scores,
        cost=Cost.mean(costs) if costs else None,
    )
