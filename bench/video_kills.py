"""Kill `sharpbit video` at random moments, go on with the same command, and compare with a run that was let be.

    python bench/video_kills.py CLIP [--kills 20] [--seed 0] [--model x2-photo-fast]

Each of the runs is a process of its own that gets SIGKILL at a moment between its start and the time that the whole
run takes; the same command then has to finish, and the file has to be the same to the byte, with nothing beside it.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="auto")
    given = parser.parse_args()
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sharpbit", "video", str(given.clip), "-n", given.model, "-o"]
        whole = Path(folder) / "whole.mkv"
        began = time.perf_counter()
        subprocess.run([*command, str(whole)], check=True, capture_output=True)
        length = time.perf_counter() - began
        print(f"an uninterrupted run takes {length:.1f} s, and makes {whole.stat().st_size} bytes")
        wrong = killed = number = 0
        while killed < given.kills:
            number += 1
            again = Path(folder) / f"again{number}.mkv"
            process = subprocess.Popen([*command, str(again)], stderr=subprocess.PIPE)
            moment = moments.uniform(0, length)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.communicate()
            if process.returncode != -signal.SIGKILL:  # this run was faster than the first
                continue
            killed += 1
            there = again.exists()  # all was done but to tidy up
            done = subprocess.run(
                [*command, str(again), *(["--overwrite"] if there else [])], capture_output=True, text=True
            )
            same = again.exists() and again.read_bytes() == whole.read_bytes()
            again.unlink(missing_ok=True)
            left = sorted(path.name for path in Path(folder).iterdir() if path != whole)
            kept = re.search(r"(\d+) of them kept", done.stderr)
            wrong += not same or bool(left) or done.returncode != 0
            what = "finished" if there else f"{kept[1] if kept else 0} frames kept"
            print(
                f"killed after {moment:5.1f} s, {what}: {'the same file' if same else f'ANOTHER FILE {done.stderr}'}"
                f"{f', and left: {left}' if left else ''}",
                flush=True,
            )
        print(f"{killed} kills, {wrong} wrong")
        sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
