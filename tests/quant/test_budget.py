"""A width for each layer within a budget of bit operations."""

import itertools
import random

import pytest
import torch
from torch import nn

from quant_nets import build, images
from sharpbit import model as models
from sharpbit.cost.bitops import count
from sharpbit.cost.operands import products
from sharpbit.errors import UsageError
from sharpbit.quant import recorded
from sharpbit.quant.core import METHODS, calibrate, insert_quantizers
from sharpbit.quant.plan import Plan, Rule, leave
from sharpbit.quant.ptq.bit_allocation import choose, combined, error_of, limit, mixed_precision, units

MINMAX = METHODS["minmax"]
SIZE = (14, 14)


def plans(*widths, ends=()):
    return {bits: Plan((Rule("*", bits, bits), *(Rule(name, max(bits, 8), bits) for name in ends))) for bits in widths}


def parts_of(net, given):
    quantized = insert_quantizers(net, given[max(given)], MINMAX)
    return units(quantized, products(quantized))


def cost_of(net, plan):
    return count(insert_quantizers(net, plan, MINMAX)).bitops


def test_operands_of_one_product_have_one_width():
    names = {unit.names for unit in parts_of(build("attention"), plans(8, 4))}
    assert {frozenset(("at_q", "at_k")), frozenset(("at_v", "at_map"))} <= set(map(frozenset, names))
    assert ("head",) in names
    assert ("qkv",) in names


def test_choose_finds_the_best_of_all_choices():
    """Against trying everything, but for the rounding of costs; and the budget always holds."""
    rng = random.Random(0)
    for _ in range(20):
        size = [rng.uniform(1, 10) for _ in range(5)]
        costs = [{bits: s * bits * bits for bits in (8, 6, 4)} for s in size]
        errors = [{bits: e * 4.0**-bits for bits in (8, 6, 4)} for e in (10 ** rng.uniform(0, 3) for _ in size)]
        most = rng.uniform(20, 60) * sum(size)
        chosen = choose(costs, errors, most)

        def total(table, widths):
            return sum(row[bits] for row, bits in zip(table, widths, strict=True))

        assert total(costs, chosen) <= most
        every = [each for each in itertools.product((8, 6, 4), repeat=5) if total(costs, each) <= most]
        tight = [each for each in every if total(costs, each) <= 0.999 * most]
        assert total(errors, chosen) <= min(total(errors, each) for each in tight)


def test_choose_uses_what_is_left_over():
    costs = [{8: 64.0, 4: 16.0}, {8: 640.0, 4: 160.0}]
    errors = [{8: 0.0, 4: 1.0}, {8: 0.0, 4: 20.0}]
    assert choose(costs, errors, 224.0) == (8, 4)  # exactly what both cost
    assert choose(costs, errors, 223.0) == (4, 4)
    assert choose(costs, errors, 176.0) == (4, 4)  # exactly the least


def test_what_costs_nothing_stays_wide():
    assert choose([{8: 0.0, 4: 0.0}, {8: 64.0, 4: 16.0}], [{8: 0.0, 4: 1.0}] * 2, 16.0) == (8, 4)


def test_a_budget_is_a_mean_of_bits_or_a_share():
    net, given = build("chain"), plans(8, 6, 4, ends=("0",))
    parts = parts_of(net, given)
    bits = {
        width: {
            name: part.bits
            for name, part in insert_quantizers(net, plan, MINMAX).named_modules()
            if hasattr(part, "bits")
        }
        for width, plan in given.items()
    }
    cost = {width: sum(unit.cost(bits[width]) for unit in parts) for width in given}
    assert limit(6, parts, bits) == cost[6]  # the first input has 8 bits in both
    assert limit("50%", parts, bits) == cost[8] / 2
    assert cost[4] < limit(4.5, parts, bits) < limit("6", parts, bits)
    too_small, too_large = (3.9, "5%", 0, "nan"), (8, "100%")
    for budget, sentence in (
        *((budget, "out of reach") for budget in too_small),
        *((budget, "nothing to choose") for budget in too_large),
        ("much", "mean of bits"),
    ):
        with pytest.raises(UsageError, match=sentence):
            limit(budget, parts, bits)


def test_the_layer_that_is_hurt_most_keeps_its_bits():
    """One whose weights have an outlier, so that four bits leave nothing of the others."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))).eval()
    with torch.no_grad():
        net[2].weight[:, 0, 0, 0] += 20
    given = plans(8, 4)
    plan = mixed_precision(net, given, MINMAX, parts_of(net, given), 6, images(1)[0])
    widths = {rule.match: (rule.act, rule.weight) for rule in plan.rules}
    assert widths["2"] == (8, 8)
    assert (4, 4) in widths.values()
    assert cost_of(net, plan) <= cost_of(net, plans(6)[6])


def test_errors_are_those_of_one_unit_alone():
    net, given = build("residual"), plans(4)
    quantized = insert_quantizers(net, given[4], MINMAX)
    x = images(1)[0]
    calibrate(quantized, [x])
    (unit,) = (unit for unit in units(quantized, products(quantized)) if unit.names == ("tail",))
    alone = insert_quantizers(net, Plan((Rule("tail", 4, 4),)), MINMAX)
    calibrate(alone, [x])
    with torch.no_grad():
        expected = float((alone(x) - net(x)).square().mean())
        assert error_of(quantized, unit, x, net(x)) == pytest.approx(expected, rel=1e-5)
        assert expected > 0


def test_within_a_budget_it_beats_one_width_everywhere():
    """The same bit operations at most, and a smaller error."""
    torch.manual_seed(0)
    model = models.build("imdn", scale=2, blocks=1, width=8)
    x = nn.functional.interpolate(torch.rand(4, 3, 4, 4), size=16, mode="bicubic").clamp(0, 1)
    given = {
        bits: Plan.after_training(model.arch.rounding, bits, METHODS["search"].maps, symmetric=bits == 8)
        for bits in (8, 6, 5, 4)
    }
    choice = {bits: given[bits] for bits in (8, 6, 4)}
    plan = mixed_precision(model.net, choice, METHODS["search"], parts_of(model.net, choice), 5, x)
    errors, costs = [], []
    for each in (given[5], plan):
        after = recorded.calibrate(recorded.insert_quantizers(model, each, "search"), x.split(2))
        with torch.no_grad():
            errors.append(float((after.net(x) - model.net(x)).square().mean()))
        costs.append(count(after.net).bitops)
    assert costs[1] <= costs[0]
    assert errors[1] < errors[0]


def test_the_plan_stands_in_the_file(tmp_path):
    torch.manual_seed(0)
    model = models.build("craft", scale=2, width=8, depths=(1,), heads=2)
    x = torch.rand(2, 3, 16, 16)
    given = {bits: Plan.after_training(model.arch.rounding, bits, {}, symmetric=bits == 8) for bits in (8, 4)}
    plan = mixed_precision(model.net, given, MINMAX, parts_of(model.net, given), "50%", x)
    assert Plan.read(plan.tables()) == plan
    after = recorded.freeze(recorded.calibrate(recorded.insert_quantizers(model, plan), [x]))
    models.save(after, tmp_path / "a.safetensors")
    again = models.load(tmp_path / "a.safetensors")
    assert {"W8A8", "W4A4"} <= set(again.header().precision.split())
    with torch.no_grad():
        assert torch.equal(again.net(x), after.net(x))


def test_what_stays_in_float_stays_so():
    net = build("residual")
    given = {bits: Plan((*plan.rules, leave("tail"))) for bits, plan in plans(8, 4).items()}
    plan = combined(net, given, dict.fromkeys(("head", "blocks.0.conv1"), 4))
    assert [rule.match for rule in plan.rules] == ["head", "blocks.0.conv1"]
    assert all("tail" not in unit.names for unit in parts_of(net, given))
