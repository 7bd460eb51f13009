"""Weights that hold several upscaling factors: the one that is asked for runs."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import sharpbit
from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.errors import UsageError
from sharpbit.pipeline.samples import to_float
from sharpbit.verbs.evaluate import scales_in


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "carn.pth"
    torch.save(models.build("carn", scale=4, width=8, groups=4, multi=True).net.state_dict(), path)
    return path


@pytest.mark.parametrize(("factor", "scale"), [(None, 4), (1, 4), (1.5, 2), (2, 2), (3, 3), (2.1, 3), (4, 4), (5, 4)])
def test_the_smallest_that_is_enough(weights, factor, scale):
    assert models.of_factor(models.load(weights), factor).scale == scale


def test_upscale_runs_the_network_of_that_scale(weights, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    result = sharpbit.upscale(image, model=weights, scale=2)
    x = torch.from_numpy(np.pad(to_float(image), ((32, 32), (32, 32), (0, 0)), "symmetric")).permute(2, 0, 1)[None]
    with torch.inference_mode():
        wanted = models.load(weights, scale=2).net(x)[0, :, 64:-64, 64:-64].clamp(0, 1).permute(1, 2, 0).numpy()
    assert result.shape == wanted.shape
    assert np.abs(result - wanted * 255).max() < 1


def test_evaluate_takes_it_and_refuses_one_that_is_not_there(weights, tmp_path):
    (tmp_path / "set").mkdir()

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)).save(tmp_path / "set" / "a.png")
    assert sharpbit.evaluate(weights, [tmp_path / "set"], make_small=True, scale=3).scale == 3
    assert sharpbit.evaluate(weights, [tmp_path / "set"], make_small=True, overrides={"width": 8}, scale=2).scale == 2
    with pytest.raises(UsageError, match="x4 model and the scale asked for is 6"):
        sharpbit.evaluate(weights, [tmp_path / "set"], make_small=True, scale=6)


@pytest.mark.parametrize(
    ("flags", "ran"),
    [
        (["bicubic", "-s", "2"], [("carn", 2), ("bicubic", 2)]),
        (["bicubic", "-s", "2", "-s", "3"], [("carn", 2), ("carn", 3), ("bicubic", 2), ("bicubic", 3)]),
        (["-s", "2", "-s", "4"], [("carn", 2), ("carn", 4)]),
        (["bicubic", "-s", "6"], [("carn", 4), ("bicubic", 6)]),
        (["bicubic", "-s", "2", "--config", "scale=3"], [("carn", 3), ("bicubic", 2)]),
    ],
)
def test_scale_beside_bicubic_and_several_scales(weights, tmp_path, flags, ran):
    (tmp_path / "set").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)).save(tmp_path / "set" / "a.png")
    command = ["evaluate", str(weights), *flags, "--data", str(tmp_path / "set"), "--make-lr", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert [(item["name"], item["scale"]) for item in json.loads(done.stdout)["models"]] == ran


def test_what_is_not_read_holds_no_scales(weights, tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    assert [scales_in(str(name)) for name in (tmp_path / "bad.pth", tmp_path / "none.pth", "bicubic")] == [()] * 3
    assert scales_in(str(weights)) == (2, 3, 4)


def test_inspect_names_them(weights):
    said = CliRunner().invoke(app, ["inspect", str(weights)]).output
    assert "x4 (the file holds x2 and x3 too: upscale and evaluate take --scale, others --config scale=N)" in said
