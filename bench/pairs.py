"""Quality against time of native pairs of two networks, from the large one alone to the small one alone.

    python bench/pairs.py x2-clean-balanced x2-clean-fast --data BSD100 photos2k [--figure pairs.svg]

Thresholds are those at which tenths (`--shares`) of the tiles of each set go through the small network. Time is CPU
time of the engine with one thread for all LR images of a set, the least of some rounds in turn, as a share of that of
the large network; PSNR is that of `sharpbit evaluate`. The line is that between the two networks: what one gets by
giving whole images to one or the other at random.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sharpbit import zoo
from sharpbit.measure.benchmarks import Benchmark, find
from sharpbit.measure.evaluate import evaluate
from sharpbit.measure.upscaling import by
from sharpbit.modelfile.integer_file import IntegerNetwork, read
from sharpbit.modelfile.integer_pair import IntegerPair
from sharpbit.report.markdown import table
from sharpbit.report.scatter import Point, plot
from sharpbit.runtime.native import NativeRuntime
from sharpbit.twopass.detail import contrasts, levels

SHARES = tuple(tenth / 10 for tenth in range(1, 10))
NEAR = 0.03  # dB below the large network that count as its quality


def measured(item: Benchmark, networks: Sequence[IntegerNetwork], rounds: int) -> list[tuple[float, float]]:
    """Time against that of the first network, and PSNR in dB, of each."""
    runtimes = [NativeRuntime(network, threads=1) for network in networks]
    scale = runtimes[0].scale
    images = [item.pair(path, scale)[0] for path in item.large]
    least = [np.inf] * len(runtimes)
    for _ in range(rounds):
        for number, runtime in enumerate(runtimes):
            started = time.process_time()
            for image in images:
                runtime.run(image)
            least[number] = min(least[number], time.process_time() - started)
    quality = [evaluate(by(runtime), item, scale).psnr for runtime in runtimes]
    return [(taken / least[0], psnr) for taken, psnr in zip(least, quality, strict=True)]


def rows_of(
    item: Benchmark, large: IntegerNetwork, small: IntegerNetwork, tile: int, rounds: int, shares: Sequence[float]
) -> list[list[str]]:
    """The rows of a set: both networks, and pairs between."""
    found = np.concatenate([contrasts(item.pair(path, large.scale)[0], tile).ravel() for path in item.large])
    thresholds = [int(np.quantile(found, share)) for share in shares]
    pairs = [IntegerPair(large, small, tile, threshold) for threshold in thresholds]
    (one, best), *between, (least, worst) = measured(item, [large, *pairs, small], rounds)
    rows = [[item.name, "large alone", "", f"{one:.3f}", f"{best:.3f}", "", ""]]
    for share, threshold, (taken, psnr) in zip(shares, thresholds, between, strict=True):
        line = worst + (best - worst) * (taken - least) / (1 - least)
        name = f"{round(share, 2)} of the tiles"
        cells = [
            f"{levels(threshold):.2f}",
            f"{taken:.3f}",
            f"{psnr:.3f}",
            f"{psnr - best:+.3f}",
            f"{psnr - line:+.3f}",
        ]
        rows.append([item.name, name, *cells])
    return [*rows, [item.name, "small alone", "", f"{least:.3f}", f"{worst:.3f}", f"{worst - best:+.3f}", ""]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("large")
    parser.add_argument("small")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--tile", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES, help="of the tiles for the small network")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args(arguments)
    large, small = (read(zoo.path_of(name))[0] for name in (given.large, given.small))
    head = ("data", "small network", "levels", "time", "dB", "against large", "above the line")
    rows = []
    for folder in given.data:
        for item in find(folder):
            own = rows_of(item, large, small, given.tile, given.rounds, given.shares)
            near = min(float(row[3]) for row in own if float(row[4]) >= float(own[0][4]) - NEAR)
            print(f"{item.name}: within {NEAR} dB of the large network at {near:.3f} of its time")
            rows += own
    print("\n".join(table(head, rows, "llrrrrr")))
    if given.figure:
        panels: dict[str, list[Point]] = {}
        for row in rows:
            label = row[1].removesuffix(" of the tiles")
            panels.setdefault(f"{row[0]}: dB against time", []).append(Point(label, float(row[3]), float(row[4])))
        given.figure.write_text(plot(panels))


if __name__ == "__main__":
    main()
