"""What `sharpbit batch` costs beside the network, and what it survives, as JSON.

    python bench/collection.py [--images N] [--tiny N] [--ray] [--workers N]

Images are of noise. `processes` and `threads` upscale the same images, 320x240 to x2. `tiny` are images of 16x16: what
a pool adds to each is the difference between the time of the run and that of the rows. With --ray, a worker of a local
cluster is killed in mid-work, then the run itself, and it is continued.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import sharpbit


def draw(folder: Path, count: int, height: int, width: int) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06}.png", compress_level=1)
    return folder


def resident(pid: int) -> float:
    """MiB of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def children(pid: int, mark: str) -> list[int]:
    lines = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split(None, 2) for line in lines.splitlines()]
    return [int(own) for own, parent, args in found if mark in args and (pid in (0, int(parent)))]


def throughput(root: Path, images: int, workers: int) -> dict[str, float]:
    source = draw(root / "images", images, 240, 320)
    found = {}
    for name, work in (
        ("processes", lambda to: sharpbit.upscale_collection(source, to, scale=2, workers=workers)),
        ("one process", lambda to: sharpbit.upscale_collection(source, to, scale=2, workers=1)),
        ("threads", lambda to: sharpbit.upscale_folder(source, to, scale=2, threads=workers)),
    ):
        started = time.perf_counter()
        work(root / name.replace(" ", "_"))
        found[name] = round(images / (time.perf_counter() - started), 2)
    return found


def tiny(root: Path, count: int) -> dict[str, float]:
    source, memory = draw(root / "tiny", count, 16, 16), {}
    seen, worked = 0, 0.0

    def each(row: dict[str, Any]) -> None:
        nonlocal seen, worked
        seen += 1
        worked += row["seconds"]
        if seen in (count // 10, count):
            workers = children(os.getpid(), "spawn_main")
            memory[seen] = [round(resident(os.getpid()), 1), *(round(resident(pid), 1) for pid in workers)]

    report = sharpbit.upscale_collection(source, root / "pool", model="x2-clean-fast", scale=2, workers=1, each=each)
    started = time.perf_counter()
    sharpbit.upscale_collection(source, root / "pool", model="x2-clean-fast", scale=2, workers=1)
    again = time.perf_counter() - started
    return {
        "images": count,
        "ms each, in the worker": round(worked / count * 1000, 3),
        "ms each, one process of a pool": round(report.seconds / count * 1000, 3),
        "ms each, second run": round(again / count * 1000, 3),
        "MiB of parent and worker after a tenth": memory[count // 10],
        "MiB of parent and worker at the end": memory[count],
    }


def on_ray(root: Path, images: int, workers: int) -> dict[str, object]:
    source, results = draw(root / "for_ray", images, 240, 320), root / "by_ray"
    for number in range(10):
        (source / f"broken{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    command = [sys.executable, "-m", "sharpbit", "batch", str(source), str(results), "-s", "2", "--ray", "local"]
    command += ["--workers", str(workers), "--json"]

    def made() -> int:
        return len(list(results.glob("*.png")))

    def until(count: int) -> None:
        while made() < count:
            time.sleep(0.1)

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        until(images // 5)
        os.kill(children(0, "ray::MapWorker")[0], signal.SIGKILL)
        until(images // 2)
        run.kill()
    stamps = {path: path.stat().st_mtime_ns for path in results.glob("*.png")}
    second = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    third = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    kept = all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    return {
        "done when the run was killed": len(stamps),
        "second run": second["done"],
        "known to it": second["before"],
        "failed": second["failed"],
        "files": made(),
        "nothing done twice": kept,
        "third run": third["done"],
        "seconds of the second run": round(second["seconds"], 1),
        "seconds of the third run": round(third["seconds"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--tiny", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, object] = {"load": [round(value, 1) for value in os.getloadavg()]}
        if given.ray:
            found["ray"] = on_ray(Path(folder), given.images, given.workers)
        else:
            found["images a second"] = throughput(Path(folder), given.images, given.workers)
            found["tiny"] = tiny(Path(folder), given.tiny)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
