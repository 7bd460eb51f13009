"""`sharpbit models add` and `remove`."""

import json

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
