"""Recipes: read strictly, carried out on tiny data, resumed; and those of the repository."""

import json
import re
from pathlib import Path

import pytest
import torch

from sharpbit import model as models
from sharpbit import modelfile, recipe, zoo
from sharpbit.data.pairs import Pairs
from sharpbit.errors import RecipeError, SharpbitError
from sharpbit.model import load
from sharpbit.training import Training
from small_recipes import images, small, written

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
PUBLISHED = [path for path in sorted((RECIPES[0].parent / "etds").glob("*.toml")) if "bicubic" not in path.stem]
SMALL = small(
    "etds",
    "scale = 2, blocks = 1, width = 8",
    """
[[step]]
verb = "train"
steps = 3
batch = 2
patch = 8
[[step]]
verb = "reparameterize"
[[step]]
verb = "export"
""",
)


@pytest.fixture
def data(tmp_path):
    return images(tmp_path / "pictures", (40, 36), (40, 36))


def test_all_steps_leave_their_files(tmp_path, data):
    path = written(tmp_path, SMALL)
    out = tmp_path / "out" / "small"
    results = recipe.run(path, data=data, out=str(out), quiet=True)
    assert [verb for verb, _, _ in results] == ["train", "reparameterize", "export"]
    header = modelfile.read(out / "small.onnx", verify=True)
    assert header is not None
    assert (header.name, header.architecture, header.licence) == ("small", "plain", "CC0-1.0")
    assert header.data.startswith("2 images of pictures, LR images made by bicubic; sha256 of the pixels ")
    assert [entry["verb"] for entry in header.history] == ["train", "reparameterize"]
    assert header.receptive_field == 7  # three 3x3 convolutions
    assert load(out / "trained.safetensors").arch.name == "etds"
    with pytest.raises(SharpbitError, match="exists"):
        recipe.run(path, data=data, out=str(out), quiet=True)
    again = recipe.run(path, data=data, out=str(out), overwrite=True, quiet=True)
    assert again == results


def test_a_stopped_recipe_goes_on_and_ends_the_same(tmp_path, data):
    path = written(tmp_path, SMALL)
    whole = recipe.run(path, data=data, out=str(tmp_path / "whole"), quiet=True)
    for _ in range(2):
        first = recipe.run(path, data=data, out=str(tmp_path / "parts"), stop_after=1, quiet=True)
        assert first[0][2]["stopped"].endswith("of 3 steps")
        assert len(first) == 1
    parts = recipe.run(path, data=data, out=str(tmp_path / "parts"), quiet=True)
    assert parts[-1][2]["sha256"] == whole[-1][2]["sha256"]


def test_one_recipe_begins_with_the_weights_of_another(tmp_path, data):
    recipe.run(written(tmp_path, SMALL), data=data, out=str(tmp_path / "out" / "small"), quiet=True)
    text = SMALL.replace("scale = 2", "scale = 3").replace("[start]", '[start]\nafter = "small"')
    path = written(tmp_path, text, "second")
    recipe.run(path, data=data, out=str(tmp_path / "out" / "second"), quiet=True)
    history = load(tmp_path / "out" / "second" / "trained.safetensors").history
    assert history[0].table() == {"verb": "start", "after": "small", "tensors": 10, "of": 14}
    with pytest.raises(RecipeError, match="run small first"):
        recipe.run(path, data=data, out=str(tmp_path / "elsewhere" / "second"), quiet=True)


def test_another_seed_and_images_in_memory(tmp_path, data):
    path = written(tmp_path, SMALL)
    pairs = Pairs.from_folder(Path(data), 2, quiet=True)
    recipe.run(path, data=data, out=tmp_path / "a", quiet=True)
    recipe.run(path, data=pairs, out=tmp_path / "b", seed=10, quiet=True)  # that of the recipe
    recipe.run(path, data=pairs, out=tmp_path / "c", seed=11, quiet=True)
    one, same, other = (load(tmp_path / name / "trained.safetensors") for name in "abc")
    assert all(torch.equal(value, same.net.state_dict()[name]) for name, value in one.net.state_dict().items())
    assert not torch.equal(next(one.net.parameters()), next(other.net.parameters()))
    assert [model.history[-1].settings["seed"] for model in (one, same, other)] == [10, 10, 11]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("steps = 3", "step = 3"), "'step' that is not known; nearest: 'steps'"),
        (("steps = 3\n", ""), "train. lacks the key 'steps', which should be a whole number"),
        (('verb = "export"', 'verb = "exprot"'), "known are train, carry, reparameterize, fake_quantize, refqsr"),
        (("licence", "license"), "nearest: 'licence'"),
        (("width = 8", "wide = 8"), "scale, blocks, width"),
        (('arch = "etds"', 'arch = "etsd"'), "should be one of .*; nearest: 'etds'"),
        (("[start]", "[start"), "not TOML"),
        (("batch = 2", 'batch = "2"'), "batch = '2', which should be a whole number of at least 1"),
    ],
)
def test_mistakes_are_named(tmp_path, data, change, message):
    assert change[0] in SMALL
    path = written(tmp_path, SMALL.replace(*change))
    with pytest.raises(SharpbitError, match=message) as caught:
        recipe.run(path, data=data, out=str(tmp_path / "out"), quiet=True)
    assert "\n" not in str(caught.value)


def test_missing_recipe_and_data(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        recipe.run(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="--data"):
        recipe.run(written(tmp_path, SMALL), out=str(tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SharpbitError, match="holds no images"):
        recipe.run(written(tmp_path, SMALL), data=str(tmp_path / "empty"), out=str(tmp_path / "out"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_of_the_repository_run_two_steps(path, tmp_path):
    """On two tiny images; what `after` names is made first, untrained."""
    found = recipe.read(path)
    patch = next(step.settings["patch"] for step in found.step if step.verb == "train")
    side = patch * found.start.config["scale"] + 12
    data = images(tmp_path / "pictures", (side, side), seed=1)
    if found.start.after:
        name, _, trained = found.start.after.partition("/")
        assert (path.parent / f"{name}.toml").exists()
        before = models.build(found.start.arch, **{**found.start.config, "scale": int(name[1])})
        models.save(before, tmp_path / name / f"{trained or 'trained'}.safetensors")
    out = tmp_path / found.name
    results = recipe.run(path, data=data, out=str(out), stop_after=2, quiet=True)
    assert results[0][0] == "train"
    assert len((out / "log.jsonl").read_text().splitlines()) == 1
    assert json.loads((out / "log.jsonl").read_text())["step"] == 2


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_trainings_are_as_published(path):
    """Section 4 of the description of the authors' code; `reproduce` tells what came of it."""
    found = recipe.read(path)
    training = Training(**next(step.settings for step in found.step if step.verb == "train"))
    frozen, low = 0, 0.0
    if found.start.arch == "etds":
        frozen, low = (1_600_000, 0.0) if "normal-loss" in path.stem else (99_999, 0.5)
    assert training == Training(
        steps=1_600_000,
        batch=32,
        patch=64,
        rate=5e-4,
        last_rate=5e-4,
        warmup=0,
        betas=(0.9, 0.99),
        loss="l1",
        low_weight=low,
        frozen_steps=frozen,
        ema=0.999,
        precision="float32",
        seed=10,
    )
    assert {training.rate_at(step) for step in (0, 1, 799_999, 1_599_999)} == {5e-4}
    assert not found.start.config.get("fused", False)  # ECBSR is trained in its form of many branches
    assert {"Set5", "Set14"} <= set(found.expect)
    assert found.evaluate


QAT_ALL = sorted((RECIPES[0].parent / "qat").glob("*.toml"))
QAT = [path for path in QAT_ALL if not recipe.read(path).start.after]
QAT_ROWS = [path for path in QAT_ALL if path not in QAT]


@pytest.mark.parametrize("path", QAT, ids=lambda path: path.stem)
def test_pretraining_runs_two_steps(path, tmp_path):
    """Of a thin network, on one crop each; and the schedule is a whole one."""
    found = recipe.read(path)
    text = path.read_text().replace("config = {", "config = { width = 16,")
    for key, value in (("steps", 2), ("batch", 1), ("patch", 12)):
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.M)
    data = images(tmp_path / "pictures", (60, 60), seed=1)
    out = tmp_path / "out"
    if found.start.arch == "elan":
        text = text.replace("width = 16,", "width = 15, blocks = 2,")
    recipe.run(written(tmp_path, text), data=data, out=str(out), quiet=True)
    done = load(out / "trained.safetensors")
    fresh = models.build(found.start.arch, **recipe.read(tmp_path / "small.toml").start.config)
    assert done.config == fresh.config
    assert json.loads((out / "log.jsonl").read_text())["step"] == 2
    how = Training(**found.step[0].settings)
    assert how.rate_at(0) == how.rate == how.rate_at(how.halve[0] - 1)
    assert how.rate_at(how.steps - 1) == how.rate / 2 ** len(how.halve)
    assert (how.betas, how.loss, how.ema, how.colours) == ([0.9, 0.999], "l1", 0.0, False)


def thin(path, folder):
    """Run a recipe, and first those that it goes on from, with two steps of a thin and shallow network."""
    out = folder / path.stem
    found = recipe.read(path)
    if (out / "trained.safetensors").exists():
        return found, out
    for name in {found.start.after, *(step.settings.get("teacher") for step in found.step)} - {None}:
        thin(path.with_name(f"{name}.toml"), folder)
    sizes = "width = 15, blocks = 2," if found.start.arch == "elan" else "width = 16,"
    sizes += {"srresnet": " blocks = 4,", "edsr": " blocks = 4,", "idn": " blocks = 2,"}.get(found.start.arch, "")
    text = path.read_text().replace("config = {", f"config = {{ {sizes}").replace("gate = 64", "gate = 16")
    for key, value in (("steps", 2), ("batch", 2), ("patch", 12), ("batches", 2)):
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.M)
    data = images(folder / "pictures", (60, 60), seed=1)
    recipe.run(written(folder, text, path.stem), data=data, out=str(out), quiet=True)
    return found, out


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@pytest.mark.parametrize("path", QAT_ROWS, ids=lambda path: path.stem)
def test_quantization_aware_training_takes_two_steps(path, rows):
    """From the float network through all that comes before; files bring back what was trained."""
    found, out = thin(path, rows)
    done = load(out / "trained.safetensors")
    settings = found.step[0].settings
    assert [entry.method for entry in done.history if hasattr(entry, "method")] == [settings["method"]]
    assert json.loads((out / "log.jsonl").read_text())["step"] == 2
    with torch.no_grad():
        assert torch.isfinite(done.net(torch.rand(1, 3, 12, 12))).all()
    how = Training(**{key: value for key, value in found.step[1].settings.items() if key != "teacher"})
    assert how.rate_at(0) == how.rate == how.rate_at(how.halve[0] - 1)
    assert (how.white, how.distill, how.range_rate, how.epoch) == (255, 1000, 1e-2, 1000)


def test_every_network_has_a_row_of_each_method():
    names = {path.stem for path in QAT_ROWS}
    for arch in ("srresnet", "edsr", "carn", "idn", "elan"):
        assert {f"{arch}-{method}-x4" for method in ("pams8", "pams4", "cadyq", "cabm")} <= names
    assert {f"{arch}-ddtb{bits}-x4" for arch in ("srresnet", "edsr") for bits in (2, 3, 4)} <= names
    assert len(names) == 26


def test_every_network_has_its_pretraining():
    archs = [recipe.read(path).start.arch for path in QAT]
    assert set(archs) == {"srresnet", "edsr", "carn", "idn", "elan"}
    scales = {recipe.read(path).start.config["scale"] for path in QAT if path.stem.startswith("edsr")}
    assert scales == {2, 3, 4}


def test_every_published_training_has_its_recipe():
    sizes = {"etds": "tsml", "ecbsr": ("m4c16", "m4c32", "m6c40"), "abpn": ("m4c28", "m6c40")}
    names = {f"{arch}-{size}-x{scale}" for arch in sizes for size in sizes[arch] for scale in (2, 3, 4)}
    names |= {f"{arch}-x{scale}" for arch in ("espcn", "fsrcnn") for scale in (2, 3, 4)}
    names |= {f"etds-{ablation}-x4" for ablation in ("only-et", "only-residual", "advance-residual", "normal-loss")}
    assert {path.stem for path in PUBLISHED} == names | {"plain-m6c32-x4"}


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_recipes_are_carried_out_whole(path, tmp_path):
    """With two steps of one crop each: the second is the first in which the second stream learns."""
    text = path.read_text()
    for long, short in (("1_600_000", "2"), ("99_999", "1"), ("batch = 32", "batch = 1"), ("patch = 64", "patch = 24")):
        text = text.replace(long, short)
    found = recipe.read(path)
    side = 24 * found.start.config["scale"] + 12
    data = images(tmp_path / "pictures", (side, side), seed=1)
    out = tmp_path / "out"
    results = recipe.run(written(tmp_path, text), data=data, out=str(out), quiet=True)
    assert [verb for verb, _, _ in results] == [step.verb for step in found.step]
    start = models.build(found.start.arch, **found.start.config).net.state_dict()
    learnt = {
        key
        for key, value in load(out / "trained.safetensors").net.state_dict().items()
        if "residual" in key and "last" in key and not torch.equal(value, start[key])
    }
    assert bool(learnt) == ("etds" in path.stem and not path.stem.startswith(("etds-normal", "etds-only-et")))


CRAFT = [path for path in sorted((RECIPES[0].parent / "craft").glob("*.toml")) if "adc" not in path.stem]


@pytest.mark.parametrize("path", CRAFT, ids=lambda path: path.stem)
def test_recipes_of_craft(path, tmp_path):
    """As published, but for the size of the network, which is tried small, in two steps of one crop."""
    found = recipe.read(path)
    assert found.start.arch == "craft"
    if not found.step:  # weights whose training was not published
        assert found.evaluate
        return
    plan = Training(**found.step[0].settings)
    assert (plan.steps, plan.batch, plan.patch, plan.rate, plan.seed) == (500_000, 64, 64, 2e-4, 33)
    assert list(plan.halve) == [250_000, 400_000, 450_000, 475_000]
    assert plan.edge_weight == float("edge" in path.stem)
    text = path.read_text().replace("config = {", "config = { width = 16, depths = [1], heads = 2,")
    for long, short in (("steps = 500_000", "steps = 2"), ("batch = 64", "batch = 1"), ("patch = 64", "patch = 16")):
        assert long in text
        text = text.replace(long, short)
    config = recipe.read(written(tmp_path, text, path.stem)).start.config
    if found.start.after:
        before = models.build("craft", **config)
        models.save(before, tmp_path / "out" / found.start.after / "trained.safetensors")
    data = images(tmp_path / "pictures", (76, 76), seed=1)
    out = tmp_path / "out" / path.stem
    results = recipe.run(tmp_path / path.name, data=data, out=str(out), quiet=True)
    assert results == [("train", out / "trained.safetensors", {"steps": 2})]
    assert load(out / "trained.safetensors").config == models.build("craft", **config).config


@pytest.mark.parametrize("name", zoo.models())
def test_every_embedded_model_has_its_recipe(name):
    """The header of the file says exactly what the recipe says of the last training."""
    header = zoo.models()[name]
    found = recipe.read(RECIPES[0].parent / f"{name.replace('float', 'balanced')}.toml")
    written = [step.settings.get("name", found.name) for step in found.step if step.verb == "export"]
    assert header.name == name and name in written
    assert (header.data, header.licence) == (found.data, found.licence)
    assert header.scale == found.start.config["scale"]
    training = [entry for entry in header.history if entry["verb"] == "train"][-1]
    settings = [step.settings for step in found.step if step.verb == "train"][-1]
    assert {key: training[key] for key in settings} == settings
    expected = {metric.data: metric.value for metric in header.metrics if metric.name == "psnr"}
    for data, floor in found.expect.items():
        assert expected[data] >= floor


def test_the_published_oddity_is_where_the_published_code_has_it():
    found = {path.stem for path in QAT_ROWS if recipe.read(path).step[0].settings.get("legacy_conv1_float")}
    edsr = {f"edsr-{name}-x4" for name in ("pams4", "ddtb2", "ddtb3", "ddtb4")}
    assert found == edsr | {f"srresnet-{name}-x4" for name in ("pams4", "pams8", "cadyq", "cabm")}
