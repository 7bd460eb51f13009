"""Recipes that cannot work: one clear sentence each, through the command."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit import model as models
from sharpbit.app.cli import app

HEAD = 'title = "t"\nsource = "s"\ndata = "d"\nlicence = "CC0-1.0"\n'
START = '[start]\narch = "srresnet"\nconfig = { scale = 2, blocks = 1, width = 8 }\n'
TRAIN = '[[step]]\nverb = "train"\nsteps = 1\nbatch = 1\npatch = 8\n'
FAKE = '[[step]]\nverb = "fake_quantize"\nmethod = "pams"\nbatch = 1\npatch = 8\n'
AFTER = START + 'after = "before"\n'


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in {"HR/a.png": 144, "LR_bicubic/X2/a.png": 72, "HR/b.png": 144, "LR_bicubic/X2/b.png": 72}.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(path)
    for scale in (2, 4):
        (tmp_path / "runs" / f"x{scale}").mkdir(parents=True)
        before = models.build("srresnet", scale=scale, blocks=1, width=8)
        models.save(before, tmp_path / "runs" / f"x{scale}" / "trained.safetensors")
    return tmp_path


def told(folder, text, code=2):
    (folder / "wrong.toml").write_text(HEAD + text)
    arguments = [
        "train",
        folder / "wrong.toml",
        "--data",
        folder / "data",
        "--out",
        folder / "runs" / "wrong",
        "--quiet",
    ]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, (done.output, done.exception)
    assert done.output.startswith("sharpbit: ")
    assert done.output.count("\n") == 1, "one sentence"
    return done.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (START + TRAIN + "stepps = 3\n", "has a key 'stepps' that is not known; nearest: 'steps'"),
        (START + "sead = 3\n" + TRAIN, "has a key 'sead' that is not known; nearest: 'seed'"),
        (START + FAKE + "activ = 8\n", "has a key 'activ' that is not known; nearest: 'act"),
        (START + TRAIN.replace('"train"', '"trane"'), "has the verb 'trane'; known are train"),
        (START + TRAIN + 'rate = "high"\n', "rate = 'high', which should be a number above 0 and at most 10"),
        (START + FAKE + "act = 33\n", "act = 33, which should be a whole number of at least 2 and at most 16, or 32"),
        (START + FAKE.replace("pams", "pamms"), "pams"),
        (START.replace("scale = 2", "scale = 5") + TRAIN, "upscales 2, 3, 4 or 8 times, not 5"),
        (START.replace("srresnet", "srresnett") + TRAIN, "srresnet"),
        (START.replace("blocks", "bloks") + TRAIN, "the sizes of srresnet are scale, blocks"),
        (AFTER.replace("before", "nothing") + TRAIN, "which is not there; run nothing first"),
        (AFTER.replace("before", "x4") + FAKE + TRAIN, "begins with x4, which is x4"),
        (START + TRAIN + 'teacher = "x4"\ndistill = 1.0\n', "the teacher upscales 4 times"),
        (START.replace("scale = 2", "scale = 3") + TRAIN, "holds X2, not X3"),
        (START + TRAIN + "rate = nan\n", "rate = nan, which should be a number above 0 and at most 10"),
        (
            START + TRAIN.replace("batch = 1", "batch = 0"),
            "(train) has batch = 0, which should be a whole number of at le",
        ),
        (
            START.replace("scale = 2", "scale = 0") + TRAIN,
            "[start] config has scale = 0, which should be a whole number",
        ),
        ('step = "x"\n' + START, "[[step]] is 'x', which should be a list of tables"),
        ("start = 3\n" + TRAIN, "[start] is 3, which should be a table"),
        (
            START + "seed = 12345678901234567890\n" + TRAIN,
            "seed = 12345678901234567890, which should be a whole number",
        ),
        (START + TRAIN + 'betas = ["a", 0.9]\n', "betas = ['a', 0.9], which should be a list of 2, each a number"),
        (START + TRAIN + "halve = [0.5]\n", "halve = [0.5], which should be a list, each a whole number"),
        (START + FAKE + "act = [4, true]\n", "act = [4, True], which should be a whole number"),
        (
            START + TRAIN + '[[step]]\nverb = "export"\nname = "../../x"\n',
            "name = '../../x', which should be a name of letters",
        ),
        (
            START + TRAIN + '[[step]]\nverb = "export"\nformat = "onxn"\n',
            "one of authors, native, onnx, tflite; nearest: 'onnx'",
        ),
        (
            START + TRAIN + '[[step]]\nverb = "reparameterize"\nform = "flat"\n',
            "form = 'flat', which should be one of plain, et",
        ),
        (START + TRAIN + 'teacher = "../x"\n', "teacher = '../x', which should be a name"),
        (AFTER.replace("before", "/tmp/x") + TRAIN, "after = '/tmp/x', which should be a name"),
        (START.replace("width = 8", "width = 0") + TRAIN, "srresnet cannot be built with config"),
        (START + FAKE + 'options = { decay = "x" }\n', "options of pams has decay = 'x', which should be a number"),
        (START + FAKE + "options = { decai = 0.5 }\n", "a key 'decai' that is not known; nearest: 'decay'"),
        ("name = 3\n" + START + TRAIN, "a key 'name' that is not known"),
        (START + '[[step]]\nverb = "quantize"\nmethod = "minmax"\nkeep = ["tial"]\n', "'tial' matched no"),
    ],
)
def test_a_sentence(folder, text, words):
    assert words in told(folder, text)


def test_pairs_that_do_not_belong_together(folder):
    small = folder / "data" / "LR_bicubic" / "X2" / "b.png"
    Image.fromarray(np.zeros((72, 71, 3), np.uint8)).save(small)
    assert "b.png has 71x72 pixels, which times 2 is not the size of" in told(folder, START + TRAIN)
    small.unlink()
    assert "b.png has no LR image" in told(folder, START + TRAIN)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere"], "there is no folder nowhere; give one of training images with --data"),
        (["--data", "file"], "there is no folder file"),
        (["--data", "data", "--out", "file"], "--out file: file is a file, and a folder is expected there"),
        (["--data", "data", "--out", "file/below"], "--out file/below: file is a file, and a folder is expected there"),
        (["--data", "data", "--device", "foo"], "--device foo is not known; give cpu, cuda or cuda:N"),
    ],
)
def test_wrong_arguments_of_train(folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    (folder / "file").write_text("x")
    (folder / "right.toml").write_text(HEAD + START + TRAIN)
    done = CliRunner().invoke(app, ["train", "right.toml", *arguments])
    assert (done.exit_code, done.output.count("\n")) == (2, 1), (done.output, done.exception)
    assert words in done.output


def test_a_full_disk_is_a_sentence(folder, monkeypatch):
    def full(*given, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sharpbit.recipe.runner.models.save", full)
    assert "wrong cannot be written: No space left on device" in told(folder, START + TRAIN, code=1)


def test_a_threshold_and_a_share_of_queries(folder):
    step = '[[step]]\nverb = "refqsr"\nmethod = "ddtb"\nqueries = 0.5\nthreshold = 0.7\n'
    assert "leave out one" in told(folder, START + step)


def test_gates_need_more_than_one_crop(folder, monkeypatch):
    """Their batch normalization of means refuses one alone."""

    def refused(*given, **named):
        raise ValueError("Expected more than 1 value per channel when training\nand more lines")

    monkeypatch.setattr("sharpbit.recipe.runner.train", refused)
    found = told(folder, START + TRAIN)
    assert "training cannot go on with batch = 1 and patch = 8: Expected more than 1 value" in found
