"""Which quantizers meet in a product."""

from collections import Counter

from quant_nets import build
from sharpbit.cost.bitops import count
from sharpbit.cost.operands import products
from sharpbit.quant.core import METHODS, insert_quantizers
from sharpbit.quant.plan import Plan, Rule, leave


def quantized(kind, *rules):
    return insert_quantizers(build(kind), Plan((Rule("*", 6, 4), *rules)), METHODS["minmax"])


def test_a_layer_multiplies_its_input_with_its_weight():
    net = quantized("residual")
    found = {(first, second): macs for macs, first, second in products(net, (10, 14))}
    assert found["head.act", "head.kernel"] == 3 * 12 * 9 * 140
    assert set(found) == {(f"{name}.act", f"{name}.kernel") for name in (
        "head", "blocks.0.conv1", "blocks.0.conv2", "blocks.1.conv1", "blocks.1.conv2", "tail",
    )}  # fmt: skip


def test_attention_multiplies_what_sites_hold():
    pairs = {pair[1:] for pair in products(quantized("attention"), (6, 6))}
    assert {("at_q.act", "at_k.act"), ("at_map.act", "at_v.act")} <= pairs


def test_what_nobody_rounds_has_no_name():
    pairs = {pair[1:] for pair in products(quantized("attention", leave("at_k"), Rule("tail", 32, 4)), (6, 6))}
    assert {("at_q.act", None), (None, "tail.kernel")} <= pairs


def test_the_sum_is_that_of_the_meter():
    net = quantized("attention", Rule("tail", 8, 8))
    widths = {name: part.bits for name, part in net.named_modules() if hasattr(part, "bits")}
    ours = Counter(macs * widths[first] * widths[second] for macs, first, second in products(net))
    assert ours == Counter(layer.bitops for layer in count(net).layers)
    assert widths == {name: part.bits for name, part in net.named_modules() if hasattr(part, "bits")}  # and untouched
