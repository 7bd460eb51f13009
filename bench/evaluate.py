"""Evaluating ETDS-M on three sets at three scales: sharpbit against the same loop in eager PyTorch, in one run.

Everything counts from the files on: decoding, making the LR images, the network, PSNR and SSIM. The loop in
PyTorch reads each image once, resizes by matrices, runs the network without gradients on all threads, and computes
SSIM with separable windows: not how such loops are mostly written, but how one would write it to be quick. Numbers of
both sides are compared, so that they did the same work.

    python bench/evaluate.py --weights FOLDER --data FOLDER    FOLDER/ETDS_M6C32_x2.pth ...; FOLDER/Set5/HR/*.png ...
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

import sharpbit
from sharpbit.export import EXPORTS
from sharpbit.image.resize import taps
from sharpbit.measure.benchmarks import find
from sharpbit.model import load
from sharpbit.runtime import available_cpus

SCALES = (2, 3, 4)
LUMA = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64) / 255


def ours(models: list[Path], data: list[Path], threads: int) -> dict[str, float]:
    sets = [found for folder in data for found in find(folder)]
    results = [sharpbit.evaluate(model, sets, threads=threads) for model in models]
    return {f"{score.name} x{r.scale}": score.psnr + score.ssim for r in results for score in r.sets}


def eager(models: list[Path], data: list[Path], threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    nets = {model.scale: model.net.eval() for model in map(load, models)}
    window = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    window = (window / window.sum()).reshape(1, 1, 1, 11)
    found: dict[str, list[float]] = {}
    with torch.inference_mode():
        for benchmark in (found for folder in data for found in find(folder)):
            for path in benchmark.large:
                large = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
                large = large[: large.shape[0] // 12 * 12, : large.shape[1] // 12 * 12].permute(2, 0, 1)
                for scale, net in nets.items():
                    small = shrink(large.double(), scale)
                    out = (net(small.float()[None] / 255)[0].clamp(0, 1) * 255).round()
                    score = compare(out, large, scale, window)
                    found.setdefault(f"{benchmark.name} x{scale}", []).append(score)
    return {name: statistics.mean(scores) for name, scores in found.items()}


def shrink(x: torch.Tensor, scale: int) -> torch.Tensor:
    rows, columns = (matrix(size, scale) for size in x.shape[1:])
    return (rows @ x @ columns.T).clamp(0, 255).round()


def matrix(size: int, scale: int) -> torch.Tensor:
    index, weight = taps(size, size // scale, 1 / scale)
    dense = np.zeros((size // scale, size))
    np.add.at(dense, (np.arange(size // scale)[:, None], index), weight)
    return torch.from_numpy(dense)


def compare(a: torch.Tensor, b: torch.Tensor, border: int, window: torch.Tensor) -> float:
    """PSNR plus SSIM."""
    inner = slice(border, -border)
    a, b = (torch.tensordot(LUMA, x[:, inner, inner].double(), 1) + 16 for x in (a, b))
    psnr = 10 * torch.log10(255**2 / ((a - b) ** 2).mean())
    maps = torch.stack([a, b, a * a, b * b, a * b])[:, None]
    mean_a, mean_b, aa, bb, ab = F.conv2d(F.conv2d(maps, window), window.transpose(2, 3))[:, 0]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_a * mean_b + c1) * (2 * (ab - mean_a * mean_b) + c2)
    bottom = (mean_a**2 + mean_b**2 + c1) * (aa - mean_a**2 + bb - mean_b**2 + c2)
    return float(psnr + (top / bottom).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, type=Path, help="folder of ETDS_M6C32_x{2,3,4}.pth")
    parser.add_argument("--data", required=True, type=Path, help="folder of the benchmarks")
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14", "BSD100"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cpus())
    given = parser.parse_args()
    weights = [given.weights / f"ETDS_M6C32_x{scale}.pth" for scale in SCALES]
    data = [given.data / name for name in given.sets]
    with tempfile.TemporaryDirectory() as folder:
        exported = [Path(folder) / f"{path.stem}.onnx" for path in weights]
        for path, target in zip(weights, exported, strict=True):
            EXPORTS["onnx"](load(path), target)
        ways = {
            "eager PyTorch loop, .pth": lambda: eager(weights, data, given.threads),
            "sharpbit evaluate, .pth (PyTorch)": lambda: ours(weights, data, given.threads),
            "sharpbit evaluate, .onnx (ONNX Runtime)": lambda: ours(exported, data, given.threads),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.repeats):
            results = {}
            for name, way in ways.items():
                started = time.perf_counter()
                results[name] = way()
                seconds[name].append(time.perf_counter() - started)
    first, *others = results.values()
    apart = max(abs(first[key] - other[key]) for other in others for key in first)
    base = statistics.median(seconds["eager PyTorch loop, .pth"])
    print(
        f"{', '.join(given.sets)} at {', '.join(f'x{s}' for s in SCALES)}, ETDS-M, float32, {given.threads} threads; "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}, "
        f"sharpbit {sharpbit.__version__}, {time.strftime('%Y-%m-%d')}; {given.repeats} rounds, in turn"
    )
    print(f"largest difference of PSNR + SSIM between the ways: {apart:.1g}\n")
    print("| | median s | fastest s | times the loop |\n|---|---:|---:|---:|")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"| {name} | {middle:.2f} | {min(times):.2f} | {middle / base:.2f} |")


if __name__ == "__main__":
    main()
