"""The evidence for quantization-aware training: its recipes are carried out, its table and its verdicts are right."""

import json
import sys
from pathlib import Path

import pytest
import torch

from loaded_script import script
from noise_images import noise, put
from sharpbit import recipe
from sharpbit.data.pairs import Pairs
from sharpbit.measure.benchmarks import find
from sharpbit.model import load
from sharpbit.training import Training
from small_recipes import thin

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def evidence():
    yield script("qat")
    del sys.modules["qat"]


@pytest.fixture(scope="module")
def ran(evidence, tmp_path_factory):
    """The whole command with thin recipes: all rows with one seed, two with another; folder of runs and sets."""
    folder = tmp_path_factory.mktemp("evidence")
    original, evidence.RECIPES = evidence.RECIPES, folder / "recipes"
    evidence.RECIPES.mkdir()
    for path in original.glob("*.toml"):
        (evidence.RECIPES / path.name).write_text(thin(path.read_text(), patch=12))
    put(folder / "train" / "a.png", noise(0, 60, 60))
    put(folder / "sets" / "Small" / "HR" / "b.png", noise(1, 120, 120))
    pairs = Pairs.from_folder(folder / "train", 2, quiet=True)
    evidence.train(evidence.ORDER, [10], pairs, folder / "runs", quiet=True)
    evidence.train(["float", "pams8", "pams4", "ddtb4"], [11], pairs, folder / "runs", quiet=True)
    yield folder / "runs", find(folder / "sets")
    evidence.RECIPES = original


def test_every_row_has_its_recipe(evidence):
    assert {evidence.path_of(name) for name in evidence.ORDER} == set(evidence.RECIPES.glob("*.toml"))
    for name in evidence.ORDER:
        found = recipe.read(evidence.path_of(name))
        assert found.start.config == {"scale": 2, "blocks": 4, "width": 32}
        assert "research" in found.licence  # of the images
        assert found.start.seed == evidence.SEED == Training(steps=0).seed


def test_rows_that_are_compared_are_trained_alike(evidence):
    """Methods at the same width differ in the method alone; CADyQ and its control in their widths and the selectors."""
    for bits in (8, 4, 3, 2):
        pams, ddtb = (recipe.read(evidence.path_of(f"{method}{bits}")) for method in ("pams", "ddtb"))
        assert pams.step[1] == ddtb.step[1]
        assert pams.start == ddtb.start
        assert {one.step[0].settings[key] for one in (pams, ddtb) for key in ("act", "weight")} == {bits}
    cadyq, again = (recipe.read(evidence.path_of(name)) for name in ("cadyq", "pams8-again"))
    assert cadyq.start == again.start
    assert cadyq.step[1].settings == {**again.step[1].settings, "selector_rate": 1e-4, "own_loss": 10.0}
    light = recipe.read(evidence.path_of("cadyq-light"))
    assert (light.start, light.step[0]) == (cadyq.start, cadyq.step[0])
    assert light.step[1].settings == {**cadyq.step[1].settings, "own_loss": 3.0}


def test_all_rows_are_trained_and_measured(evidence, ran, capsys):
    runs, sets = ran
    rows = evidence.measure(runs, sets, 1)
    assert [(row.name, row.seed) for row in rows if row.seed == 10] == [(name, 10) for name in evidence.ORDER]
    assert [(row.name, row.seed) for row in rows if row.seed == 11] == [("pams4", 11), ("ddtb4", 11)]
    by = {(row.name, row.seed): row for row in rows}
    assert by["pams4", 10].image != by["pams4", 11].image
    cost = {name: by[name, 10].patch["Small"] for name in evidence.ORDER}
    assert cost["pams8"]["fqr"] == 8
    assert cost["pams4"]["published"] == pytest.approx(cost["pams8"]["published"] / 4)
    assert 4 <= cost["cadyq"]["fqr"] <= 8
    assert cost["float"]["bitops"] > cost["pams8"]["bitops"] > cost["pams4"]["bitops"] > cost["ddtb2"]["bitops"]
    assert {(by[name, 10].weight, by[name, 10].act) for name in ("cadyq", "ddtb3")} == {("8", "4/6/8"), ("3", "3")}
    capsys.readouterr()
    assert evidence.measure(runs, sets, 1) == rows
    assert "measuring" not in capsys.readouterr().err  # nothing has changed


def test_what_was_trained_is_not_trained_again(evidence, ran):
    runs, _ = ran
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("trained.safetensors")}
    evidence.train(evidence.ORDER, [10], None, runs, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("trained.safetensors")} == before


def test_seeds_differ_and_share_what_others_begin_with(evidence, ran):
    runs, _ = ran
    for name in ("float", "pams8"):
        files = [evidence.folder_of(name, seed, runs) / "trained.safetensors" for seed in (10, 11)]
        assert files[0].read_bytes() == files[1].read_bytes()
    seeds = [
        load(evidence.folder_of("pams4", seed, runs) / "trained.safetensors").history[-1].settings["seed"]
        for seed in (10, 11)
    ]
    assert seeds == [10, 11]


def test_the_table_is_written_in_three_forms(evidence, ran, tmp_path):
    runs, sets = ran
    rows = evidence.measure(runs, sets, 1)
    text = evidence.write(rows, evidence.claims(rows), tmp_path)
    assert (tmp_path / "evidence.md").read_text() == text
    head, rule, *lines = text.splitlines()
    assert head.count("|") == rule.count("|") == lines[0].count("|")
    assert sum(line.startswith(("| pams", "| ddtb", "| cadyq", "| cabm", "| float")) for line in lines) == len(rows)
    assert json.loads((tmp_path / "evidence.json").read_text())["rows"][0]["name"] == "float"
    assert len((tmp_path / "evidence.csv").read_text().splitlines()) == 1 + 2 * len(rows)


def test_kept_networks_have_weights_of_16_bits(evidence, ran, tmp_path):
    runs, _ = ran
    evidence.keep(runs, tmp_path)
    assert len(list(tmp_path.iterdir())) == len(evidence.KEPT)
    kept, whole = tmp_path / "small-ddtb4-x2.safetensors", evidence.folder_of("ddtb4", 10, runs) / "trained.safetensors"
    assert kept.stat().st_size < whole.stat().st_size
    ours, theirs = (load(path).net.state_dict() for path in (kept, whole))
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4)
    assert torch.equal(ours["blocks.0.bn1.weight"], theirs["blocks.0.bn1.weight"])


def row(evidence, name, seed, psnr, cost=1.0):
    numbers = {"A": {"psnr": psnr, "fqr": 8.0, "published": cost, "bitops": 10 * cost}}
    return evidence.Row(name, seed, "8", "8", 2, 0.1, numbers, numbers, "")


def verdicts(evidence, rows):
    return [claim.holds for claim in evidence.claims(rows)]


def test_a_clear_difference_needs_one_seed(evidence):
    rows = [row(evidence, "pams2", 10, 30.0), row(evidence, "ddtb2", 10, 30.2), row(evidence, "pams4", 10, 33.0)]
    assert verdicts(evidence, [*rows, row(evidence, "ddtb4", 10, 32.9)]) == [False, True, None, None]


def test_a_small_difference_needs_three_seeds(evidence):
    rows = [row(evidence, name, seed, psnr) for seed in (10, 11) for name, psnr in (("pams4", 33.0), ("ddtb4", 33.02))]
    assert verdicts(evidence, rows)[0] is None
    rows += [row(evidence, "pams4", 12, 33.0), row(evidence, "ddtb4", 12, 32.99)]
    (claim, *_) = evidence.claims(rows)
    assert claim.holds
    assert claim.differences["A"] == pytest.approx([0.02, 0.02, -0.01])


@pytest.mark.parametrize(("psnr", "cost", "holds"), [(33.04, 0.7, True), (32.9, 0.7, False), (33.0, 1.0, False)])
def test_a_saving_is_one_at_the_same_psnr(evidence, psnr, cost, holds):
    rows = [row(evidence, "pams8-again", seed, 33.0) for seed in (10, 11, 12)]
    rows += [row(evidence, "cadyq", seed, psnr, cost) for seed in (10, 11, 12)]
    claim = evidence.claims(rows)[3]
    assert claim.holds is holds
    assert f"{100 * cost:.0f} % of the BitOPs" in claim.verdict
