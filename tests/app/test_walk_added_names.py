"""`sharpbit models add` and `remove`: names that mean something else, half pairs in archives, forgotten words."""

import zipfile

import pytest
import torch
from click.testing import CliRunner

from ncnn_files import chain, write
from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.zoo import added


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SHARPBIT_MODELS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def pair(tmp_path):
    torch.manual_seed(0)
    return write(tmp_path, *chain(models.build("compact", scale=2, blocks=1, width=5).net.state_dict(), 2))


def refused(*arguments, code):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


@pytest.mark.parametrize("name", added.RESERVED)
def test_words_of_commands_are_no_names(pair, folder, name):
    assert f"{name} cannot be the name of a model, as it means" in refused(
        "models", "add", pair, "--name", name, code=2
    )
    assert not (folder / name).exists()


def test_a_name_that_is_too_long_or_taken(pair, folder):
    assert "at most 100 letters" in refused("models", "add", pair, "--name", "n" * 101, code=2)
    CliRunner().invoke(app, ["models", "add", str(pair), "--name", "mine"])
    said = refused("models", "add", pair, "--name", "mine", code=1)
    assert "a model mine was added already" in said
    assert "about.json" not in said


def test_a_forgotten_word():
    assert "'sharpbit models add' takes FILE" in refused("models", "add", code=2)
    assert "'sharpbit models remove' takes MODEL" in refused("models", "remove", code=2)


def test_half_a_pair_in_an_archive_is_named_by_the_archive(pair, tmp_path):
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as archive:
        archive.write(pair, "net.param")
    said = refused("models", "add", tmp_path / "half.zip", code=1)
    assert f"{tmp_path / 'half.zip'}/net.param is half of a network of ncnn" in said
