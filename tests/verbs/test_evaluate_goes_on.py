"""`evaluate` with `save`: an interrupted call goes on, and nothing of others is replaced."""

import errno
import json
import os

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit.app.cli import app
from sharpbit.errors import ImageError, OutputExists, ResultWarning, UsageError
from sharpbit.image import made_by
from sharpbit.measure.bicubic import Bicubic
from sharpbit.model import build, save
from sharpbit.verbs import evaluate as verb
from sharpbit.verbs.evaluate import evaluate


def images(folder, *names, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        rough = rng.integers(0, 256, (7, 8, 3), np.uint8)
        Image.fromarray(rough).resize((60, 48), Image.Resampling.BICUBIC).save(folder / name)
    return folder


@pytest.fixture
def data(tmp_path):
    return images(tmp_path / "Tiny", "a.png", "b.png", "c.png")


@pytest.fixture
def upscaled(monkeypatch):
    """The calls of bicubic."""
    calls, run = [], Bicubic.__call__

    def counted(self, tiles):
        calls.append(1)
        return run(self, tiles)

    monkeypatch.setattr(Bicubic, "__call__", counted)
    return calls


def test_an_interrupted_call_goes_on(data, tmp_path, upscaled):
    wanted = evaluate("bicubic", [data], scale=2, save=tmp_path / "kept")
    bytes_before = (tmp_path / "kept" / "Tiny" / "a.png").read_bytes()
    (tmp_path / "kept" / "Tiny" / "b.png").unlink()
    upscaled.clear()
    with pytest.warns(ResultWarning, match="2 of 3 images were in .*kept already"):
        found = evaluate("bicubic", [data], scale=2, save=tmp_path / "kept")
    assert len(upscaled) == 1
    assert found.sets == wanted.sets
    assert (tmp_path / "kept" / "Tiny" / "b.png").exists()
    assert (tmp_path / "kept" / "Tiny" / "a.png").read_bytes() == bytes_before


def test_another_place_names_the_same_images(data, tmp_path, monkeypatch, upscaled):
    evaluate("bicubic", [data], scale=2, save=tmp_path / "kept")
    monkeypatch.chdir(tmp_path)
    upscaled.clear()
    evaluate("bicubic", ["Tiny"], scale=2, save="kept")
    assert not upscaled


@pytest.mark.parametrize("change", ["scale", "model", "images", "way", "foreign", "damaged"])
def test_what_another_call_made_is_never_replaced(data, tmp_path, upscaled, change):
    kept = tmp_path / "kept"
    given = {"scale": 2, "save": kept}
    evaluate("bicubic", [data], **given)
    file, model = kept / "Tiny" / "a.png", "bicubic"
    if change == "scale":
        given["scale"] = 3
    elif change == "model":
        model = "bicubic-matlab"
    elif change == "images":
        images(data, "a.png", seed=5)
    elif change == "way":
        given["patch"] = 12
    elif change == "foreign":
        images(file.parent, file.name)
    else:
        file.write_bytes(file.read_bytes()[:-20])
    before = {path: path.read_bytes() for path in kept.rglob("*.png")}
    upscaled.clear()
    with pytest.raises(OutputExists, match="is no whole image that this model made"):
        evaluate(model, [data], **given)
    assert not upscaled
    assert {path: path.read_bytes() for path in kept.rglob("*.png")} == before


def test_patches_whose_cost_is_counted_run_again(data, tmp_path, upscaled):
    given = {"scale": 2, "save": tmp_path / "kept", "patch": 12}
    wanted = evaluate("bicubic", [data], **given)
    upscaled.clear()
    assert evaluate("bicubic", [data], **given).sets == wanted.sets
    assert upscaled


def test_a_full_disk_leaves_no_folders(data, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sharpbit.system.atomic.os.fsync", full)
    with pytest.raises(ImageError, match=r"[abc]\.png cannot be written: No space left on device"):
        evaluate("bicubic", [data], scale=2, save=tmp_path / "some" / "kept")
    assert not (tmp_path / "some").exists()


def test_results_of_one_name_are_refused_before_anything_is_measured(data, tmp_path, upscaled):
    images(data, "a.k.png", "a.bmp")
    with pytest.raises(UsageError, match=r"a\.(bmp|png) and .*a\.(bmp|png) would both be kept as .*a\.png"):
        evaluate("bicubic", [data], scale=2, save=tmp_path / "kept")
    other = images(tmp_path / "other" / "Tiny", "x.png")
    with pytest.raises(UsageError, match="two sets are called Tiny"):
        evaluate("bicubic", [tmp_path / "other", other], scale=2, save=tmp_path / "kept")
    assert not upscaled


def test_a_table_goes_on_with_models_that_are_complete(data, tmp_path, monkeypatch):
    network = tmp_path / "net.safetensors"
    save(build("etds", scale=2, blocks=1, width=8), network)
    command = ["evaluate", str(network), "--data", str(data), "--save", str(tmp_path / "kept"), "--json"]
    command += ["--table", str(tmp_path / "table")]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    opened, open_model = [], verb.open_model
    monkeypatch.setattr(verb, "open_model", lambda *given: opened.append(given) or open_model(*given))
    again = CliRunner().invoke(app, command)
    assert json.loads(again.stdout)["models"] == json.loads(first.stdout)["models"]
    assert not opened
    (tmp_path / "kept" / "net" / "Tiny" / "c.png").unlink()
    assert CliRunner().invoke(app, command).exit_code == 0
    assert len(opened) == 1
    assert made_by(tmp_path / "kept" / "net" / "Tiny" / "c.png").startswith("net evaluated ")
