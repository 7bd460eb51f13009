"""Time of files in two passes against that of the plain file of the same network, on images, in turn, in one run.

    python bench/two_passes.py plain.onnx two.onnx [more.onnx] --data FOLDER [--threads 2] [--rounds 5]
    python bench/two_passes.py --make research/small-pams8-x2.safetensors --data FOLDER

FOLDER holds large images; they are made small first, as `sharpbit evaluate` does. Printed is the median over rounds
of the time of all images, its ratio to that of the first file, their mean PSNR (Y, as `sharpbit evaluate` has it),
and which roads patches took.

`--make` takes a network quantized in training to 8 bits, and compares its plain file with one in two passes of 8 and 4
bits that has its weights and was not trained further: the time is right, the PSNR of the second is not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from sharpbit.measure.benchmarks import Benchmark, find
from sharpbit.measure.evaluate import evaluate
from sharpbit.measure.upscaling import by
from sharpbit.pipeline.samples import to_float
from sharpbit.runtime import Runtime, open_engine


def seconds(runtime: Runtime, images: list[np.ndarray]) -> float:
    """All images, one after the other, in whole; bytes in."""
    started = time.perf_counter()
    for image in images:
        next(iter(runtime([image if runtime.samples == np.uint8 else to_float(image)])))
    return time.perf_counter() - started


def quality(runtime: Runtime, sets: list[Benchmark]) -> float:
    """Mean PSNR of all images."""
    scores = [score.psnr for item in sets for score in evaluate(by(runtime), item, runtime.scale).images]
    return statistics.mean(scores)


def made(path: Path, folder: Path) -> list[Path]:
    """The plain file and the one in two passes of a trained network of 8 bits."""
    import torch

    from sharpbit import model as models
    from sharpbit.export.onnx import export
    from sharpbit.quant.refqsr import published
    from sharpbit.verbs import qat

    source = models.load(path)
    entry = next(entry for entry in source.history if entry.verb == "quantize")
    plain = replace(source, net=source.arch.build(source.config), history=(), about={})
    how = published(source.arch.name, source.config, entry.method, 8, 4)
    torch.manual_seed(0)
    two = qat.two_pass(plain, how, [torch.rand(4, 3, 48, 48)], source=source)
    files = [folder / "plain.onnx", folder / "two_passes.onnx"]
    for model, file in zip((qat.for_engines(source), two), files, strict=True):
        export(model, file)
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--make", type=Path, metavar="TRAINED")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [*given.files, *(made(given.make, Path(folder)) if given.make else ())]
        if not files:
            parser.error("give files, or a trained network with --make")
        compare(files, given)


def compare(files: list[Path], given: argparse.Namespace) -> None:
    """Run and print."""
    runtimes = {path: open_engine(path, "onnx", threads=given.threads) for path in files}
    scale = next(iter(runtimes.values())).scale
    sets = find(given.data)
    images = [item.pair(path, scale)[0] for item in sets for path in item.large]
    psnr = {path: quality(runtime, sets) for path, runtime in runtimes.items()}  # which also warms up
    times: dict[Path, list[float]] = {path: [] for path in runtimes}
    for _ in range(given.rounds):
        for path, runtime in runtimes.items():
            times[path].append(seconds(runtime, images))
    first = statistics.median(times[files[0]])
    print(f"{len(images)} images, {given.threads} threads, median of {given.rounds}\n")
    print("| file | precision | seconds | against the first | PSNR | patches |\n|---|---|---|---|---|---|")
    for path, runtime in runtimes.items():
        took = statistics.median(times[path])
        cells = (path.name, runtime.precision, f"{took:.2f}", f"{took / first:.2f}", f"{psnr[path]:.3f}")
        print(f"| {' | '.join(cells)} | {'; '.join(runtime.notes)} |")


if __name__ == "__main__":
    main()
