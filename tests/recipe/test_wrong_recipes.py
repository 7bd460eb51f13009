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
        (START + TRAIN + 'rate = "high"\n', "rate = 'high', which should be of the type float"),
        (START + FAKE + "act = 33\n", "2 to 16 bits"),
        (START + FAKE.replace("pams", "pamms"), "pams"),
        (START.replace("scale = 2", "scale = 5") + TRAIN, "upscales 2, 3, 4 or 8 times, not 5"),
        (START.replace("srresnet", "srresnett") + TRAIN, "srresnet"),
        (START.replace("blocks", "bloks") + TRAIN, "the sizes of srresnet are scale, blocks"),
        (AFTER.replace("before", "nothing") + TRAIN, "which is not there; run nothing first"),
        (AFTER.replace("before", "x4") + FAKE + TRAIN, "begins with x4, which is x4"),
        (START + TRAIN + 'teacher = "x4"\ndistill = 1.0\n', "the teacher upscales 4 times"),
        (START.replace("scale = 2", "scale = 3") + TRAIN, "holds X2, not X3"),
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
    assert "b.png has no small partner" in told(folder, START + TRAIN)
