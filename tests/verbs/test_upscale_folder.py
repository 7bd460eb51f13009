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


def test_the_options_of_the_command(folder):
    (folder / "in" / "c.png").unlink()
    args = folder / "in", folder / "out"
    outcomes = sharpbit.upscale_folder(*args, width=40, name_template="{stem}-{scale}", threads=1, dry_run=True)
    assert [outcome.status for outcome in outcomes] == ["planned"] * 2
    assert not (folder / "out").exists()
    sharpbit.upscale_folder(*args, width=40, format="jpg", name_template="{stem}-{scale}", quality=60, threads=1)
    with Image.open(folder / "out" / "a-fit.jpg") as image:
        assert image.size == (40, 30)
        assert image.layer[0][1:3] == (2, 2)  # 4:2:0
    (outcome, _) = sharpbit.upscale_folder(folder / "in", folder / "small", max_pixels=100, threads=1)
    assert "limit of 100" in outcome.error
    with pytest.raises(UsageError, match="quality 101"):
        sharpbit.upscale_folder(*args, quality=101)
