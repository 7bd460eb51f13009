"""Memory of activations, counted, against sums by hand; and what inspect tells of cost."""

import json

import torch
from click.testing import CliRunner
from torch import nn

import sharpbit
from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.cost import bitops, memory
from sharpbit.cost.published import Bits, counted
from sharpbit.nn import Site
from sharpbit.quant.core import METHODS, insert_quantizers
from sharpbit.quant.plan import Plan, Rule
from sharpbit.quant.qat.placement import placement
from sharpbit.twopass.patches import grid
from sharpbit.verbs.qat import fake_quantize


def test_a_chain():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    assert memory.peak(net, (10, 12)) == 120 * 4 * (3 + 8 + 8), "the image belongs to the caller"
    in_place = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 2, 1))
    assert memory.peak(in_place, (10, 12)) == 120 * 4 * (3 + 8 + 2)


class Shortcut(nn.Module):
    """What is kept for an addition stays; views are free."""

    def __init__(self):
        super().__init__()
        self.site = Site()
        self.wide, self.narrow = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 3, 1)

    def forward(self, x):
        kept = self.site(x + 0)
        y = self.narrow(self.wide(kept).flip(1)[:, :])
        return y + kept


def test_shortcuts_and_bits():
    image, wide = 100 * 4 * 3, 100 * 4 * 32
    assert memory.peak(Shortcut(), (10, 10)) == 2 * image + 2 * wide, "the wide one and its turned copy"
    net = insert_quantizers(Shortcut(), Plan((Rule("site", 8),)), METHODS["minmax"])
    assert memory.peak(net, (10, 10)) == image + image // 4 + 2 * wide
    assert memory.peak(net, (20, 10)) == 2 * memory.peak(net, (10, 10))


def made(method, act):
    torch.manual_seed(3)
    model = models.build("srresnet", scale=2, blocks=2, width=8)
    return fake_quantize(model, placement("srresnet", act, 8, width=8), method, [torch.rand(2, 3, 16, 16)])


def test_inspect_counts_layers_images_and_patches(tmp_path):
    model = made("pams", 4)
    models.save(model, tmp_path / "m.safetensors")
    whole = sharpbit.inspect(tmp_path / "m.safetensors", (120, 160))
    size, pixels = (60, 80), 60 * 80
    cost = bitops.count(model.net, size)
    assert (whole.macs, whole.bitops, whole.patches) == (cost.macs, cost.bitops, 1)
    assert whole.peak_bytes == memory.peak(model.net, size)
    assert (whole.fqr, whole.adaptive) == (4, False)
    assert 4 < whole.feature_bits < 32
    rule = counted("srresnet", models.build("srresnet", scale=2, blocks=2, width=8).net)
    assert whole.published_bitops == rule.bitops(Bits(8, 4), pixels)
    assert sum(layer["bitops"] for layer in whole.layers) == whole.bitops
    norms = sum(2 * part.num_features for part in model.net.modules() if isinstance(part, nn.BatchNorm2d))
    assert sum(layer["parameters"] for layer in whole.layers) + norms == whole.parameters
    cut = sharpbit.inspect(tmp_path / "m.safetensors", (120, 160), patch=32, step=26)
    patches = grid(60, 80, 32, 26)
    assert cut.patches == len(patches) == 4
    assert cut.macs * pixels == whole.macs * sum(one.pixels for one in patches)
    assert cut.peak_bytes < whole.peak_bytes
    assert cut.feature_bits == whole.feature_bits
    models.save(made("cadyq", (4, 6, 8)), tmp_path / "a.safetensors")
    most = sharpbit.inspect(tmp_path / "a.safetensors", (120, 160))
    assert (most.fqr, most.adaptive) == (8, True)
    assert most.published_bitops == rule.bitops(Bits(8, 8), pixels, selectors=True)


def test_the_command_tells_it(tmp_path):
    models.save(made("cadyq", (4, 6, 8)), tmp_path / "a.safetensors")
    arguments = ["inspect", str(tmp_path / "a.safetensors"), "--size", "160x120", "--patch", "32"]
    text = CliRunner().invoke(app, arguments).output
    for words in (
        "in 4 overlapping patches",
        "MiB at once",
        "as published  at most",
        "ONNX Runtime after export",
        "FQR",
    ):
        assert words in text
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert told["published_bitops"] > 0
    assert {"name", "parameters", "macs", "act", "weight", "bitops"} <= set(told["layers"][0])
