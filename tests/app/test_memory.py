"""Memory is bounded by the image that is read, not by the result: it is written strip by strip."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COMMAND = Path(sys.executable).with_name("sharpbit")
WIDTH, HEIGHT = 200, 8000
SHORT = 2000  # rows after which the strips that are worked on at a time have their full height
GROWTH = 4 * WIDTH * 4 * (HEIGHT - SHORT) * 3  # bytes that the tall result has more than the short one, 58 MB


def peak(source, target, *flags):
    """Most bytes that one run of the command had in memory at a time.

    A small process starts it: until a new process has replaced it, the memory of its parent counts as its own.
    """
    measure = "import resource as r, subprocess as s, sys; s.run(sys.argv[1:], check=True);"
    measure += "print(r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss)"
    command = [COMMAND, "upscale", source, "-o", target, "--threads", "1", "-j", "1:1:1", "--quiet", *flags]
    done = subprocess.run([sys.executable, "-c", measure, *command], capture_output=True, text=True, check=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize(("ending", "flags"), [("png", ["-s", "4"]), ("tif", ["--width", str(4 * WIDTH - 1)])])
def test_the_result_is_never_held_whole(tmp_path, flags, ending):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / 20
    tall = (120 + 100 * np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1)).astype(np.uint8)
    Image.fromarray(tall).save(tmp_path / "tall.png", compress_level=1)
    Image.fromarray(tall[:SHORT]).save(tmp_path / "short.png", compress_level=1)
    short = peak(tmp_path / "short.png", tmp_path / f"short2.{ending}", *flags)
    large = peak(tmp_path / "tall.png", tmp_path / f"tall2.{ending}", *flags)
    with Image.open(tmp_path / f"tall2.{ending}") as image:
        assert image.height > 3.9 * HEIGHT
    assert large - short < 0.5 * GROWTH
