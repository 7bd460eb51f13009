"""SwinIR-light and ESRT: their recipes, and the weights that they left in `research`."""

from pathlib import Path

import pytest

from sharpbit import model as models
from sharpbit import recipe
from sharpbit.modelfile.history import Train
from small_recipes import images, written

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes" / "evidence" / "transformers").glob("*.toml"))
THIN = {"esrt-x4": "width = 16", "swinir-light-x4": "width = 16, heads = 2, depths = [1], window = 4"}


def test_there_are_both():
    assert {path.stem for path in RECIPES} == set(THIN)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_weights_are_those_of_the_recipe(path):
    """The settings stand in the file; of data and terms it says what was read."""
    found, made = recipe.read(path), models.load(ROOT / "research" / f"{path.stem}.safetensors")
    trained = [entry for entry in made.history if isinstance(entry, Train)]
    assert len(trained) == len(made.history) == len(found.step)
    for entry, step in zip(trained, found.step, strict=True):
        assert step.verb == "train"
        told = {"steps": entry.steps, **entry.settings}
        assert {key: told[key] for key in step.settings} == dict(step.settings)
    assert (made.about["name"], made.about["licence"]) == (path.stem, "Apache-2.0")
    assert made.about["data"].startswith("37 images of ")
    assert made.config == models.build(found.start.arch, **found.start.config).config


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_they_are_carried_out(path, tmp_path):
    text = path.read_text().replace("scale = 4", f"scale = 4, {THIN[path.stem]}")
    thin = written(tmp_path, text, path.stem)
    data = images(tmp_path / "images", (112, 112))
    results = recipe.run(thin, data=data, out=str(tmp_path / "runs"), stop_after=1, quiet=True)
    steps = recipe.read(path).step[0].settings["steps"]
    assert results == [("train", tmp_path / "runs", {"stopped": f"after 1 of {steps} steps"})]
