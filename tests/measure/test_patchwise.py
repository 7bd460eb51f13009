"""Patch by patch as published, and what each patch cost."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.cost import bitops
from sharpbit.cost.published import Bits, counted
from sharpbit.errors import UsageError
from sharpbit.export import EXPORTS
from sharpbit.measure.patchwise import Cut, upscaled
from sharpbit.quant.adaptive import Mixed, chosen_bits
from sharpbit.quant.qat.placement import placement
from sharpbit.verbs.evaluate import cut_of, evaluate, open_model
from sharpbit.verbs.qat import fake_quantize, tabulate

SIZES = {"srresnet": {"blocks": 2, "width": 8}, "carn": {"width": 8}, "elan": {"blocks": 1, "width": 30}}


def made(method, act, arch="srresnet", weight=8):
    torch.manual_seed(3)
    model = models.build(arch, scale=2, **SIZES[arch])
    crops = [torch.rand(2, 3, 24, 24)]
    model = fake_quantize(model, placement(arch, act, weight, width=model.config.width), method, crops)
    for part in model.net.modules():  # so that patches differ in what they take
        if isinstance(part, Mixed) and method == "cadyq":
            torch.nn.init.normal_(part.selector.linear.weight)
            torch.nn.init.zeros_(part.selector.linear.bias)
            part.selector.gradient = 20.0
    return model


@pytest.fixture(scope="module")
def cadyq(tmp_path_factory):
    path = tmp_path_factory.mktemp("patchwise") / "cadyq.safetensors"
    models.save(made("cadyq", (4, 6, 8)), path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data") / "Tiny" / "HR"
    folder.mkdir(parents=True)
    for k, size in enumerate([(96, 72), (60, 48), (72, 84)]):
        rough = rng.integers(0, 256, (7, 8, 3), np.uint8)
        Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC).save(folder / f"{k}.png")
    return folder.parent


def by_hand(net, x, patch, step, scale):
    """The published cutting and merging, written anew from its description."""
    height, width = x.shape[:2]
    large, bits = np.zeros((height * scale, width * scale, 3), np.uint8), []
    rows, columns = ([k for k in range(0, size, step) if k + patch <= size] for size in (height, width))
    shift = (patch - step) // 2
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            bottom = height if i == len(rows) - 1 else top + patch
            right = width if j == len(columns) - 1 else left + patch
            piece = torch.from_numpy(x[top:bottom, left:right]).permute(2, 0, 1)[None].float() / 255
            with torch.no_grad():
                y = net(piece)
            bits.append(chosen_bits(net)[0].numpy())
            y = (y[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            kept = [0 if i == 0 else shift, 0 if j == 0 else shift]
            large[(top + kept[0]) * scale : bottom * scale, (left + kept[1]) * scale : right * scale] = y[
                kept[0] * scale :, kept[1] * scale :
            ]
    return large, bits


def test_patches_as_published(cadyq):
    runtime, net = open_model(str(cadyq)), models.load(cadyq).net.eval()
    small = np.random.default_rng(1).integers(0, 256, (41, 58, 3), np.uint8)
    small[:, 30:] //= 16
    large, bits = by_hand(net, small, 16, 12, 2)
    found, patches = upscaled(runtime, small, Cut(16, 12))
    assert np.abs(found.astype(int) - large).max() <= 1, "only what lies on the edge of rounding"
    assert (found != large).mean() < 1e-3
    assert [one.spent.bits for one in patches] == [tuple(row) for row in bits]
    assert len({one.spent.bits for one in patches}) > 1, "the patches of this test are to differ"
    whole, one = upscaled(runtime, small)
    assert len(one) == 1
    assert np.abs(whole.astype(int) - found).max() > 1, "a network sees the edge of its patch"


@pytest.mark.parametrize("arch", ["srresnet", "carn", "elan"])
def test_bitops_are_those_of_the_bits_that_were_chosen(tmp_path, arch):
    model = made("cadyq", (4, 6, 8), arch)
    models.save(model, tmp_path / "m.safetensors")
    small = np.random.default_rng(2).integers(0, 256, (32, 32, 3), np.uint8)
    _, [one] = upscaled(open_model(str(tmp_path / "m.safetensors")), small)
    spent = one.spent
    mixed = [part for part in model.net.modules() if isinstance(part, Mixed)]
    assert len(spent.bits) == len(mixed)
    for part, bits in zip(mixed, spent.bits, strict=True):  # the same network with nothing left to choose
        for option in part.options:
            option.bits = int(bits)
    cost = bitops.count(model.net, (32, 32))
    assert spent.bitops == cost.bitops
    assert spent.feature_bits == pytest.approx(cost.feature_bits)
    assert 4 < spent.feature_bits < 32
    rule = counted(arch, models.build(arch, scale=2, **SIZES[arch]).net)
    expected = rule.bitops(Bits(8, np.mean(spent.bits)), 32 * 32, selectors=True)
    assert spent.published == pytest.approx(expected)


def test_a_set_has_means_and_threads_do_not_matter(cadyq, data):
    one, two = (evaluate(cadyq, [data], patch=16, threads=threads) for threads in (1, 2))
    assert one.sets == two.sets
    assert (one.patch, one.step) == (16, 10)
    cost = one.sets[0].cost
    each = [score.cost for score in one.sets[0].images]
    assert cost.fqr == pytest.approx(np.mean([item.fqr for item in each]))
    assert cost.bitops == pytest.approx(np.mean([item.bitops for item in each]))
    assert 4 <= cost.fqr <= 8
    whole = evaluate(cadyq, [data]).sets[0].cost
    assert whole.patches == 1
    assert whole.macs < cost.macs, "patches overlap"


def test_fixed_widths_tables_and_floats(tmp_path, data):
    pams = made("pams", 4, weight=4)
    models.save(pams, tmp_path / "pams.safetensors")
    cost = evaluate(tmp_path / "pams.safetensors", [data]).sets[0].cost
    rule = counted("srresnet", pams.net)
    assert cost.fqr == 4
    assert cost.published == pytest.approx(rule.bitops(Bits(4, 4), cost.pixels))
    chooser = made("cadyq", (4, 6, 8))
    plan = placement("srresnet", (4, 6, 8), 8, width=8)
    plain = models.build("srresnet", scale=2, **SIZES["srresnet"])
    cabm = fake_quantize(plain, plan, "cabm", (), source=chooser)
    cabm = tabulate(cabm, chooser, [torch.rand(4, 3, 16, 16)])
    models.save(cabm, tmp_path / "cabm.safetensors")
    found = evaluate(tmp_path / "cabm.safetensors", [data], patch=16, step=12).sets[0].cost
    least, most = (rule.bitops(Bits(8, bits), found.pixels) for bits in (4, 8))
    assert least <= found.published <= most, "and nothing for selectors, which a table has not"
    assert 4 <= found.fqr <= 8
    models.save(plain, tmp_path / "float.safetensors")
    EXPORTS["onnx"](plain, tmp_path / "float.onnx")
    assert evaluate(tmp_path / "float.safetensors", [data]).sets[0].cost is None
    cost = evaluate(tmp_path / "float.safetensors", [data], patch=16).sets[0].cost
    assert (cost.fqr, cost.feature_bits) == (32, 32)
    exported = evaluate(tmp_path / "float.onnx", [data], patch=16).sets[0]
    assert exported.cost is None, "this engine cannot tell"
    assert exported.psnr == pytest.approx(evaluate(tmp_path / "float.safetensors", [data], patch=16).sets[0].psnr, 1e-4)


def test_the_command(cadyq, data):
    arguments = ["evaluate", str(cadyq), "--data", str(data), "--patch", "16", "--step", "12"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    for word in ("patches of 16 small pixels, one every 12", "FQR", "average feature bits", "BitOPs as published"):
        assert word in done.output
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["models"][0]
    assert told["sets"][0]["cost"]["fqr"] == pytest.approx(evaluate(cadyq, [data], patch=16, step=12).sets[0].cost.fqr)


def test_mistakes(cadyq, data):
    assert cut_of(None, None) is None
    assert cut_of(96, None) == Cut(96, 90)
    with pytest.raises(UsageError, match="give the side of patches with --patch"):
        evaluate(cadyq, [data], step=90)
    with pytest.raises(UsageError, match="leave gaps"):
        evaluate(cadyq, [data], patch=16, step=17)


def test_a_block_that_runs_three_times_chooses_three_times(tmp_path):
    torch.manual_seed(1)
    model = models.build("carn", scale=2, width=8, groups=2)
    model = fake_quantize(model, placement("carn", (4, 6, 8), 8, width=8), "cadyq", [torch.rand(2, 3, 16, 16)])
    for part in model.net.modules():
        if isinstance(part, Mixed):
            torch.nn.init.normal_(part.selector.linear.weight, std=20)
    models.save(model, tmp_path / "m.safetensors")
    small = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    _, [one] = upscaled(open_model(str(tmp_path / "m.safetensors")), small)
    spent = one.spent
    assert len(spent.bits) == 3 * len([part for part in model.net.modules() if isinstance(part, Mixed)]) == 18
    layers = [layer for layer in bitops.count(model.net, (16, 16)).layers if layer.act_choice]
    at = dict(zip(sorted(layer.act_choice for layer in layers), spent.bits, strict=True))
    others = bitops.count(model.net, (16, 16)).bitops - sum(layer.bitops for layer in layers)
    assert len(set(spent.bits)) > 1
    assert spent.bitops == others + sum(layer.macs * at[layer.act_choice] * 8 for layer in layers)
