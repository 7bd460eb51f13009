"""Peak memory and time of `sharpbit upscale` on large images, as rows of a Markdown table.

    python bench/memory.py [--size WIDTHxHEIGHT]... [--scale N] [--threads N] [--limit GIB]

Each image is drawn strip by strip (gradients and noise, the worst case for PNG), upscaled by the installed command
in a process of its own, and measured with what the system counted for that process.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

from sharpbit import __version__


def draw(path: Path, width: int, height: int) -> None:
    """An RGB PNG file, written without any of the code that is measured."""
    rng = np.random.default_rng(0)
    x = np.arange(width)[None, :, None]
    packer = zlib.compressobj(1)
    with path.open("wb") as file:

        def chunk(kind: bytes, data: bytes) -> None:
            file.write(len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big"))

        file.write(b"\x89PNG\r\n\x1a\n")
        chunk(b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0]))
        for top in range(0, height, 64):
            y = np.arange(top, min(height, top + 64))[:, None, None]
            waves = 120 + 90 * np.sin(x / (40 + 15 * np.arange(3))) * np.cos(y / 31)
            rows = np.clip(waves + rng.normal(0, 6, waves.shape), 0, 255).astype(np.uint8).reshape(len(y), -1)
            chunk(b"IDAT", packer.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes()))
        chunk(b"IDAT", packer.flush())
        chunk(b"IEND", b"")


def measure(source: Path, target: Path, scale: int, threads: int) -> tuple[float, float]:
    """Peak resident memory in GiB and seconds of one run of the command."""
    command = [str(Path(sys.executable).with_name("sharpbit")), "upscale", str(source), "-o", str(target)]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "-s", str(scale), "--threads", str(threads), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the command failed with exit code {process.returncode}")
    return usage.ru_maxrss / 2 ** (30 if sys.platform == "darwin" else 20), seconds


def machine() -> str:
    """The processor's own name for itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", metavar="WIDTHxHEIGHT", help="[default: 6000x4000 and 12000x8000]")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=float, metavar="GIB", help="exit with 1 if a run needs more")
    given = parser.parse_args()
    print("| image | scale | peak memory | seconds | threads | machine | sharpbit | date |")
    print("|---|---|---|---|---|---|---|---|")
    most = 0.0
    for size in given.size or ["6000x4000", "12000x8000"]:
        width, height = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "in.png"
            draw(source, width, height)
            peak, seconds = measure(source, Path(folder) / "out.png", given.scale, given.threads)
        row = (f"{width}x{height} RGB", f"x{given.scale}", f"{peak:.2f} GiB", f"{seconds:.1f}", given.threads)
        print("|", " | ".join(map(str, (*row, machine(), __version__, datetime.date.today()))), "|", flush=True)
        most = max(most, peak)
    sys.exit(given.limit is not None and most > given.limit)


if __name__ == "__main__":
    main()
