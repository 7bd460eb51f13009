"""Networks in two passes, measured: threads that share one, the side of patches, and what it cost."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.cost.published import Bits
from sharpbit.cost.two_pass import classifier, count_two_pass
from sharpbit.cost.two_pass_patches import TwoPassCost
from sharpbit.errors import UsageError
from sharpbit.export import EXPORTS
from sharpbit.measure.benchmarks import find
from sharpbit.quant.refqsr import TwoPass, published
from sharpbit.twopass.clustering import clustered
from sharpbit.verbs.evaluate import evaluate
from sharpbit.verbs.inspect import inspect
from sharpbit.verbs.qat import two_pass

PATCH, SHARED = 24, 6


def image(height, width, seed):
    """Stripes on the left, noise on the right: patches of two kinds."""
    out = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    out[:, : width // 2] = ((np.arange(width // 2) // (3 + seed)) % 2 * 200)[None, :, None]
    return out


def made(method, high):
    torch.manual_seed(1)
    plain = models.build("srresnet", scale=2, blocks=4, width=8)
    how = published("srresnet", plain.config, method, high, 4, patch=PATCH)
    x = torch.from_numpy(image(60, 88, 0)).permute(2, 0, 1)[None].float() / 255
    return two_pass(plain, how, [torch.cat([x, x.flip(3)])], source=plain)


@pytest.fixture(scope="module")
def pams():
    return made("pams", 8)


@pytest.fixture(scope="module")
def files(pams, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    models.save(pams, folder / "pams.safetensors")
    models.save(made("cadyq", (4, 6, 8)), folder / "cadyq.safetensors")
    EXPORTS["onnx"](pams, folder / "pams.onnx")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Striped" / "HR"
    folder.mkdir(parents=True)
    for k, size in enumerate([(96, 144), (96, 144), (96, 108), (96, 144)]):
        Image.fromarray(image(*size, k)).save(folder / f"{k}.png")
    return folder.parent


@pytest.mark.parametrize("method", ["pams", "cadyq"])
def test_numbers_are_the_same_to_the_last_digit_for_any_threads(files, data, method):
    """Images meet in one network: it once kept the features of whichever ran last."""
    one, *others = (evaluate(files / f"{method}.safetensors", [data], threads=threads) for threads in (1, 2, 4))
    assert one.sets[0].cost.queries > 0.2
    for other in others:
        assert other.sets == one.sets


def test_patch_sets_the_side_of_patches_and_cost_is_that_of_the_rules(pams, files, data):
    (item,) = find(data)
    how = TwoPass.of(pams.history)
    rule = count_two_pass("srresnet", pams.arch.build(pams.config), how, 8)
    found = {}
    for side in (None, 30):
        result = evaluate(files / "pams.safetensors", [data], patch=side)
        side = side or PATCH
        assert (result.patch, result.step) == (side, side - SHARED)
        for path, score in zip(item.large, result.sets[0].images, strict=True):
            small = clustered(item.pair(path, 2)[0], side, SHARED)
            pixels = sum(patch.pixels for patch in small.patches)
            assert score.cost.queries == pytest.approx(small.queries)
            assert score.cost.fqr == pytest.approx(rule.fqr(8, 4, small.queries))
            expected = rule.bitops(Bits(8, 8), Bits(6, 4), pixels, len(small.patches), side, small.queries)
            assert score.cost.published == pytest.approx(expected)
        found[side] = result.sets[0]
    assert found[PATCH].cost.queries > 0
    assert found[PATCH].psnr != found[30].psnr
    closer = evaluate(files / "pams.safetensors", [data], step=20)
    assert (closer.patch, closer.step) == (PATCH, 20)


def test_chosen_bits_count(files, data):
    cost = evaluate(files / "cadyq.safetensors", [data]).sets[0].cost
    assert 4 < cost.fqr < 8
    assert cost.published > 0


def test_the_exported_file_tells_the_same(files, data):
    ours, theirs = (evaluate(files / f"pams.{kind}", [data], patch=30).sets[0].cost for kind in ("safetensors", "onnx"))
    for name in ("queries", "fqr", "published", "bitops", "macs", "patches"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name)), name


def test_without_pytorch_the_share_of_queries_is_left(files, data, monkeypatch):
    monkeypatch.setattr("sharpbit.verbs.evaluate.find_spec", lambda name: None)
    arguments = ["evaluate", str(files / "pams.onnx"), "--data", str(data), "--patch", "30"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "queries" in done.output
    assert "FQR" not in done.output


def test_the_command(files, data):
    arguments = ["evaluate", str(files / "pams.safetensors"), "--data", str(data), "--patch", "30"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    for words in ("patches of 30 small pixels, one every 24", "queries", "FQR", "BitOPs as published"):
        assert words in done.output
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["models"][0]
    assert (told["patch"], told["step"]) == (30, 24)
    assert 0 < told["sets"][0]["cost"]["queries"] < 1
    assert told["sets"][0]["cost"]["published"] > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [({"patch": 8}, "at least 15 pixels"), ({"patch": 6}, "cannot share 6"), ({"step": 25}, "leave gaps")],
)
def test_mistakes(files, data, given, message):
    with pytest.raises(UsageError, match=message):
        evaluate(files / "pams.safetensors", [data], **given)


def test_inspect_lists_both_passes_and_the_refers(pams, files):
    facts = inspect(files / "pams.safetensors")
    two = facts.two_passes
    assert (two["patch"], two["step"], two["threshold"]) == (PATCH, PATCH - SHARED, 0.5)
    first, second = two["passes"]
    assert (first["fqr"], second["fqr"]) == (8, 6)
    rule = count_two_pass("srresnet", pams.arch.build(pams.config), TwoPass.of(pams.history), 8)
    query = rule.query(Bits(8, 8), Bits(6, 4), PATCH)
    assert second["published_bitops"] == pytest.approx(PATCH**2 * query + classifier(1, PATCH))
    assert first["published_bitops"] == pytest.approx(rule.whole.bitops(Bits(8, 8), PATCH**2) + classifier(1, PATCH))
    assert {layer["act"] for layer in second["layers"] if layer["name"].startswith("blocks.1.conv")} == {4}
    assert not any(layer["name"].startswith("blocks.3.block") for layer in second["layers"])
    (refer,) = two["refers"]
    assert (refer["name"], refer["channels"], refer["parameters"]) == ("blocks.3", 8, 2 * 8 * 8 * 9 + 1)
    own = [layer for layer in second["layers"] if layer["name"].startswith("blocks.3.refer")]
    assert refer["macs"] == sum(layer["macs"] for layer in own)
    assert {(layer["act"], layer["weight"]) for layer in own if layer["operator"] == "bmm"} == {(4, 4)}
    assert sum(layer["parameters"] for layer in second["layers"] if "refer" in layer["name"]) == refer["parameters"]
    done = CliRunner().invoke(app, ["inspect", str(files / "pams.safetensors")])
    for words in ("two passes", "reference", "query", "RefERs", "blocks.3.refer.residual.conv1"):
        assert words in done.output
    of_a_patch = done.output.partition("query bits")[2]  # in millions, by names that the field has
    assert "PReLU" in of_a_patch
    assert "matrix product" in of_a_patch
    for words in ("_prelu_kernel", "bmm", "0.000 G"):
        assert words not in done.output.partition("not counted")[0]
    exported = inspect(files / "pams.onnx").two_passes
    assert [one["macs"] for one in exported["passes"]] == [first["macs"], second["macs"]]


def test_a_query_costs_what_its_layers_and_its_clustering_cost(pams):
    cost = TwoPassCost("srresnet", pams.net, pams.arch.build(pams.config), TwoPass.of(pams.history))
    numbers = cost.patch((30, 24), (24, 24), 24)
    layers = cost.layers((30, 24), (24, 24))
    clustering = numbers["macs"] - sum(layer.macs for layer in layers)
    assert numbers["bitops"] == sum(layer.bitops for layer in layers) + 64 * clustering
    vectors = 10 * 8 * 1728 + 8 * 6 * 36864 + 6 * 4 * 18432
    assert vectors < clustering < vectors + 32 * 100
    (product,) = [layer for layer in layers if layer.operator == "bmm"]
    assert product.macs == (10 * 8) * (8 * 8) * 8
