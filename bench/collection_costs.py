"""What an image of a collection costs one core, and what that means for a million, as tables of Markdown.

    python bench/collection_costs.py [--photo FILE] [--rows N] [--machines N...] [--cores N] [--network MBIT]

A photograph is brought to each size, saved as JPEG of quality 90, and upscaled twice by one thread: the seconds of
reading, of the network, and of writing come from the stages of the run. Bytes are those of the files. From these follow
the days of a million images of 12 megapixels, by cores alone and by the network that brings and takes the files. The
manifest is written and read with rows like those of a run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from PIL import Image

from sharpbit.collection.manifest import row_of, schema
from sharpbit.collection.places import Item
from sharpbit.image import WriteOptions
from sharpbit.pipeline.batch import Batch
from sharpbit.pipeline.jobs import Job
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.writing import Target

SIZES = {"0.3 MP": (640, 480), "2 MP": (1920, 1080), "12 MP": (4000, 3000)}
MODELS = ("x2-photo-fast", "x2-photo-balanced")
FORMATS = {"JPEG": ".jpg", "PNG": ".png"}
DAY = 86400.0


def photograph(path: Path | None) -> Image.Image:
    if path is not None:
        return Image.open(path).convert("RGB")
    rng = np.random.default_rng(0)  # noise of every wavelength, much as photographs have it
    total = np.zeros((1024, 1024, 3), np.float32)
    for side in (4, 16, 64, 256, 1024):
        part = Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))
        total += np.asarray(part.resize((1024, 1024), Image.Resampling.BICUBIC), np.float32) / np.sqrt(side)
    return Image.fromarray(np.uint8(255 * (total - total.min()) / np.ptp(total)))


def measured(folder: Path, photo: Image.Image) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for name, (width, height) in SIZES.items():
        source = folder / f"{width}.jpg"
        photo.resize((width, height), Image.Resampling.BICUBIC).save(source, quality=90)
        for model in MODELS:
            for kind, suffix in FORMATS.items():
                batch = Batch(
                    Upscaler(model, size=Size(2), threads=1), Target(kind, WriteOptions(), overwrite=True, threads=1)
                )
                target = folder / f"result{suffix}"
                for _ in range(2):  # the second run counts: what is opened and compiled once is there
                    before = dict(vars(batch.spent))
                    (outcome,) = batch.run([Job(source, target)], lambda share: None)
                    assert outcome.status == "done", outcome
                spent = {key: value - before[key] for key, value in vars(batch.spent).items()}
                stages = {key: round(spent[key], 3) for key in ("decode", "network", "encode")}
                sizes = {"in MB": source.stat().st_size / 1e6, "out MB": target.stat().st_size / 1e6}
                found.append({"size": name, "model": model, "result": kind, **stages, **sizes})
    return found


def manifest(folder: Path, count: int) -> dict[str, float]:
    rows = []
    for number in range(count):
        item = Item(
            f"2026/11/{number // 1000:05}/IMG_{number:08}.jpg", 4_000_000 + number, str(1_795_000_000_000 + number)
        )
        facts = {"sha256": hashlib.sha256(str(number).encode()).hexdigest(), "result": item.path, "model": MODELS[1]}
        rows.append(
            row_of(item, "done", **facts, width=4000, height=3000, result_width=8000, result_height=6000, scale=2.0)
        )
    path = folder / "manifest.parquet"
    started = time.perf_counter()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema()), path, compression="zstd")
    written, started = time.perf_counter() - started, time.perf_counter()
    parquet.read_table(path, columns=["path", "status", "bytes", "modified", "result", "error"]).to_pylist()
    read, started = time.perf_counter() - started, time.perf_counter()
    return {
        "bytes a row": path.stat().st_size / count,
        "us to write": written / count * 1e6,
        "us to read": read / count * 1e6,
    }


def listed(folder: Path, count: int) -> float:
    """Microseconds to list a file of this machine."""
    from sharpbit.collection.places import items, place

    for number in range(count):
        (folder / f"{number}.jpg").touch()
    started = time.perf_counter()
    assert sum(1 for _ in items(place(folder), place(folder / "results"))) == count
    return (time.perf_counter() - started) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--machines", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--cores", type=int, default=32)
    parser.add_argument("--network", type=float, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = measured(folder, photograph(given.photo))
        facts: dict[str, float] = manifest(folder, given.rows)
        (folder / "many").mkdir()
        facts["us to list a local file"] = listed(folder / "many", min(20_000, given.rows))
    if given.json:
        print(json.dumps({"load": os.getloadavg(), "images": rows, "manifest": facts}, indent=2))
        return
    print("| image | model | result | decode s | network s | encode s | in MB | out MB |\n|" + "---|" * 8)
    for row in rows:
        print(
            "| "
            + " | ".join(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values())
            + " |"
        )
    print(
        f"\n| a million images of 12 MP, {given.cores} cores a machine | "
        + " | ".join(f"{n} machines" for n in given.machines),
        end="",
    )
    print(" | network until it limits |\n|---|" + "---|" * (len(given.machines) + 1))
    for row in rows:
        if row["size"] != "12 MP":
            continue
        seconds = float(row["decode"]) + float(row["network"]) + float(row["encode"])  # type: ignore[arg-type]
        megabytes = float(row["in MB"]) + float(row["out MB"])  # type: ignore[arg-type]
        days = [f"{1e6 * seconds / (given.cores * count) / DAY:.2f} days" for count in given.machines]
        rate = given.network / 8 / (megabytes * given.cores / seconds)
        print(
            f"| {row['model']}, {row['result']} | "
            + " | ".join(days)
            + f" | {rate:.0f} machines at {given.network:.0f} Mbit/s |"
        )
    print("\n" + ", ".join(f"{key} {value:.1f}" for key, value in facts.items()))


if __name__ == "__main__":
    main()
