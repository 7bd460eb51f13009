"""The collection of difficult images through the real command, against what another program found in it."""

import json
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sharpbit.image import read

MANIFEST = json.loads((Path(__file__).parents[1] / "nasty_manifest.json").read_text())
GOOD = [name for name, facts in MANIFEST.items() if facts["outcome"] == "ok"]
SOURCES = ("exif", "libjxl", "pillow")
PARTS = 4
# By how much a network may move the mean of a part, beside what the manifest allows: more in parts of a few pixels, and
# most in images of black and white dots.
SHARPENED, FEW, FEW_SHARPENED = 0.08, 64, 0.17


@pytest.fixture(scope="module")
def walked(shared, tmp_path_factory):
    """One run over the folder: its process, summary, the outcome of each file, and the seconds of CPU time."""
    folder, out = shared / "data" / "nasty", tmp_path_factory.mktemp("nasty")
    command = [Path(sys.executable).with_name("sharpbit"), "upscale", folder, "-o", out, "-f", "png", "--json"]
    command += ["--name-template", "{stem}.{ext}"]
    everything = [folder / name for name in MANIFEST if Path(name).parts[0] in SOURCES]
    # a walk through a folder takes only what looks like an image, so every file is named too
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*command[:2], *everything, *command[3:]], capture_output=True, text=True, timeout=3600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = json.loads(done.stdout)
    by_name = {str(Path(item["input"]).relative_to(folder)): item for item in found["pictures"]}
    return done, found["summary"], by_name, worked


def test_the_run_ends_as_it_should(walked):
    done, summary, by_name, worked = walked
    assert done.returncode == 1
    assert done.stderr == ""
    assert set(by_name) == set(MANIFEST)
    assert (summary["done"], summary["failed"]) == (len(GOOD), len(MANIFEST) - len(GOOD))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 << 20  # KiB
    assert worked < 300  # 22 to 54 s are honest work; tests/image/test_nasty.py has a limit for each file


@pytest.mark.parametrize("name", MANIFEST)
def test_what_came_out(walked, name):
    facts, outcome = MANIFEST[name], walked[2][name]
    if facts["outcome"] == "error":
        assert outcome["status"] == "failed"
        assert Path(name).name in outcome["error"]
        assert "\n" not in outcome["error"]
        assert not Path(outcome["output"]).exists()
        return
    assert outcome["status"] == "done", outcome
    path = Path(outcome["output"])
    kinds = {(1, False): 0, (3, False): 2, (1, True): 4, (3, True): 6}
    width, height, bits, kind = struct.unpack(">IIBB", path.read_bytes()[16:26])
    assert (height, width, bits) == (2 * facts["height"], 2 * facts["width"], facts["bits"])
    assert kind == kinds[facts["channels"], facts["alpha"]]
    with Image.open(path) as image:
        profile = image.info.get("icc_profile", b"")
        assert len(profile) == facts["icc"] or (facts["icc"] == -1 and profile)
        assert (b"eXIf" in path.read_bytes()) == (facts["exif"] or "exif" in image.info)
        assert image.getexif().get(0x0112, 1) == 1
        samples = np.array(image.convert("RGBA") if bits == 8 else _deep(image))
    given = read(Path(outcome["input"])).pixels
    dots = bool(((given == given.min()) | (given == given.max())).all())
    for (rows, columns), wanted in zip(
        _parts(facts["height"], facts["width"]), facts["colours"] or [], strict=bool(facts["colours"])
    ):
        if rows is None or columns is None:
            assert wanted[3] is None
            continue
        part = samples[rows, columns].reshape(-1, 4) / 255
        allowed = SHARPENED if len(part) >= 4 * FEW and not dots else FEW_SHARPENED
        # What is seen of a colour on black: where alpha is low, a colour means little.
        mine = [*(part[:, :3] * part[:, 3:]).mean(0), part[:, 3].mean()]
        theirs = [*((value or 0) * wanted[3] for value in wanted[:3]), wanted[3]]
        assert np.abs(np.subtract(mine, theirs)).max() <= facts["tolerance"] + allowed, (mine, theirs)


def _deep(image):
    """8 bits of a 16-bit image, as Pillow gives it or by hand where it gives 16."""
    if image.mode.startswith("I"):
        grey = (np.array(image) // 257).astype(np.uint8)
        return np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    return image.convert("RGBA")


def _parts(height, width):
    """The 16 parts of the manifest, twice as large; a side of fewer than four pixels leaves some empty."""
    ys, xs = (np.array_split(np.arange(size), PARTS) for size in (height, width))
    return [tuple(slice(2 * int(s[0]), 2 * int(s[-1]) + 2) if s.size else None for s in (y, x)) for y in ys for x in xs]
