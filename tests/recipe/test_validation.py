"""Validation while training: what is measured stands in the log, and the training is the same without it."""

import json

import pytest
import torch
from click.testing import CliRunner

import sharpbit
from sharpbit.app.cli import app
from sharpbit.model import load
from small_recipes import images, small, written

STEPS = 5
TEXT = small(
    "plain",
    "scale = 2, blocks = 1, width = 8",
    f"""
[[step]]
verb = "train"
steps = {STEPS}
batch = 2
patch = 8
""",
)


def test_the_log_has_what_evaluate_gives_and_the_weights_stay_the_same(tmp_path):
    data, path = images(tmp_path / "pictures", (40, 36)), written(tmp_path, TEXT)
    sets = [images(tmp_path / name, (48, 36), (36, 36), seed=k) for k, name in enumerate(("A", "B"))]
    for name, more in (("without", []), ("with", [f"--validate={item}" for item in sets])):
        more += ["--validate-every", "2"] * bool(more)
        done = CliRunner().invoke(app, ["train", str(path), "--data", data, "--out", str(tmp_path / name), *more])
        assert done.exit_code == 0, done.output
    one, other = (load(tmp_path / name / "trained.safetensors") for name in ("without", "with"))
    for key, value in one.net.state_dict().items():
        assert torch.equal(value, other.net.state_dict()[key])
    lines = [json.loads(line) for line in (tmp_path / "with" / "log.jsonl").read_text().splitlines()]
    found = {line["step"]: line["psnr"] for line in lines if "psnr" in line}
    assert list(found) == [2, 4, STEPS]
    assert len({psnr["A"] for psnr in found.values()}) == 3, "each is of other weights"
    last = sharpbit.evaluate(tmp_path / "with" / "trained.safetensors", sets)
    assert found[STEPS] == {score.name: pytest.approx(score.psnr, abs=1e-3) for score in last.sets}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--validate", "nowhere"], "there is no folder nowhere"),
        (["--validate-every", "0"], "0 is not in the range"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is_trained(tmp_path, more, message):
    data, path, out = images(tmp_path / "pictures", (40, 36)), written(tmp_path, TEXT), tmp_path / "out"
    done = CliRunner().invoke(app, ["train", str(path), "--data", data, "--out", str(out), *more])
    assert done.exit_code != 0
    assert message in str(done.exception) + done.output
    assert not out.exists()
