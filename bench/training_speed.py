"""How fast training gets its images: ours beside a plain loop as in BasicSR, in one run.

python bench/training_speed.py --data PHOTOS [--prepared DIR] [--workers N] [--seconds S] [--device cpu] [--json]

The plain loop is what the common frameworks do: a folder of cut PNG files, large and small; each crop opens two of them
with Pillow, cuts, flips and turns in numpy, becomes a float tensor; workers of a DataLoader make batches. It is written
here for the comparison. Ours holds the images in memory and cuts a batch by one gather. Both make crops of 48 small
pixels at x4, 16 a step, from the same files. They are measured in turn, several times each, after warming up.

Two things are told: crops a second of the data path alone, and steps with a network, with the share of a step's time in
which it waits for data. `--prepared` is the folder of cut files, made by `sharpbit.data.prepare` if it is empty.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sharpbit import model as models
from sharpbit.data.pairs import Pairs
from sharpbit.data.prepare import PreparationPlan, prepare

BATCH, PATCH, SCALE = 16, 48, 4
Batch = tuple[Tensor, Tensor]


class Files(Dataset[Batch]):
    """Random crops of pairs of PNG files."""

    def __init__(self, folder: Path) -> None:
        self.large = sorted((folder / "HR").glob("*.png"))
        self.small = [folder / f"LR_bicubic/X{SCALE}" / path.name for path in self.large]

    def __len__(self) -> int:
        return 1 << 30  # a sampler of its own would only restart

    def __getitem__(self, index: int) -> Batch:
        random = np.random.default_rng(index)
        k = int(random.integers(len(self.large)))
        with Image.open(self.large[k]) as one, Image.open(self.small[k]) as other:
            large, small = np.array(one.convert("RGB")), np.array(other.convert("RGB"))
        y, x = (int(random.integers(size - PATCH + 1)) for size in small.shape[:2])
        small = small[y : y + PATCH, x : x + PATCH]
        large = large[y * SCALE : (y + PATCH) * SCALE, x * SCALE : (x + PATCH) * SCALE]
        flips = random.integers(2, size=3)
        return turned(small, flips), turned(large, flips)


def turned(crop: np.ndarray, flips: np.ndarray) -> Tensor:
    crop = crop[::-1] if flips[0] else crop
    crop = crop[:, ::-1] if flips[1] else crop
    crop = crop.swapaxes(0, 1) if flips[2] else crop
    return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)).astype(np.float32) / np.float32(255))


def plain(folder: Path, workers: int, device: str) -> Iterator[Batch]:
    loader = DataLoader(
        Files(folder), BATCH, num_workers=workers, persistent_workers=workers > 0, pin_memory=device != "cpu"
    )
    for small, large in loader:
        yield small.to(device, non_blocking=True), large.to(device, non_blocking=True)


def ours(pairs: Pairs) -> Iterator[Batch]:
    step = 0
    while True:
        yield pairs.batch(BATCH, PATCH, torch.Generator().manual_seed(step), colours=False)
        step += 1


def finish(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def crops_a_second(batches: Iterator[Batch], seconds: float, device: str) -> float:
    finish(device)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += BATCH
    finish(device)
    return count / (time.perf_counter() - start)


def steps(batches: Iterator[Batch], net: torch.nn.Module, seconds: float, device: str) -> tuple[float, float]:
    """Steps a second, and the share of their time in which nothing could be computed for want of a batch."""
    optimizer = torch.optim.Adam(net.parameters())
    waited, start, count = 0.0, time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        before = time.perf_counter()
        small, large = next(batches)
        finish(device)  # the step before was awaited, so this is the time of the data alone
        waited += time.perf_counter() - before
        optimizer.zero_grad()
        torch.nn.functional.l1_loss(net(small), large).backward()
        optimizer.step()
        finish(device)
        count += 1
    took = time.perf_counter() - start
    return count / took, waited / took


def measured(folder: Path, workers: int, seconds: float, rounds: int, device: str) -> dict[str, Any]:
    pairs = Pairs.from_folder(folder, SCALE, device=device, quiet=True)
    ways = {"plain": plain(folder, workers, device), "sharpbit": ours(pairs)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    training: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    torch.manual_seed(0)
    size = {"blocks": 4, "width": 32} if device == "cpu" else {}
    net = models.build("srresnet", scale=SCALE, **size).net.train().to(device)
    for batches in ways.values():
        for _ in range(8):
            next(batches)
    for _ in range(
        rounds
    ):  # in turn; a plain loop's workers go on meanwhile until their queues are full: in its favour
        for name, batches in ways.items():
            rates[name].append(crops_a_second(batches, seconds, device))
        for name, batches in ways.items():
            training[name].append(steps(batches, net, seconds, device))
    rows = {
        name: {
            "crops_a_second": statistics.median(rates[name]),
            "steps_a_second": statistics.median(rate for rate, _ in training[name]),
            "waits": statistics.median(share for _, share in training[name]),
        }
        for name in ways
    }
    faster = rows["sharpbit"]["crops_a_second"] / rows["plain"]["crops_a_second"]
    return {"rows": rows, "faster": faster, "pictures": len(pairs.sizes), "workers": workers, "device": device}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--prepared")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.prepared or temporary)
        prepare(PreparationPlan(Path(given.data), folder, (SCALE,)), workers=given.workers)
        found = measured(folder, given.workers, given.seconds, given.rounds, given.device)
    if given.json:
        print(json.dumps(found, indent=1))
        return
    print("| loop | crops a second, data alone | steps a second | of which waiting for data |\n|---|---:|---:|---:|")
    for name, row in found["rows"].items():
        print(f"| {name} | {row['crops_a_second']:,.0f} | {row['steps_a_second']:.2f} | {row['waits']:.1%} |")
    print(
        f"\n{found['faster']:.1f} times as many crops a second. {found['pictures']} cut images, crops of {PATCH}"
        f" small pixels at x{SCALE}, {BATCH} a step; {found['workers']} workers, {torch.get_num_threads()} threads,"
        f" {found['device']}; medians of {given.rounds} rounds of {given.seconds:g} s each."
    )


if __name__ == "__main__":
    main()
