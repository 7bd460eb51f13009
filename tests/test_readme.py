"""The README's code blocks run as they stand, in a folder with the images that they name.

Blocks with a mark above them are run, or not, by `tests/docs/test_pages.py`.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from video_clips import clip

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = [line for block in re.findall(r"(?<!-->\n)```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
COMMANDS = set(re.findall(r"(?:^|`|\| )sharpbit ([a-z]+)", README, re.MULTILINE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    Image.fromarray(pixels).save(folder / "photo.png")
    clip(folder / "clip.mp4", 3)
    (folder / "holiday" / "beach").mkdir(parents=True)
    Image.fromarray(pixels).save(folder / "holiday" / "one.jpg")
    Image.fromarray(pixels).save(folder / "holiday" / "beach" / "two.png")
    return folder


def test_there_is_something_to_run():
    assert len(PYTHON) >= 1
    assert len(SHELL) >= 5


@pytest.mark.parametrize("line", SHELL)
def test_commands(line, folder):
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(line, shell=True, cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_commands_left(folder):
    def size(name):
        with Image.open(folder / name) as image:
            return image.format, image.size

    assert size("photo_x2.png") == ("PNG", (512, 384))
    assert size("large.jpg") == ("JPEG", (1024, 768))
    assert size("holiday_large/beach/two.png") == ("PNG", (512, 384))
    assert size("wallpaper.png")[1] == (2880, 2160)
    assert size("three.png") == ("PNG", (768, 576))


@pytest.mark.parametrize("code", PYTHON)
def test_python(code, folder):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def slug(heading: str) -> str:
    """The anchor of a heading, as hosts of Markdown make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_files_that_the_readme_names_exist():
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        name, _, anchor = link.partition("#")
        assert (ROOT / name).exists(), link
        headings = re.findall(r"^#+ (.+)$", (ROOT / name).read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {slug(heading) for heading in headings}, link
    for name in re.findall(r"`((?:scripts|recipes|docs|bench|evidence)/[^`* ]+)`", README):
        assert (ROOT / name).exists(), name


def test_commands_that_the_readme_names_exist():
    listing = subprocess.run(
        [Path(sys.executable).with_name("sharpbit"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert {"upscale", "models", "train"} <= COMMANDS
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", listing, re.MULTILINE), command
