"""The evidence for RefQSR: its recipes are carried out, counted and judged."""

import sys
from pathlib import Path

import pytest
import torch

from loaded_script import script
from noise_images import noise, put
from sharpbit import model as models
from sharpbit import recipe
from sharpbit.data.pairs import Pairs
from sharpbit.measure.benchmarks import find
from small_recipes import thin

RECIPES = Path(__file__).resolve().parents[1] / "recipes" / "evidence"


@pytest.fixture(scope="module")
def bench():
    names = ("qat", "_refqsr_rows", "refqsr")
    yield [script(name) for name in names][-1]  # each one imports those before it
    for name in names:
        del sys.modules[name]


def test_rows_are_trained_alike(bench):
    """They differ in the passes alone: as many crops, the same start, teacher and rates."""
    found = {name: recipe.read(bench.SMALL.path(file)) for name, file in bench.SMALL.rows.items()}
    assert set(bench.SMALL.rows.values()) == {path.stem for path in (RECIPES / "refqsr").glob("*.toml")}
    first = found["8 bits"]
    for name, own in found.items():
        assert own.start == first.start
        pairs = 2 if own.step[0].verb == "refqsr" else 1
        other = {"batch": 16 // pairs} | ({"first_epoch": 1} if name == "4 bits" else {})
        assert own.step[1].settings == first.step[1].settings | other


def test_rows_of_carn_m_differ_in_what_they_say_alone(bench):
    """As many crops and steps, the same start and teacher; bases that are trained short differ in their steps."""
    what = bench.NETWORKS["carn-m"]
    found = {name: recipe.read(what.path(file)) for name, file in what.rows.items()}
    made = {*what.rows.values(), *what.shared}
    assert made == {path.stem for path in (RECIPES / "carn-m").glob("*.toml")}
    first = found["8 bits"]
    for name, own in found.items():
        assert own.start == first.start
        two = own.step[0].verb == "refqsr"
        other = {"batch": 4 if two else 8} | ({"steps": 15} if name.endswith("short") else {})
        assert own.step[1].settings == first.step[1].settings | other
        if two:
            assert name.startswith(f"RefQSR {own.step[0].settings['high']}-{own.step[0].settings['low']}")
    for one, other, _ in what.claims:
        assert {one, other} <= set(what.rows)


def test_rows_that_are_trained_longer_differ_in_their_steps_alone(bench, tmp_path):
    what = bench.NETWORKS["carn-m"]
    for name in what.rows.values():
        own, longer = (recipe.read(bench.made_by(what, name, tmp_path, times)) for times in (1, 3))
        train = own.step[1].settings
        assert longer.step[1].settings == train | {"steps": 3 * train["steps"], "epoch": 60}
        assert longer.step[0] == own.step[0]
        assert longer.name == own.name


def test_the_published_carn_m_is_what_its_rows_begin_with(bench, tmp_path):
    torch.manual_seed(1)
    published = models.build("carn", scale=2, groups=4, multi=True)
    torch.save(published.net.state_dict(), tmp_path / "carn_m.pth")
    bench.published_float(tmp_path / "carn_m.pth", tmp_path / "runs")
    model = models.load(tmp_path / "runs" / "seed-10" / "carn-m-x2" / "trained.safetensors")
    first = recipe.read(bench.NETWORKS["carn-m"].path("carn-m-ddtb8-x2"))
    assert model.config == models.build("carn", **first.start.config).config
    x = torch.rand(1, 3, 12, 12)
    with torch.no_grad():
        assert torch.equal(model.net(x), published.net.eval()(x))


def test_the_whole_command_with_thin_recipes(bench, tmp_path, monkeypatch):
    copy = tmp_path / "recipes"
    for path in (*RECIPES.glob("*.toml"), *RECIPES.glob("refqsr/*.toml")):
        target = copy / path.relative_to(RECIPES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(thin(path.read_text(), patch=15, crop=15))
    monkeypatch.setattr(sys.modules["_refqsr_rows"], "RECIPES", copy)
    monkeypatch.setattr(bench, "PATCH", 20)
    monkeypatch.setattr(bench, "STEP", 14)
    put(tmp_path / "train" / "a.png", noise(0, 80, 80))
    put(tmp_path / "sets" / "Small" / "HR" / "b.png", noise(1, 96, 96))
    bench.train([10], Pairs.from_folder(tmp_path / "train", 2, quiet=True), tmp_path / "runs", quiet=True)
    rows = {row.name: row for row in bench.measure(tmp_path / "runs", find(tmp_path / "sets"))}
    assert set(rows) == set(bench.SMALL.rows)
    assert rows["8 bits"].fqr["Small"] == 8
    assert rows["8 bits"].bitops["Small"] == pytest.approx(4 * rows["4 bits"].bitops["Small"])
    two = rows["RefQSR 8-4"]
    assert 0 < two.queries["Small"] < 1
    assert 4 < two.fqr["Small"] < 8
    assert two.psnr != rows["8 bits"].psnr
    text = bench.markdown(list(rows.values()))
    assert text.count("RefQSR 8-4, own reference |") == 1
    assert "cannot be said with 1 of 3 seeds" in text or "every seed" in text


def test_what_may_be_said(bench):
    assert bench.verdict({}) == "not trained"
    assert bench.verdict({"A": [0.2], "B": [0.01]}) == "cannot be said with 1 of 3 seeds"
    assert bench.verdict({"A": [0.2], "B": [0.1]}) == "better on every set, with every seed"
    assert bench.verdict({"A": [-0.02, -0.01, -0.03]}) == "worse on every set, with every seed"
    assert bench.verdict({"A": [0.02, -0.01, 0.03]}) == "differs by set or seed"
