"""What weights cannot tell, or tell wrongly, is given: `load(path, arch=..., scale=...)` and `--arch`, `--config`."""

import json
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.errors import ModelError, UsageError


def saved(path, arch, **sizes):
    """The state dict of a small network, as authors save one, in a file without a header."""
    torch.manual_seed(0)
    model = models.build(arch, **sizes)
    torch.save(model.net.state_dict(), path)
    return model


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize(
    ("arch", "sizes", "given"),
    [
        ("fsrcnn", {"scale": 3, "width": 8, "shrunk": 4, "blocks": 2}, {"scale": 3}),
        ("edsr", {"scale": 2, "blocks": 2, "width": 8, "res_scale": 0.1}, {"res_scale": 0.1}),
        ("carn", {"scale": 2, "width": 8, "multi": True}, {"scale": 2}),
        ("idn", {"scale": 3, "blocks": 1, "width": 32, "slices": 8}, {"scale": 3}),
        ("craft", {"scale": 2, "width": 24, "depths": (1, 1), "heads": (2, 4), "mask": True}, {"mask": True}),
        ("plain", {"scale": 2, "blocks": 1, "width": 8, "clip": "none"}, {"skip": False, "clip": "none"}),
    ],
)
def test_sizes_that_are_given_count(tmp_path, arch, sizes, given):
    model = saved(tmp_path / "a.pth", arch, **sizes)
    again = models.load(tmp_path / "a.pth", **given)
    assert (again.arch.name, again.config) == (arch, model.config)
    x = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        torch.testing.assert_close(again.net(x), model.net(x), rtol=0, atol=1e-5)
    models.save(model, tmp_path / "a.safetensors")  # a header tells them
    assert models.load(tmp_path / "a.safetensors").config == model.config


def test_all_scales_of_the_published_carn_m(shared):
    path = shared / "weights" / "peers" / "carn_m_x234.pth"
    for scale in (2, 3, 4):
        model = models.load(path, scale=scale)
        assert (model.arch.name, model.scale, model.config.groups) == ("carn", scale, 4)
        ramp = torch.linspace(0.2, 0.8, 16).expand(1, 3, 16, 16)
        with torch.no_grad():
            small = torch.nn.functional.avg_pool2d(model.net(ramp), scale)
        assert float((small - ramp).abs().mean()) < 0.02  # it upscales images


def test_residual_scaling_is_used(tmp_path):
    saved(tmp_path / "a.pth", "edsr", scale=2, blocks=2, width=8)
    one, tenth = (models.load(tmp_path / "a.pth", res_scale=value).net.blocks[0] for value in (1, 0.1))
    y = torch.rand(1, 8, 6, 6)
    torch.testing.assert_close(tenth(y) - y, (one(y) - y) * 0.1)


def test_a_wrong_guess_names_the_way_out(tmp_path):
    saved(tmp_path / "a.pth", "edsr", scale=2, blocks=2, width=8)
    with pytest.raises(ModelError, match=r"do not fit.*load\(path, arch=\.\.\., scale=\.\.\.\)"):
        models.load(tmp_path / "a.pth", scale=4)
    with pytest.raises(UsageError, match="sizes of edsr are scale, blocks, width, res_scale; given was heads"):
        models.load(tmp_path / "a.pth", heads=3)
    with pytest.raises(UsageError, match="no arch called 'esdr'; near it: esrt, edsr"):
        models.load(tmp_path / "a.pth", arch="esdr")


def test_heads_of_craft_are_even_and_one_for_each_group():
    for heads in ((2, 3), (2,), 5):
        with pytest.raises(UsageError, match="one for each of the 2 groups"):
            models.build("craft", scale=2, width=24, depths=(1, 1), heads=heads)


def test_commands_take_them(tmp_path):
    path = tmp_path / "a.pth"
    saved(path, "edsr", scale=2, blocks=1, width=4)
    found = run("inspect", path, "--json", "--config", "res_scale=0.1", "--arch", "edsr")
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["config"]["res_scale"] == 0.1
    written = run("export", path, "-o", tmp_path / "a.onnx", "--config", "res_scale=0.5")
    assert written.exit_code == 0, written.output
    assert models.load(tmp_path / "a.onnx").config.res_scale == 0.5
    saved(tmp_path / "plain.pth", "plain", scale=2, blocks=1, width=4)
    plain = run("reparameterize", tmp_path / "plain.pth", tmp_path / "b.safetensors", "--config", "skip=true")
    assert plain.exit_code == 0, plain.output
    assert models.load(tmp_path / "b.safetensors").config.skip


def test_evaluate_and_quantize_take_them(tmp_path):
    folder = tmp_path / "Set"
    folder.mkdir()
    for k in range(2):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (72, 72, 3), np.uint8)).save(folder / f"{k}.png")
    path = tmp_path / "a.pth"
    saved(path, "carn", scale=2, width=8, multi=True)
    results = {}
    for scale in (2, 4):
        found = run("evaluate", path, "--data", folder, "--config", f"scale={scale}", "--json", "--quiet")
        assert found.exit_code == 0, found.output
        (results[scale],) = json.loads(found.stdout)["models"]
    assert [results[scale]["scale"] for scale in (2, 4)] == [2, 4]
    saved(path, "edsr", scale=2, blocks=1, width=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = run(
            *("quantize", path, "--calibrate", folder, "--method", "minmax", "-o", tmp_path / "q.safetensors"),
            *("--config", "res_scale=0.5", "--quiet"),
        )
    assert done.exit_code == 0, done.output
    assert models.load(tmp_path / "q.safetensors").config.res_scale == 0.5


def test_wrong_options_are_named(tmp_path):
    saved(tmp_path / "a.pth", "edsr", scale=2, blocks=1, width=4)
    wrong = run("inspect", tmp_path / "a.pth", "--config", "scale:2")
    assert wrong.exit_code == 2
    assert "--config scale:2: give a size of the network and its value, such as scale=2" in wrong.output
    for given, words in [
        ("scale=x", "scale of edsr is something like 2, not 'x'"),
        ("scale=-3", "the scale of edsr is a whole number of at least 1, not -3"),
        ("scale=1.5", "the scale of edsr is a whole number of at least 1, not 1.5"),
    ]:
        found = run("inspect", tmp_path / "a.pth", "--config", given)
        assert (found.exit_code, found.output.count("\n")) == (2, 1)
        assert words in found.output
    misfit = run("inspect", tmp_path / "a.pth", "--config", "width=8").output
    assert "weights do not fit: head.weight is (4, 3, 3, 3), the network has (8, 3, 3, 3);" in misfit
    assert "--arch and --config" in misfit
    own = run("evaluate", "x2-clean-balanced", "--data", tmp_path, "--config", "scale=2")
    assert own.exit_code != 0
    for text in ("Traceback", "TypeError"):
        assert text not in wrong.output + own.output
