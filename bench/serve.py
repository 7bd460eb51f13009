"""How much of the engine's throughput is left behind HTTP: the same images as a folder, and as uploads all at once.

python bench/serve.py [--images 50] [--size 1024x768] [--rounds N]

The uploads come from this process, each in a thread, and wait for their results; the server is another process. Both
ways read a JPEG, run the x2 network of its family and write a JPEG. The rounds go in turn.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from memory import draw, machine
from PIL import Image

import sharpbit
from sharpbit import __version__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--size", default="1024x768")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        folder.mkdir()
        draw(Path(name) / "one.png", width, height)
        for number in range(given.images):
            Image.open(Path(name) / "one.png").convert("RGB").save(folder / f"{number}.jpg", quality=95)
        server, address = started()
        try:
            report(given, folder, Path(name), server, address)
        finally:
            server.terminate()
            server.wait()


def report(given: argparse.Namespace, folder: Path, place: Path, server: subprocess.Popen[str], address: str) -> None:
    files = sorted(folder.iterdir())
    seconds: dict[str, list[float]] = {"a folder": [], "uploads": []}
    codes: Counter[int] = Counter()
    for turn in range(given.rounds + 1):
        began = time.perf_counter()
        outcomes = sharpbit.upscale_folder(folder, place / f"out{turn}", scale=2)
        middle = time.perf_counter()
        assert all(outcome.status == "done" for outcome in outcomes)
        found = uploads(address, files)
        if turn:  # the first round opens models
            seconds["a folder"].append(middle - began)
            seconds["uploads"].append(time.perf_counter() - middle)
            codes += found
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print(f"sharpbit {__version__}, {machine()}, {datetime.date.today()}, load {os.getloadavg()[0]:.1f}\n")
    print(f"{given.images} JPEGs of {given.size} at x2, {given.rounds} rounds\n")
    print("| way | median, s | fastest, s |")
    print("|---|---|---|")
    for way, values in seconds.items():
        print(f"| {way} | {statistics.median(values):.2f} | {min(values):.2f} |")
    print(f"\nthroughput of uploads: {statistics.median(ratios):.2f} of that of a folder (rounds: ", end="")
    print(f"{', '.join(f'{ratio:.2f}' for ratio in ratios)}); answers {dict(codes)}; most memory of the", end=" ")
    print(f"server {peak(server.pid):.0f} MiB")


def started() -> tuple[subprocess.Popen[str], str]:
    """A server on a free port, and its address."""
    command = [sys.executable, "-m", "sharpbit", "serve", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr
    found = re.search(r"http://([^/\s]+)", server.stderr.readline())
    assert found
    return server, found[1]


def uploads(address: str, files: list[Path]) -> Counter[int]:
    """Send all files at once, those again that were refused for the moment; the status codes."""
    codes: Counter[int] = Counter()

    def upload(path: Path) -> None:
        while True:
            line = http.client.HTTPConnection(address, timeout=600)
            line.request("POST", "/v1/upscale?scale=2", path.read_bytes(), {"content-type": "image/jpeg"})
            answer = line.getresponse()
            answer.read()
            line.close()
            codes[answer.status] += 1
            if answer.status != 429:
                return
            time.sleep(0.5)

    threads = [threading.Thread(target=upload, args=(path,)) for path in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes


def peak(process: int) -> float:
    """The most memory that a process had, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
