"""`sharpbit clusters`: what it prints and draws, and what it refuses."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.quant.refqsr import published
from sharpbit.verbs.qat import two_pass


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    for k in range(2):
        pixels = rng.integers(0, 256, (60, 90, 3), np.uint8)
        pixels[:, :45] = ((np.arange(45) // 3) % 2 * 200)[None, :, None]
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / f"{k}.png")
    return tmp_path / "set"


def run(*arguments):
    return CliRunner().invoke(app, ["clusters", *map(str, arguments)])


def test_it_counts(folder):
    result = run(folder, folder / "0.png", "--patch", 24, "--patch", 48, "--shared", 4, "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["pictures"], row["patch"]) for row in rows] == [(2, 24), (1, 24), (2, 48), (1, 48)]
    for row in rows:
        assert row["reference"] + row["query"] + row["isolated"] == row["patches"]
        assert 0 <= row["queries"] < 1
        assert row["at_best"] >= 1 - row["queries"], "overlaps come on top"
    text = run(folder, "--patch", 24).stdout
    assert "share of queries" in text
    assert "Urban100 at 72 0.490" in text
    assert "Set" not in text


def test_a_threshold_and_smaller_images(folder):
    (row,) = json.loads(run(folder, "--patch", 24, "--threshold", 1.01, "--json").stdout)
    assert (row["query"], row["queries"]) == (0, 0)
    whole, half = (
        json.loads(run(folder, "--patch", 24, "--shrink", by, "--json").stdout)[0]["patches"] for by in (1, 2)
    )
    assert half < whole


def test_it_draws(folder, tmp_path):
    out = tmp_path / "c.png"
    assert run(folder / "0.png", "--patch", 24, "-o", out).exit_code == 0
    with Image.open(out) as drawing:
        assert drawing.size == (180, 144)  # twice as large, with a line of words below
        assert len(drawing.getcolors(100_000)) > 50
    again = run(folder / "0.png", "--patch", 24, "-o", out)
    assert again.exit_code == 1
    assert "exists" in again.output
    assert run(folder / "0.png", "--patch", 24, "-o", out, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.png",), "there is no image or folder nowhere.png"),
        (("SET", "-o", "x.png"), "-o draws one image"),
        (("ONE", "-o", "x.jpg"), "the drawing is a .png"),
        (("ONE", "--patch", "16", "--shared", "16"), "share fewer"),
        (("ONE", "--queries", "0.5", "--threshold", "0.5"), "leave out one of them"),
        (("ONE", "--bits", "8-4"), "--bits is for --match"),
        (("ONE", "--bits", "4-8", "--match", "m.pth"), "such as 8-4"),
        (("ONE", "--classifier", "ONE"), "holds no classifier of patches; give a .npz"),
        (("ONE", "--classifier", "nowhere.npz"), "nowhere.npz cannot be read: No such file"),
        (("ONE", "--config", "unrolled=true"), "--config is for --match"),
        (("ONE", "--match", "nowhere.pth"), "there is no model file nowhere.pth"),
        (
            ("ONE", "--patch", "24", "--threshold", "-1", "--match", "x2-clean-balanced"),
            "a RefER stands for a repeated block",
        ),
    ],
)
def test_one_sentence(folder, arguments, message):
    names = {"SET": folder, "ONE": folder / "0.png"}
    result = run(*(names.get(one, one) for one in arguments))
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_share_of_queries_finds_the_threshold(folder):
    (row,) = json.loads(run(folder, "--patch", 16, "--queries", 0.3, "--json").stdout)
    (again,) = json.loads(run(folder, "--patch", 16, "--threshold", row["threshold"], "--json").stdout)
    (usual,) = json.loads(run(folder, "--patch", 16, "--json").stdout)
    assert row["queries"] == again["queries"]
    assert abs(row["queries"] - 0.3) < abs(usual["queries"] - 0.3)
    text = run(folder, "--patch", 48, "--queries", 0.95).stdout
    assert "nearest to 0.95" in text
    assert "No threshold comes near on" in text


def test_what_refers_would_find(folder, tmp_path):
    """Of an untrained network, of its form in two passes, and of one without blocks."""
    torch.manual_seed(1)
    model = models.build("srresnet", scale=2, blocks=4, width=8)
    models.save(model, tmp_path / "m.safetensors")
    given = (folder, "--patch", 24, "--threshold", -1, "--match", tmp_path / "m.safetensors")
    result = run(*given, "--json", "--bits", "8-3")
    assert result.exit_code == 0, result.output
    match = json.loads(result.stdout)[0]["match"]
    rows = {row["matching"]: row for row in match["rows"]}
    assert list(rows) == ["normalize-then-pool", "pool-then-normalize", "centred"]
    assert rows["normalize-then-pool"]["found"] < rows["centred"]["found"] <= rows["centred"]["found_exactly"]
    assert all(row["content"] > 1 and -1 < row["correlation"] < 1 for row in rows.values())
    assert match["starts"]["neutral"] == pytest.approx(0, abs=1e-6)
    assert match["starts"]["as the block"] == rows["normalize-then-pool"]["start"]
    assert match["starts"]["neutral, block kept"] > 0
    plan = published("srresnet", model.config, "ddtb", 8, 3, matching="centred")
    two = two_pass(models.build("srresnet", scale=2, blocks=4, width=8), plan, [torch.rand(8, 3, 24, 24)], source=model)
    models.save(two, tmp_path / "two.safetensors")
    text = run(folder, "--patch", 24, "--threshold", -1, "--match", tmp_path / "two.safetensors").stdout
    assert "centred" in text
    assert "pool-then-normalize" not in text
    models.save(models.build("espcn", scale=2), tmp_path / "espcn.safetensors")
    for name, more, message in (
        ("espcn", (), "two convolutions, which espcn does not have"),
        ("two", ("--bits", "8-4"), "leave out --bits"),
        ("m", ("--threshold", 1.01), "is a query of another one"),
    ):
        result = run(*given[:-1], tmp_path / f"{name}.safetensors", *more)
        assert result.exit_code in (1, 2)
        assert message in " ".join(result.output.split())


@pytest.mark.parametrize("threshold", ["nan", "inf", "much"])
def test_a_threshold_is_a_number(folder, threshold):
    result = run(folder, "--threshold", threshold)
    assert result.exit_code == 2
    assert "--threshold" in result.output
