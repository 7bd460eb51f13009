"""Time against tile size: one image, all sizes in turn, medians of several rounds.

python bench/tiles.py [--model NAME] [--rounds N]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from sharpbit.image import ImageData, Metadata
from sharpbit.pipeline.upscaler import Upscaler

SIZES = (64, 128, 192, 256, 384, 512, 1024)


def image(height: int, width: int) -> ImageData:
    """Smooth shapes and some noise; the time does not depend on what is in an image."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    base = 128 + 90 * np.sin(x / 37) * np.cos(y / 23)
    pixels = base[..., None] + rng.normal(0, 8, (height, width, 3))
    return ImageData(np.clip(pixels, 0, 255).astype(np.uint8), None, Metadata(), (), "array")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="x2-clean-balanced")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    source = image(1080, 1920)
    upscalers = {size: Upscaler(given.model, tile=size) for size in SIZES}
    times: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(given.rounds):
        for size, upscaler in upscalers.items():
            started = time.perf_counter()
            for _ in upscaler.strips(source):
                pass
            times[size].append(time.perf_counter() - started)
    medians = {size: statistics.median(values) for size, values in times.items()}
    threads = upscalers[SIZES[0]].describe(given.model)["threads"]
    print(f"{given.model}, 1920x1080, {threads} threads, median of {given.rounds}\n\n| tile | seconds | against 256 |")
    print("|---|---|---|")
    for size, seconds in medians.items():
        print(f"| {size} | {seconds:.3f} | {seconds / medians[256]:.2f} |")


if __name__ == "__main__":
    main()
