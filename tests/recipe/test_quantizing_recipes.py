"""Recipes that quantize CRAFT after training in stages, and what `reproduce` makes of them."""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from sharpbit import model as models
from sharpbit import recipe
from sharpbit.errors import RecipeError
from sharpbit.measure.benchmarks import find
from sharpbit.recipe.reproduce import reproduce
from small_recipes import images, written

FOLDER = Path(__file__).parents[2] / "recipes" / "craft"
RECIPES = sorted(FOLDER.glob("*adc*.toml"))
SETS = {"set5": "Set5", "set14": "Set14", "b100": "BSD100", "urban100": "Urban100", "manga109": "Manga109"}


def smaller(path):
    """The text of a recipe, for a small network and small crops."""
    text = path.read_text().replace("config = {", "config = { width = 8, depths = [1], heads = 2,")
    for long, short in (
        ("side = 128", "side = 16"),
        ("side = 64", "side = 8"),
        ("side = 0", "side = 16"),
        ("crops = 100", "crops = 4"),
        ("crops = 8", "crops = 4"),
        ("epochs = 10", "epochs = 1"),
    ):
        text = text.replace(long, short)
    return text


def start(folder, found):
    """Weights of that name, of a small network."""
    folder.mkdir()
    config = {"scale": found.start.config["scale"], "width": 8, "depths": (1,), "heads": 2}
    torch.save(models.build("craft", **config).net.state_dict(), folder / found.start.weights)
    return folder


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_settings(path):
    found = recipe.read(path)
    quantize, refine, freeze = found.step
    assert (quantize.verb, refine.verb, freeze.verb) == ("quantize", "refine", "freeze")
    assert quantize.settings["asymmetric"]
    assert not quantize.settings["frozen"]
    assert (refine.settings["epochs"], refine.settings["batch"], refine.settings["rate"]) == (10, 2, 2e-3)
    assert refine.settings["teacher"] == {"mask": True}
    assert f"adc{quantize.settings['bits']}-" in path.stem
    if "ntire" not in path.stem:
        assert [quantize.settings[key] for key in ("crops", "side", "place", "batch")] == [100, 128, "random", 16]


def test_published_rows_are_claimed(shared):
    with (shared / "specs" / "craft_tables.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["table"], row["method"]) == ("ptq", "ADC+BR")]
    assert len(rows) == 3
    for row in rows:
        found = recipe.read(FOLDER / f"craft-adc{row['bits_w']}-x4.toml").expect
        assert set(found) == set(SETS.values())
        for short, name in SETS.items():
            claimed = (float(row[f"{short}_psnr"]), float(row[f"{short}_ssim"]))
            assert (found[name].psnr, found[name].ssim) == claimed


@pytest.mark.parametrize("name", ["craft-adc8-x4", "craft-ntire2024-adc4-x4"])
def test_they_are_carried_out_and_checked(name, tmp_path):
    path = written(tmp_path, smaller(FOLDER / f"{name}.toml"), name)
    weights = start(tmp_path / "weights", recipe.read(path))
    data = images(tmp_path / "crops", *[(16, 16) if "ntire" in name else (70, 70)] * 4)
    with pytest.raises(RecipeError, match="--weights"):
        recipe.run(path, data=data, out=str(tmp_path / "runs" / name), quiet=True)
    results = recipe.run(path, data=data, out=str(tmp_path / "runs" / name), weights=str(weights), quiet=True)
    assert [verb for verb, _, _ in results] == ["quantize", "refine", "freeze"]
    after = models.load(tmp_path / "runs" / name / "frozen.safetensors")
    assert [entry.verb for entry in after.history] == ["quantize", "calibrate", "refine", "freeze"]
    assert after.history[2].how.steps == 2
    shutil.copytree(images(tmp_path / "set", (48, 48)), tmp_path / "Set5")
    checked = list(reproduce(path, find(tmp_path / "Set5"), runs=tmp_path / "runs"))
    measured = {number.what: number.found for number in checked[0].numbers}
    assert checked[0].weights == str(tmp_path / "runs" / name / "frozen.safetensors")
    assert measured["Set5 psnr"] is not None
