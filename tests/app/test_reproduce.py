"""`sharpbit reproduce`: claims that hold, do not hold, or cannot be measured; and the recipes of the repository."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit.app.cli import app
from sharpbit.app.reproduce import markdown
from sharpbit.errors import RecipeError
from sharpbit.model import build, save
from sharpbit.recipe import Expected, read
from sharpbit.recipe.reproduce import Number, Reproduction
from sharpbit.verbs.evaluate import evaluate

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "etds").glob("*.toml"))
CLAIM = """
title = "a small claim"
source = "none"
data = "noise"
licence = "CC0-1.0"
published = "a shelf"
took = "one afternoon"
[start]
arch = "etds"
config = {{ scale = 2, blocks = 1, width = 8 }}
[[step]]
verb = "train"
steps = 3
[evaluate]
weights = "NET.safetensors"
parameters = {parameters}
[expect]
Tiny = {{ psnr = {psnr}, ssim = {ssim}{more} }}
Large = {{ psnr = 30.0, ssim = 0.9 }}
"""


def run(*arguments, code):
    done = CliRunner().invoke(app, ["reproduce", *(str(argument) for argument in arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.fixture
def place(tmp_path):
    rough = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    (tmp_path / "Tiny").mkdir()
    Image.fromarray(rough).resize((60, 48), Image.Resampling.BICUBIC).save(tmp_path / "Tiny" / "0.png")
    (tmp_path / "weights" / "deep").mkdir(parents=True)
    model = build("etds", scale=2, blocks=1, width=8)
    save(model, tmp_path / "weights" / "deep" / "NET.safetensors")
    (score,) = evaluate(tmp_path / "weights" / "deep" / "NET.safetensors", [tmp_path / "Tiny"]).sets
    facts = {"psnr": round(score.psnr, 2), "ssim": round(score.ssim, 4), "parameters": model.parameters / 1e3}
    return tmp_path, facts


def written(folder, more="", **facts):
    (folder / "claim.toml").write_text(CLAIM.format(more=more, **facts))
    return folder / "claim.toml"


def test_a_claim_that_holds(place):
    folder, facts = place
    path = written(folder, **facts)
    out = folder / "table.md"
    done = run(path, "--data", folder / "Tiny", "--weights", folder / "weights", "--table", out, code=0)
    assert "as claimed" in done.stdout
    assert "Large psnr" in done.stdout
    assert "no images given" in done.stdout
    assert "3 held, 0 failed, 2 unchecked. PSNR in dB, SSIM: Y channel, border = scale" in done.stdout
    assert f"({facts['psnr']:.2f} / {facts['ssim']:.4f})" in out.read_text()
    assert "Large" not in out.read_text()


@pytest.mark.parametrize(("key", "off"), [("psnr", 0.02), ("ssim", -0.0004), ("parameters", 0.02)])
def test_a_claim_that_does_not(place, key, off):
    folder, facts = place
    path = written(folder, **{**facts, key: facts[key] + off})
    done = run(path, "--data", folder / "Tiny", "--weights", folder / "weights", "--json", code=1)
    (result,) = json.loads(done.stdout)
    assert not result["holds"]
    assert "OFF" in run(path, "--data", folder / "Tiny", "--weights", folder / "weights", code=1).stdout


def test_a_known_discrepancy(place):
    folder, facts = place
    path = written(folder, ', psnr_within = 0.05, note = "a slip"', **{**facts, "psnr": facts["psnr"] + 0.04})
    assert "(a slip)" in run(path, "--data", folder / "Tiny", "--weights", folder / "weights", code=0).stdout


def test_no_weights(place):
    folder, facts = place
    path = written(folder, **facts)
    done = run(path, "--data", folder / "Tiny", "--weights", folder / "Tiny", "--runs", folder / "runs", code=1)
    for words in ("NET.safetensors are not below", "published: a shelf", f"sharpbit train {path}", "one afternoon"):
        assert words in done.stdout


def test_weights_that_were_trained_here(place):
    folder, facts = place
    path = written(folder, **facts)
    (folder / "runs" / "claim").mkdir(parents=True)
    (folder / "weights" / "deep" / "NET.safetensors").rename(folder / "runs" / "claim" / "trained.safetensors")
    run(path, "--data", folder / "Tiny", "--runs", folder / "runs", code=0)


def test_mistakes_are_sentences(place):
    folder, facts = place
    path = written(folder, **facts)
    assert "--data" in run(path, code=2).stderr
    assert "there is no folder nowhere" in run(path, "--data", folder / "Tiny", "--weights", "nowhere", code=2).stderr
    other = folder / "Other"
    (folder / "Tiny").rename(other)
    assert "speaks of Tiny, Large" in run(path, "--data", other, code=2).stderr
    assert "cannot be read" in run(folder / "nothing.toml", "--data", other, code=2).stderr
    path.write_text(path.read_text().replace("psnr =", "pnsr ="))
    assert "'pnsr' that is not known; nearest: 'psnr'" in run(path, "--data", other, code=2).stderr
    path.write_text(path.read_text().replace("pnsr =", "psnr =").replace("weights =", "weight ="))
    assert "'weight' that is not known; nearest: 'weights'" in run(path, "--data", other, code=2).stderr


def test_better_than_a_floor_is_fine():
    assert Number("Set5 psnr", 30.0, 31.0, 0.0, at_least=True).holds
    assert not Number("Set5 psnr", 30.0, 29.9, 0.0, at_least=True).holds
    assert Number("Set5 psnr", 30.0, None, 0.0).holds is None


def test_what_is_off_is_bold():
    numbers = (
        Number("parameters", 1.0, 1.0, 0.01),
        Number("A psnr", 30.0, 31.0, 0.01),
        Number("A ssim", 0.9, 0.9, 0.1),
    )
    found = Reproduction("r", "t", 2, "w/NET.pth", numbers, "how")
    text = markdown([found, replace(found, weights=None, numbers=(), scale=3)])
    assert "| NET | x2 | 1.00 (1.00) | **31.00 / 0.9000** (30.00 / 0.9000) |" in text
    assert "| r: no claims | x3 |  |  |" in text


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_of_the_repository(path):
    recipe = read(path)
    assert recipe.evaluate
    assert {"Set5", "Set14"} <= set(recipe.expect)
    assert all(isinstance(expected, Expected) for expected in recipe.expect.values())
    assert path.stem.endswith(f"x{recipe.start.config['scale']}")
    assert bool(recipe.step) == (recipe.start.arch != "bicubic")
    steps = [step.settings for step in recipe.step if step.verb == "train"]
    assert all((s["steps"], s["rate"], s["last_rate"], s["warmup"]) == (1_600_000, 5e-4, 5e-4, 0) for s in steps)


def test_every_published_file_has_its_recipe(shared):
    named = sorted(form.weights for path in RECIPES for form in read(path).evaluate if form.weights != "bicubic")
    assert named == sorted(path.name for path in (shared / "weights" / "etds").rglob("*.pth"))


def test_a_recipe_without_claims(place):
    folder, facts = place
    path = written(folder, **facts)
    path.write_text(path.read_text().split("[expect]")[0])
    assert "claims nothing" in run(path, "--data", folder / "Tiny", code=RecipeError.exit_code).stderr


def test_a_claim_is_a_number_or_two(place):
    folder, facts = place
    path = written(folder, **facts)
    path.write_text(f'{path.read_text()}Other = "good"\n')
    assert (
        "[expect] has Other = 'good', which should be a number of at least 0 and at most 200: the PSNR to reach"
        in run(path, "--data", folder / "Tiny", code=2).stderr
    )


def test_a_folder_goes_on_past_what_cannot_be_checked(place):
    folder, facts = place
    recipes = folder / "recipes"
    recipes.mkdir()
    good = written(folder, **facts).read_text()
    (recipes / "a-without-claims.toml").write_text(good.split("[expect]")[0])
    (recipes / "b-broken.toml").write_text("[start")
    (recipes / "c-good.toml").write_text(good)
    (recipes / "d-no-weights.toml").write_text(good.replace("NET.safetensors", "OTHER.pth"))
    (recipes / "e-other-data.toml").write_text(good.replace("Tiny =", "Huge ="))
    arguments = (recipes, "--data", folder / "Tiny", "--weights", folder / "weights", "--runs", folder / "runs")
    done = run(*arguments, code=1)
    assert "b-broken" in done.stdout
    assert "is not TOML" in done.stdout
    assert "a-without-claims: no claims (no [expect])" in done.stdout
    assert "c-good: Large psnr, Large ssim (no images given)" in done.stdout
    assert "d-no-weights: parameters, Tiny psnr, Tiny ssim, Large psnr, Large ssim (no weights)" in done.stdout
    assert "e-other-data: parameters, Huge psnr, Huge ssim, Large psnr, Large ssim (no images given)" in done.stdout
    assert "3 held, 1 failed, 13 unchecked" in done.stdout
    (recipes / "b-broken.toml").unlink()
    assert "3 held, 0 failed, 13 unchecked" in run(*arguments, code=0).stdout
    counted = json.loads(run(*arguments, "--strict", "--json", code=1).stdout)
    assert [sum(item[key] for item in counted) for key in ("held", "failed", "unchecked")] == [3, 0, 13]


def test_weights_that_cannot_be_measured_fail(place):
    folder, facts = place
    path = written(folder, **facts)
    (folder / "weights" / "deep" / "NET.safetensors").write_bytes(b"nothing")
    done = run(path, "--data", folder / "Tiny", "--weights", folder / "weights", code=1)
    assert "0 held, 5 failed, 0 unchecked" in done.stdout
