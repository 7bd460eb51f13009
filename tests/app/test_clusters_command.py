"""`sharpbit clusters`: what it prints and draws, and what it refuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit.app.cli import app


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    for k in range(2):
        pixels = rng.integers(0, 256, (60, 90, 3), np.uint8)
        pixels[:, :45] = ((np.arange(45) // 3) % 2 * 200)[None, :, None]
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / f"{k}.png")
    return tmp_path / "set"


def run(*arguments):
    return CliRunner().invoke(app, ["clusters", *map(str, arguments)])


def test_it_counts(folder):
    result = run(folder, folder / "0.png", "--patch", 24, "--patch", 48, "--shared", 4, "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["pictures"], row["patch"]) for row in rows] == [(2, 24), (1, 24), (2, 48), (1, 48)]
    for row in rows:
        assert row["reference"] + row["query"] + row["isolated"] == row["patches"]
        assert 0 <= row["queries"] < 1
    text = run(folder, "--patch", 24).stdout
    assert "share of queries" in text
    assert "Urban100 at 72 0.490" in text
    assert "Set" not in text


def test_a_threshold_and_smaller_images(folder):
    (row,) = json.loads(run(folder, "--patch", 24, "--threshold", 1.01, "--json").stdout)
    assert (row["query"], row["queries"]) == (0, 0)
    whole, half = (
        json.loads(run(folder, "--patch", 24, "--shrink", by, "--json").stdout)[0]["patches"] for by in (1, 2)
    )
    assert half < whole


def test_it_draws(folder, tmp_path):
    out = tmp_path / "c.png"
    assert run(folder / "0.png", "--patch", 24, "-o", out).exit_code == 0
    with Image.open(out) as drawing:
        assert drawing.size == (180, 144)  # twice as large, with a line of words below
        assert len(drawing.getcolors(100_000)) > 50
    again = run(folder / "0.png", "--patch", 24, "-o", out)
    assert again.exit_code == 1
    assert "exists" in again.output
    assert run(folder / "0.png", "--patch", 24, "-o", out, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.png",), "there is no image or folder nowhere.png"),
        (("SET", "-o", "x.png"), "-o draws one image"),
        (("ONE", "-o", "x.jpg"), "the drawing is a .png"),
        (("ONE", "--patch", "16", "--shared", "16"), "share fewer"),
    ],
)
def test_one_sentence(folder, arguments, message):
    names = {"SET": folder, "ONE": folder / "0.png"}
    result = run(*(names.get(one, one) for one in arguments))
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("threshold", ["nan", "inf", "much"])
def test_a_threshold_is_a_number(folder, threshold):
    result = run(folder, "--threshold", threshold)
    assert result.exit_code == 2
    assert "--threshold" in result.output
