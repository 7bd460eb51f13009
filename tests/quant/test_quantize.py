"""Plans, the swap, and calibration."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from quant_nets import Attention, Residual, build, calibrated, chain, images
from sharpbit import model as models
from sharpbit import modelfile
from sharpbit.errors import ModelError, UsageError
from sharpbit.nn import Site
from sharpbit.quant import recorded
from sharpbit.quant.core import METHODS, Method, calibrate, insert_quantizers, quantizers
from sharpbit.quant.freeze import freeze
from sharpbit.quant.layers import QuantConv2d, QuantLinear, QuantSite
from sharpbit.quant.method.minmax import MinMax
from sharpbit.quant.method.percentile import Percentile
from sharpbit.quant.plan import Plan, Rule, leave

MINMAX = METHODS["minmax"]


def test_only_ranges_are_missing_from_a_float_state():
    net = Attention()
    told = insert_quantizers(net, Plan.uniform(), MINMAX).load_state_dict(net.state_dict(), strict=False)
    assert not told.unexpected_keys
    assert told.missing_keys
    assert all(".range." in key for key in told.missing_keys)
    assert "at_q.act.range.lo" in told.missing_keys
    assert "qkv.kernel.range.hi" in told.missing_keys


def test_a_layer_has_the_very_parameters_of_the_float_one():
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, dilation=2, groups=2, padding_mode="replicate").eval()
    swapped = QuantConv2d(conv, nn.Identity(), nn.Identity())
    assert swapped.weight is conv.weight
    assert swapped.bias is conv.bias
    assert not swapped.training
    x = torch.rand(1, 4, 11, 12)
    assert torch.equal(swapped(x), conv(x))
    linear = nn.Linear(4, 3, bias=False)
    assert QuantLinear(linear, nn.Identity(), nn.Identity()).weight is linear.weight


def test_the_float_network_is_left_alone():
    net, x = build("residual"), images(1)[0]
    before, state = net(x), {key: value.clone() for key, value in net.state_dict().items()}
    calibrated(net, 2)
    assert torch.equal(net(x), before)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_later_rules_win_and_some_take_out():
    plan = Plan((Rule("*", 4, 4), Rule("head", 8, 6), leave("blocks.1.*")))
    net = insert_quantizers(Residual(sites=True), plan, MINMAX)
    assert (net.head.act.bits, net.head.kernel.bits) == (8, 6)
    assert net.blocks[0]["conv1"].act.bits == 4
    assert type(net.blocks[1]["conv1"]) is nn.Conv2d
    assert type(net.blocks[1]["left"]) is Site
    assert isinstance(net.blocks[0]["left"], QuantSite)


def test_a_shared_module_stays_shared():
    conv = nn.Conv2d(3, 3, 1)
    net = insert_quantizers(nn.Sequential(conv, nn.ReLU(), conv), Plan((Rule("2", 4, 4),)), MINMAX)
    assert net[0] is net[2]
    assert net[0].act.bits == 4


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule("blok.*"), r"rule 'blok\.\*' matched no convolution.*of Residual \(nearest: 'blocks\..*'\)"),
        (Rule("blocks.0"), r"rule 'blocks\.0' matched no.*of Residual, only ModuleDict \(nearest: 'blocks\.0\..*'\)"),
    ],
)
def test_a_rule_that_matches_nothing_names_the_nearest(rule, message):
    with pytest.raises(UsageError, match=message):
        insert_quantizers(Residual(), Plan((rule,)), MINMAX)


def test_what_cannot_be_planned():
    with pytest.raises(UsageError, match="nothing: ReLU has no convolution"):
        insert_quantizers(nn.ReLU(), Plan.uniform(), MINMAX)
    with pytest.raises(UsageError, match="still in float"):
        insert_quantizers(calibrated(chain()), Plan.uniform(), MINMAX)
    with pytest.raises(UsageError, match=r"2 to 16 bits.*not 1"):
        Rule("*", 1)
    with pytest.raises(UsageError, match="not 3"):
        Rule(3)
    with pytest.raises(UsageError, match="a rule has no key 'bitz'; nearest: "):
        Plan.read([{"match": "*", "bitz": 4}])
    with pytest.raises(UsageError, match="add 'match'"):
        Plan.read([{"act": 4}])
    with pytest.raises(UsageError, match="MinMax does not take the options tail"):
        insert_quantizers(chain(), Plan((Rule("*", act_options={"tail": 0.1}),)), MINMAX)
    with pytest.raises(UsageError, match="a site has one grid"):
        insert_quantizers(Attention(), Plan((Rule("at_q", act_options={"per_channel": True}),)), MINMAX)
    with pytest.raises(UsageError, match="no method called 'minmix'; near it: minmax"):
        recorded.insert_quantizers(models.build("plain", scale=2, blocks=1, width=4), method="minmix")


def test_a_plan_survives_json():
    plan = Plan((Rule("a.*", 4, 6, {"per_channel": True}, {"symmetric": True}), leave("b")))
    assert Plan.read(plan.tables()) == plan


def test_calibration_sees_the_float_network():
    """Although each range, as it stands, would turn everything into NaN."""
    net, batches = build("residual"), images()
    quantized = insert_quantizers(net, Plan.uniform(2), MINMAX)
    seen = []
    handle = net.blocks[1]["conv2"].register_forward_pre_hook(lambda part, args: seen.append(args[0]))
    for batch in batches:
        net(batch)
    handle.remove()
    assert calibrate(quantized, batches) == 3
    bounds = quantized.blocks[1]["conv2"].act.range
    assert bounds.lo.item() == min(x.min().item() for x in seen)
    assert bounds.hi.item() == max(x.max().item() for x in seen)
    kernel = quantized.head.kernel.range
    assert torch.equal(kernel.hi, net.head.weight.flatten(1).amax(1))


def test_calibration_leaves_no_hooks_and_no_mode():
    quantized = insert_quantizers(chain(), Plan.uniform(), MINMAX).train()
    calibrate(quantized, images())
    assert quantized.training
    assert not any(fixed._forward_hooks for _, fixed in quantizers(quantized))


def test_calibration_tells_how_far_it_is_within_a_batch():
    net, done = insert_quantizers(Residual(), Plan.uniform(), MINMAX), []
    parts, batches = sum(1 for _ in quantizers(net)), [*images()]
    calibrate(net, batches, done.append)
    assert parts > 2
    assert sum(done) == len(done) == (len(batches) + 1) * parts  # for each batch, and when ranges settle


def test_bad_calibration_is_told():
    quantized = insert_quantizers(chain(), Plan.uniform(), MINMAX)
    with pytest.raises(UsageError, match="not one batch"):
        calibrate(quantized, [])
    with pytest.raises(ModelError, match="batch 2 holds"):
        calibrate(quantized, [*images(1), torch.full((1, 3, 8, 8), torch.nan)])
    with pytest.raises(UsageError, match="quantize it first"):
        calibrate(chain(), images())
    damaged = insert_quantizers(chain(), Plan.uniform(), MINMAX)
    damaged[0].weight.data[0] = torch.inf
    with pytest.raises(ModelError, match="weights are damaged"):
        calibrate(damaged, images())


def test_what_was_never_calibrated_shows():
    quantized = insert_quantizers(chain(), Plan.uniform(), MINMAX)
    assert quantized(images(1)[0]).isnan().all()
    with pytest.raises(ModelError, match=r"range 0\.act was never calibrated"):
        freeze(quantized)
    with pytest.raises(UsageError, match="quantize it first"):
        freeze(chain())


def test_ranges_for_each_channel():
    options = {"act_options": {"per_channel": True}, "weight_options": {"per_channel": False}}
    plan = Plan((Rule("*"), Rule("qkv", **options), Rule("tail", **options)))
    quantized = calibrated(build("attention"), plan=plan)
    assert quantized.qkv.act.range.lo.shape == (12,)
    assert quantized.tail.act.range.lo.shape == (12,)
    assert quantized.qkv.kernel.range.lo.shape == ()
    x = images(1, 2)[0]
    with torch.no_grad():
        torch.testing.assert_close(freeze(quantized)(x), quantized(x), rtol=0, atol=1e-3)


def test_percentile_by_hand():
    bounds = Percentile(tail=0.1, rate=0.25)
    bounds.observe(torch.arange(11.0), 8)
    assert (bounds.lo.item(), bounds.hi.item()) == (1, 9)
    bounds.observe(torch.arange(21.0) * 2 - 4, 8)
    assert (bounds.lo.item(), bounds.hi.item()) == (1 + 0.25 * (0 - 1), 9 + 0.25 * (32 - 9))
    noise = torch.randn(2, 3, 40, 50)
    rows = Percentile(3, 1, tail=0.003)
    rows.observe(noise, 8)
    expected = torch.quantile(noise.movedim(1, 0).flatten(1), torch.tensor([0.003, 0.997]), dim=1)
    torch.testing.assert_close(torch.stack([rows.lo, rows.hi]).detach(), expected)


def test_minmax_is_the_published_baseline(shared):
    """Weights of the real CRAFT checkpoint, whose bounds the authors' classes have found."""
    from safetensors.torch import load_file

    golden = load_file(shared / "golden" / "craft_ptq_minmax.safetensors")
    state = torch.load(shared / "weights" / "craft_x4_ntire2024.pth", weights_only=True)
    state = state.get("params_ema", state.get("params", state))
    checked = 0
    for key, lo in golden.items():
        name = key.removeprefix("state/").removesuffix(".quantizer.min_val")
        weight = state.get(f"{name}.weight")
        if name == key or weight is None or lo.dim() != 1:
            continue
        bounds = MinMax(len(weight), 0)
        bounds.observe(weight, 8)
        torch.testing.assert_close(bounds.lo.data, lo, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(bounds.hi.data, golden[key.replace("min_val", "max_val")], rtol=1e-5, atol=1e-5)
        checked += 1
    assert checked > 150


def test_a_method_of_ones_own_is_a_pair_of_ranges():
    net = insert_quantizers(chain(), Plan.uniform(), Method(act=Percentile, weight=MinMax))
    assert isinstance(net[0].act.range, Percentile)
    assert isinstance(net[0].kernel.range, MinMax)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"verb": "quantize"}, "plan"),
        ({"verb": "quantize", "method": "minmax", "plan": [1]}, "not fit"),
        ({"verb": "quantize", "method": "minmax", "plan": [{"match": "nothing"}]}, "rule 'nothing' matched no"),
        ({"verb": "quantize", "method": "os", "plan": [{"match": "*"}]}, "no method called 'os'"),
        ({"verb": "freeze"}, "no quantizers to freeze"),
        ({"verb": "prune", "share": 0.5}, "the verb 'prune', which this sharpbit does not know; update sharpbit"),
        ({"method": "minmax"}, "not an object with a verb"),
    ],
)
def test_a_history_that_cannot_be_replayed_is_one_sentence(entry, message, tmp_path):
    model = models.build("plain", scale=2, blocks=1, width=4)
    header = replace(model.header(), history=(entry,))
    header = modelfile.stamp(header, save(model.net.state_dict()), tmp_path / "a.safetensors")
    save_file(model.net.state_dict(), tmp_path / "a.safetensors", {modelfile.KEY: header.to_json()})
    with pytest.raises(ModelError, match=message) as caught:
        models.load(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
