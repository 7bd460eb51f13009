"""Data, weights and settings that nothing can be calibrated with: one clear sentence each, and no file."""

import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import sharpbit
from noise_images import put, put_photos, soft_noise
from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.errors import UsageError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "imdn.safetensors"
    models.save(models.build("imdn", scale=2, blocks=1, width=8), path)
    return path


@pytest.fixture
def photos(tmp_path):
    return put_photos(tmp_path / "photos", 3, 160, 160)


def call(model, photos, out, *given):
    arguments = ["quantize", model, "--calibrate", photos, "-o", out, *given]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def flat(folder):
    for path in folder.iterdir():
        Image.new("RGB", (160, 160), (90, 90, 90)).save(path)


def tiny(folder):
    for path in folder.iterdir():
        put(path, soft_noise(0, 40, 40))


def text(folder):
    (folder / "1.png").write_text("this is no image")


def cut_off(folder):
    data = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(data[: len(data) // 2])


def gone(folder):
    shutil.rmtree(folder)


def a_file(folder):
    gone(folder)
    put(folder.with_suffix(".png"), soft_noise(0, 160, 160))
    folder.with_suffix(".png").rename(folder)


BAD = [
    (empty, "holds no images"),
    (flat, "flat"),
    (tiny, "64 pixels on both sides"),
    (text, "1.png"),
    (cut_off, "1.png"),
    (gone, "there is no folder"),
    (a_file, "there is no folder"),
]


@pytest.mark.parametrize("method", ["minmax", "tuned"])
@pytest.mark.parametrize(("change", "sentence"), BAD, ids=[change.__name__ for change, _ in BAD])
def test_images_that_cannot_be_used(model, photos, tmp_path, method, change, sentence):
    change(photos)
    done = call(model, photos, tmp_path / "a.onnx", "--method", method)
    assert done.exit_code in (1, 2)
    assert sentence in done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "a.onnx").exists()


def test_one_image_is_said_to_be_few(model, photos, tmp_path):
    for name in ("1.png", "2.png"):
        (photos / name).unlink()
    done = call(model, photos, tmp_path / "a.safetensors", "--method", "minmax")
    assert done.exit_code == 0, done.output
    assert "one image shows little" in done.stdout
    assert "of 1 image\n" in done.stdout
    put(photos / "1.png", soft_noise(1, 160, 160))
    done = call(model, photos, tmp_path / "b.safetensors", "--method", "minmax")
    assert "one image" not in done.stdout


def test_images_of_another_scale_to_measure_on(model, photos, tmp_path):
    """Small partners that are not half as large as the true ones."""
    for name, side in (("HR", 96), ("LR_bicubic/X2", 32)):
        (tmp_path / "Test" / name).mkdir(parents=True)
        put(tmp_path / "Test" / name / f"a{'x2' if side == 32 else ''}.png", soft_noise(5, side, side))
    done = call(model, photos, tmp_path / "a.onnx", "--method", "minmax", "--data", tmp_path / "Test")
    assert done.exit_code == 1
    assert "ax2.png" in done.output
    assert done.output.count("\n") == 1


def test_arrays_of_another_scale(model):
    """Values from 0 to 1, or no three channels."""
    opened = models.load(model)
    image = np.random.default_rng(0).random((80, 80, 3))
    for wrong in (image, image.astype(np.float32) * 255, np.zeros((80, 80), np.uint8), "photo.png"):
        with pytest.raises(UsageError, match="uint8 arrays"):
            sharpbit.quantize(opened, [wrong], method="minmax")


@pytest.mark.parametrize("method", ["minmax", "tuned"])
def test_weights_that_are_not_numbers(model, photos, tmp_path, method):
    damaged = models.load(model)
    damaged.net.model[0].weight.data[0, 0, 0, 0] = float("nan")
    models.save(damaged, tmp_path / "nan.safetensors")
    done = call(tmp_path / "nan.safetensors", photos, tmp_path / "a.onnx", "--method", method)
    assert done.exit_code == 1
    assert "not numbers" in done.output
    assert done.output.count("\n") == 1


@pytest.mark.parametrize("method", ["magic", "cadyq", "ddtb"])
def test_methods_that_need_images_alone(model, photos, tmp_path, method):
    """The others are for training, see recipes/qat."""
    done = call(model, photos, tmp_path / "a.onnx", "--method", method)
    assert done.exit_code == 2
    known = "auto, lossless, sloped, graph, tuned, adc, minmax, percentile, ptq4sr, search"
    assert f"no method {method!r}; known are {known}" in done.output


def test_nothing_is_overwritten(model, photos, tmp_path):
    for name in ("a.onnx", "a.html"):
        (tmp_path / name).write_text("mine")
    refused = [
        call(model, photos, tmp_path / "a.onnx", "--method", "minmax"),
        call(model, photos, tmp_path / "b.onnx", "--method", "minmax", "--report", tmp_path / "a.html"),
    ]
    for done in refused:
        assert done.exit_code == 1
        assert "exists" in done.output
        assert done.output.count("\n") == 1
    assert {(tmp_path / name).read_text() for name in ("a.onnx", "a.html")} == {"mine"}
    assert not (tmp_path / "b.onnx").exists()
