"""`sharpbit prepare` from the command line."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit.app import prepare as command
from sharpbit.app.cli import app


def run(*arguments, code=0):
    done = CliRunner().invoke(app, ["prepare", *(str(argument) for argument in arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "source" / "a.png")
    for scale in (2, 3):
        (tmp_path / f"X{scale}").mkdir()
        Image.fromarray(pixels[::scale, ::scale]).save(tmp_path / f"X{scale}" / f"ax{scale}.png")
    return tmp_path / "source"


def test_what_is_said(source, tmp_path):
    done = run(source, tmp_path / "out", "--size", 48, "--step", 24)
    assert done.stdout == (
        f"{tmp_path / 'out'}: 4 windows of 1 images, each with LR images for x2, x3, x4; 4 of them written now\n"
    )
    assert done.stderr == ""
    done = run(source, tmp_path / "out", "--size", 48, "--step", 24, "--json")
    assert json.loads(done.stdout) == {
        "out": str(tmp_path / "out"),
        "scales": [2, 3, 4],
        "pictures": 1,
        "windows": 4,
        "written": 0,
        "notes": [],
    }
    done = run(source, tmp_path / "other")
    assert "a.png is smaller than a window of 480 pixels: taken whole on that side" in done.stderr


def test_official_small_images(source, tmp_path):
    given = ["--lr", f"X2={tmp_path / 'X2'}", "--lr", f"3={tmp_path / 'X3'}"]
    done = run(source, tmp_path / "out", *given, "--size", 48, "--step", 24, "--json")
    assert json.loads(done.stdout)["scales"] == [2, 3]
    assert sorted(path.name for path in (tmp_path / "out" / "LR_bicubic").iterdir()) == ["X2", "X3"]
    assert "is not a scale and its folder" in run(source, tmp_path / "out", "--lr", "there", code=2).stderr
    twice = ["--lr", f"X2={tmp_path / 'X2'}", "--lr", f"X2={tmp_path / 'X3'}"]
    assert "two folders for one scale" in run(source, tmp_path / "new", *twice, code=2).stderr
    swapped = ["--lr", f"X2={tmp_path / 'X3'}"]
    assert "has no LR image ax2.png" in run(source, tmp_path / "new", *swapped, code=2).stderr


def test_an_interruption_is_no_accident(source, tmp_path, monkeypatch):
    def interrupted(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "prepare", interrupted)
    assert "run the same command again" in run(source, tmp_path / "out", code=130).stderr


def test_many_notes_are_few_lines(source, tmp_path):
    pixels = (source / "a.png").read_bytes()
    for k in range(11):
        (source / f"{k}.png").write_bytes(pixels)
    lines = run(source, tmp_path / "out").stderr.splitlines()
    assert len(lines) == 11
    assert "for 12 images in all" in lines[-1]
