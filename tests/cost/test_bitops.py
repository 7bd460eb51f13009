"""Bits metered from outside: who rounded what, who reads it, and the rules of published tables."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sharpbit
from quant_nets import Attention, Residual, build, calibrated, images
from sharpbit import model as models
from sharpbit.app.inspect import inspected
from sharpbit.cost import bitops, macs
from sharpbit.export.onnx import export
from sharpbit.nn import Site
from sharpbit.quant import recorded
from sharpbit.quant.core import METHODS, insert_quantizers
from sharpbit.quant.freeze import freeze
from sharpbit.quant.plan import Plan, Rule, leave

MINMAX = METHODS["minmax"]


def layers(net, size=(6, 5)):
    return {layer.name: (layer.act, layer.weight) for layer in bitops.count(net, size).layers}


def test_a_float_network_has_32_bits_everywhere():
    net = Residual()
    cost = bitops.count(net, (6, 5))
    assert cost.bitops == 1024 * macs.count(net, (6, 5)).macs
    assert cost.bytes == 4 * sum(weight.numel() for weight in net.parameters())


def test_each_layer_has_its_bits():
    plan = Plan((Rule("*", 8, 4), leave("head"), Rule("tail", 32, 6)))
    seen = layers(insert_quantizers(Residual(), plan, MINMAX))
    assert seen == {
        "head": (32, 32),
        "tail": (32, 6),
        **{f"blocks.{b}.conv{c}": (8, 4) for b in (0, 1) for c in (1, 2)},
    }


def test_rounding_changes_no_mac_and_adds_no_unknowns():
    for net in (Residual(sites=True), Attention()):
        before, after = (macs.count(item, (6, 5)) for item in (net, calibrated(net)))
        assert (before.macs, before.operators, before.tensors) == (after.macs, after.operators, after.tensors)
        assert macs.count(freeze(calibrated(net)), (6, 5)) == after


def test_attention_products_look_through_reshaping():
    net = insert_quantizers(Attention(), Plan((Rule("at_*", 8), Rule("at_map", 4))), MINMAX)
    products = [(layer.act, layer.weight) for layer in bitops.count(net, (6, 5)).layers if layer.operator == "bmm"]
    assert products == [(8, 8), (4, 8)]


class Sums(nn.Module):
    """Two rounded tensors, their sum, and the raw input: only the first is on a grid where it is multiplied."""

    def __init__(self):
        super().__init__()
        self.a, self.b = Site(), Site()
        self.weight = nn.Parameter(torch.ones(3, 3, 1, 1))

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        one = F.conv2d(F.pad(F.relu(a), (1, 1)), self.weight)
        two = F.conv2d(a + b, self.weight)
        three = F.conv2d(x, self.weight)
        b += 1
        four = F.conv2d(b, self.weight)
        both = F.conv2d(torch.cat([a, x], -1), self.weight)
        return F.interpolate(one + 0 * both.mean(), scale_factor=1) + (two + three + four).mean()


def test_what_leaves_its_grid_counts_as_float():
    net = insert_quantizers(Sums(), Plan((Rule("a", 4), Rule("b", 6))), MINMAX)
    cost = bitops.count(net, (4, 4))
    assert [layer.act for layer in cost.layers] == [4, 32, 32, 32, 32]
    assert {layer.weight for layer in cost.layers} == {32}
    assert "mean" in cost.operators


def test_bytes_at_width():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1))
    quantized = insert_quantizers(net, Plan((Rule("0", 8, 3),)), MINMAX)
    expected = -(-108 * 3 // 8) + 4 * 4 + 4 + 4 * 4 + 4 * (16 + 4)  # weights, scales, scale of the input, bias; float
    assert bitops.count(quantized, (6, 6)).bytes == expected
    for _, part in quantized.named_modules():
        if hasattr(part, "lo"):
            part.lo.data.fill_(-1.0)
            part.hi.data.fill_(1.0)
    assert bitops.count(freeze(quantized), (6, 6)).bytes == expected


class Body(nn.Module):
    """The body of SRResNet as far as the published tables count it: 32 convolutions of 64 channels."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 64, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(32))

    def forward(self, x):
        x = self.head(x)
        for conv in self.body:
            x = conv(x)
        return x


@pytest.mark.parametrize(("bits", "billions"), [(32, 1304.596), (8, 81.537)])
def test_the_published_rule(bits, billions):
    """SRResNet on a whole image of 1024x540: the row "full 4K image" that the published tables derive from."""
    net = Body() if bits == 32 else insert_quantizers(Body(), Plan.uniform(bits, match=("body.*",)), MINMAX)
    cost = bitops.count(net, (540, 1024))
    assert cost.published(["body.*"]) / 1e9 == pytest.approx(billions, abs=0.001)
    assert cost.bitops > cost.published(["body.*"]) * 512


def test_inspect_tells_it(tmp_path):
    torch.manual_seed(0)
    model = recorded.insert_quantizers(models.build("etds", scale=3, blocks=1, width=8), Plan.uniform(8, 4))
    model = recorded.freeze(recorded.calibrate(model, images()))
    models.save(model, tmp_path / "a.safetensors")
    export(model, tmp_path / "a.onnx")
    facts = sharpbit.inspect(tmp_path / "a.safetensors")
    assert facts.bitops == 32 * facts.macs
    assert facts.layers[0] == {**facts.layers[0], "name": "conv_first", "act": 8, "weight": 4}
    assert facts.bytes_at_width < 4 * facts.parameters / 4
    again = sharpbit.inspect(tmp_path / "a.onnx")
    same = ("bitops", "layers", "bytes_at_width", "macs", "parameters", "receptive_field", "precision", "history")
    for name in same:
        assert getattr(again, name) == getattr(facts, name), name
    text = inspected(facts, as_json=False)
    assert "32.0 for each MAC" in text
    assert "conv_first" in text
    assert '"bitops"' in inspected(facts, as_json=True)
    models.save(models.build("etds", scale=3, blocks=1, width=8), tmp_path / "float.safetensors")
    assert sharpbit.inspect(tmp_path / "float.safetensors").bitops is None


def test_built_nets_have_no_values_to_lose():
    net = build("residual")
    bitops.count(net, (4, 4))
    assert not net.head._forward_hooks
