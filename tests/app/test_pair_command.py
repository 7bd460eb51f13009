"""`sharpbit pair`: what it writes and prints, what it refuses, and that its file runs like any other."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.export import EXPORTS
from sharpbit.verbs import pair as pairing
from sharpbit.verbs.inspect import inspect

LARGE = "x2-clean-float"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair_command")
    (folder / "photos").mkdir()
    with Image.open(Path(__file__).parents[2] / "docs" / "images" / "demo.png") as demo:
        demo.convert("RGB").crop((0, 0, 240, 120)).save(folder / "photos" / "one.png")
    EXPORTS["onnx"](models.build("bicubic", scale=2), folder / "cheap.onnx")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_it_measures_and_writes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pairing, "pace", lambda runtime, patch: 1.0 if "cheap" not in runtime.path.name else 0.25)
    made = [tmp_path / f"{most}.onnx" for most in (0.02, 2)]
    facts = []
    for most, out in zip((0.02, 2), made, strict=True):
        result = run(
            *("pair", LARGE, folder / "cheap.onnx", "-o", out, "--calibrate", folder / "photos"),
            *("--max-drop", most, "--patch", 24, "--threads", 1, "--json"),
        )
        assert result.exit_code == 0, result.output
        facts.append(json.loads(result.stdout))
        assert facts[-1]["drop"] <= most
        assert facts[-1]["time"] == pytest.approx((24 / 18) ** 2 * (1 - 0.75 * facts[-1]["share"]))
        assert facts[-1]["photos"] == 1
    assert facts[0]["share"] < facts[1]["share"]
    assert facts[0]["detail"] < facts[1]["detail"]
    again = run("pair", LARGE, folder / "cheap.onnx", "-o", made[0], "--detail", 3)
    assert again.exit_code == 1
    assert "exists and was left as it is" in again.output

    small = tmp_path / "small.png"
    with Image.open(folder / "photos" / "one.png") as one:
        one.resize((120, 60)).save(small)
    result = run("upscale", small, "-n", made[1], "-t", "30", "-o", tmp_path / "large.png")
    assert result.exit_code == 0, result.output
    assert "patches of 30 pixels: " in result.output
    assert "through the small network" in result.output
    result = run("evaluate", made[1], "--data", folder / "photos", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["models"][0]["scale"] == 2
    told = run("inspect", made[1]).stdout
    assert "bicubic-x2, bicubic: 0 parameters" in told
    inspected = json.loads(run("inspect", made[1], "--json").stdout)
    assert inspected["small"]["architecture"] == "bicubic"
    assert inspected["cheap"] == inspected["small"]
    with pytest.warns(DeprecationWarning, match="cheap is now small"):
        assert inspect(made[1]).cheap["architecture"] == "bicubic"


def test_words_and_a_note_that_nothing_is_gained(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pairing, "pace", lambda runtime, patch: 1.0 if "cheap" not in runtime.path.name else 2.0)
    result = run("pair", LARGE, folder / "cheap.onnx", "-o", tmp_path / "p.onnx", "--detail", 3)
    assert result.exit_code == 0, result.output
    assert "patches of 48 pixels with less take the small one" in result.stdout
    assert "PSNR" not in result.stdout
    assert "note: cheap.onnx takes 2.00 times as long as x2-clean-float.onnx: the pair saves no time" in result.stderr
    monkeypatch.setattr(pairing, "chosen", lambda photos, most: pairing.outlook(photos, 0.0))
    result = run(
        *("pair", LARGE, folder / "cheap.onnx", "-o", tmp_path / "q.onnx", "--calibrate", folder / "photos"),
        *("--max-drop", 0, "--patch", 24),
    )
    assert result.exit_code == 0, result.output
    assert "note: no patch can do with cheap.onnx within 0 dB" in result.stderr
    assert "0.000 of the pixels, on 1 photos" in result.stdout


def test_patches_cost_too():
    assert pairing.Pace(2.0, 0.5, 1.5).time(0.5, 48, 8) == pytest.approx((48 / 40) ** 2 * 1.25 / 1.5)


def test_a_note_that_whole_images_are_quicker(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pairing, "pace", lambda runtime, side: 1.0 if "cheap" not in runtime.path.name else 0.99)
    result = run(
        *("pair", LARGE, folder / "cheap.onnx", "-o", tmp_path / "q.onnx", "--calibrate", folder / "photos"),
        *("--patch", 24),
    )
    assert result.exit_code == 0, result.output
    assert "note: x2-clean-float.onnx on whole images is quicker than the pair" in result.stderr


def test_the_pace_is_that_of_the_engine(folder):
    class Slow:
        samples, halo, tile, wide, scale, calls = np.uint8, 0, None, True, 2, 0

        def __call__(self, tiles):
            self.calls += 1
            yield from tiles

    slow = Slow()
    assert 0 < pairing.pace(slow, 16) < 1
    assert slow.calls == pairing.TRIES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one of them"),
        (("--detail", "3", "--calibrate", "PHOTOS"), "give only one of them"),
        (("--detail", "3", "--max-drop", "1"), "--max-drop and --count are for --calibrate"),
        (("--detail", "nan"), "--detail is a number, not nan"),
        (("--detail", "3", "--shared", "48"), "patches of 48 pixels cannot share 48"),
        (("--detail", "3", "--patch", "8"), "a patch has at least 15 pixels a side, not 8"),
        (("--detail", "3", "-o", "x.safetensors"), "a pair is saved as .onnx"),
        (("--calibrate", "PHOTOS", "--patch", "100"), "has 200 pixels on both sides"),
        (("--calibrate", "nowhere"), "there is no folder nowhere"),
        (("x3-clean-float", "--detail", "3"), "a pair takes two networks of one scale"),
        (("nowhere.onnx", "--detail", "3"), "there is no model file nowhere.onnx"),
    ],
)
def test_one_sentence_each(folder, tmp_path, arguments, message):
    given = [folder / "photos" if one == "PHOTOS" else one for one in arguments]
    cheap = given.pop(0) if given and not str(given[0]).startswith("-") else folder / "cheap.onnx"
    result = run("pair", LARGE, cheap, "-o", tmp_path / "never.onnx", *given)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "never.onnx").exists()
