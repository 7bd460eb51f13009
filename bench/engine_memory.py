"""What the native engine takes for an image, beside the image and its result, as a row of a Markdown table.

    python bench/engine_memory.py FILE.sharpbit [--size 640x360] [--threads 1] [--most MIB]

The file is opened in a process of its own and run once on a few pixels. What its largest resident size then grows by
while the image is upscaled, less the result, is the engine's: the weights and the image are there before. Linux alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from sharpbit.measure.cold_start import image
from sharpbit.modelfile.integer_file import read
from sharpbit.runtime.native import NativeRuntime


def status(key: str) -> float:
    """A size of this process that the system counts, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


def measured(file: Path, width: int, height: int, threads: int) -> None:
    """Print what the engine takes, in MiB, and what the result takes, which is not a part of it."""
    runtime = NativeRuntime(read(file)[0], threads=threads)
    runtime.run(image((8, 8)))
    source = image((height, width))
    Path("/proc/self/clear_refs").write_text("5")  # the largest resident size counts from here
    before = status("VmRSS")
    result = runtime.run(source).nbytes / 2**20
    print(f"{status('VmHWM') - before - result:.1f} {result:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most", type=float, metavar="MIB", help="exit with 1 if the engine takes more")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    if given.here:
        measured(given.file, width, height, given.threads)
        return
    again = [sys.executable, __file__, str(given.file), "--size", given.size, "--threads", str(given.threads), "--here"]
    own, result = subprocess.run(again, check=True, capture_output=True, text=True).stdout.split()
    print("| file | size | threads | engine MiB | result MiB |\n|---|---|---|---|---|")
    print(f"| {given.file.stem} | {given.size} | {given.threads} | {own} | {result} |")
    if given.most and float(own) > given.most:
        sys.exit(1)


if __name__ == "__main__":
    main()
