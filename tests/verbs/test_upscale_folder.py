"""Folders from Python: outcomes in order, bad images named, nothing overwritten."""

import numpy as np
import pytest
from PIL import Image

import sharpbit
from sharpbit.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "c.png").write_bytes(b"no image")
    return tmp_path


def test_a_folder(folder):
    shares = []
    outcomes = sharpbit.upscale_folder(folder / "in", folder / "out", scale=3, threads=1, progress=shares.append)
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert "c.png" in outcomes[1].error
    with Image.open(folder / "out" / "deep" / "b.png") as image:
        assert image.size == (48, 36)
    assert sum(shares) == pytest.approx(3)


def test_again(folder):
    (folder / "in" / "c.png").unlink()
    for status in ("done", "skipped"):
        outcomes = sharpbit.upscale_folder(str(folder / "in"), str(folder / "out"), threads=1, skip_existing=True)
        assert {outcome.status for outcome in outcomes} == {status}
    outcomes = sharpbit.upscale_folder(folder / "in", folder / "out", threads=1)
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert "exists" in outcomes[0].error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folder": "nothing"}, "no folder 'nothing'"),
        ({"format": "xyz"}, "'xyz' is not written"),
        ({"overwrite": True, "skip_existing": True}, "exclude each other"),
    ],
)
def test_mistakes(folder, options, words):
    given = {"folder": folder / "in", "output": folder / "out"} | options
    with pytest.raises(UsageError, match=words):
        sharpbit.upscale_folder(**given)


def test_public_names_are_listed():
    assert {"upscale", "upscale_folder", "evaluate", "load", "quantize", "train", "Upscaler"} <= set(dir(sharpbit))
