"""How long a cold start takes: fresh processes, run in turn, as rows of a Markdown table.

python bench/start.py [--rounds N]
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memory import draw, machine

from sharpbit import __version__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    command = str(Path(sys.executable).with_name("sharpbit"))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.png", Path(folder) / "out.png"
        draw(source, 64, 64)
        larger = Path(folder) / "larger.png"
        draw(larger, 640, 360)
        cases: dict[str, list[str | Path]] = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import sharpbit": [sys.executable, "-c", "import sharpbit"],
            "sharpbit --version": [command, "--version"],
            "sharpbit upscale, 64x64 at x2": [command, "upscale", source, "-o", target, "--overwrite"],
            "sharpbit upscale, 640x360 at x3": [command, "upscale", larger, "-s", "3", "-o", target, "--overwrite"],
        }
        times: dict[str, list[float]] = {name: [] for name in cases}
        for turn in range(given.rounds + 1):
            for name, arguments in cases.items():
                started = time.perf_counter()
                subprocess.run(arguments, check=True, capture_output=True)
                if turn:  # the first round fills the system's file cache
                    times[name].append(time.perf_counter() - started)
    print(f"sharpbit {__version__}, {machine()}, {datetime.date.today()}, {given.rounds} rounds\n")
    print("| what | median, s | fastest, s | slowest, s |")
    print("|---|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")


if __name__ == "__main__":
    main()
