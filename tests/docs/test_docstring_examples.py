"""The examples in the docstrings of the main functions run, and each of these functions has one."""

import doctest
import warnings

import pytest
from stand_ins import image

import sharpbit
from video_clips import clip

MAIN = (
    "upscale",
    "upscale_folder",
    "upscale_video",
    "upscale_collection",
    "Upscaler",
    "load",
    "quantize",
    "evaluate",
    "inspect",
    "train",
    "reparameterize",
    "bench",
    "compress",
    "deploy",
)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what examples name: `photo.png`, images in `holiday` and `PHOTOS`, sets of test images."""
    monkeypatch.chdir(tmp_path)
    image(tmp_path / "photo.png", 64, 48)
    image(tmp_path / "holiday" / "one.jpg", 64, 48)
    clip(tmp_path / "clip.mp4", 3, size=(48, 64))
    for number in range(3):
        image(tmp_path / "PHOTOS" / f"{number}.png", 64, 64, seed=number)
    for name in ("Set5", "Set14"):
        image(tmp_path / name / "HR" / "a.png", 48, 36)
    return tmp_path


def examples(name: str) -> list[doctest.DocTest]:
    """The examples of a public function or class."""
    found = doctest.DocTestFinder(recurse=False).find(getattr(sharpbit, name), name, globs={"sharpbit": sharpbit})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MAIN)
def test_examples_of(name, folder):
    tests = examples(name)
    assert tests, f"the docstring of sharpbit.{name} has no example"
    for test in tests:
        report: list[str] = []
        with warnings.catch_warnings():
            doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
        assert not report, "".join(report)
