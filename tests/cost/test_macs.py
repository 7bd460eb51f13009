"""Counting from outside: the rules, what no rule counts, and every published number."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sharpbit.arch import ARCHITECTURES
from sharpbit.cost.macs import count
from sharpbit.errors import UsageError
from sharpbit.model import build, load
from sharpbit.recipe import read

RECIPES = [read(path) for path in sorted((Path(__file__).parents[2] / "recipes" / "etds").glob("*.toml"))]
PUBLISHED = [(form, recipe.start.arch) for recipe in RECIPES for form in recipe.evaluate if form.parameters]
TRAINING = {  # "w/o ET" of the ablation table: blocks, width, (parameters in K, MACs in G) at x2, x3, x4
    "T": (5, 16, ((12.11, 2.75), (14.30, 3.25), (17.37, 3.94))),
    "S": (4, 32, ((38.35, 8.77), (42.70, 9.76), (48.79, 11.16))),
    "M": (6, 32, ((55.34, 12.65), (59.69, 13.65), (65.78, 15.04))),
    "L": (7, 48, ((143.85, 32.98), (150.36, 34.47), (159.47, 36.56))),
}


@pytest.mark.parametrize(("form", "arch"), PUBLISHED, ids=[form.weights for form, _ in PUBLISHED])
def test_published_files(shared, form, arch):
    if arch not in list(ARCHITECTURES) or "clip" not in {item.name for item in fields(ARCHITECTURES["plain"].config)}:
        pytest.skip("this network is not here yet, or is folded when it is loaded")
    (path,) = (shared / "weights" / "etds").rglob(form.weights)
    model = load(path)
    assert model.parameters / 1e3 == pytest.approx(form.parameters, abs=0.0051)
    cost = count(model.net)
    assert (cost.operators, cost.tensors) == ({}, ())
    if form.macs is not None:
        assert cost.macs / 1e9 == pytest.approx(form.macs, abs=0.0051)


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_training_forms(name, scale):
    blocks, width, rows = TRAINING[name]
    model = build("etds", scale=scale, blocks=blocks, width=width)
    cost = count(model.net)
    assert (model.parameters / 1e3, cost.macs / 1e9) == pytest.approx(rows[scale - 2], abs=0.0051)
    assert (cost.operators, cost.tensors) == ({}, ())


def test_rules():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.PReLU(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.Tanh(),
        nn.ConvTranspose2d(8, 3, 9, stride=2, padding=4, output_padding=1),
        nn.Sigmoid(),
    )
    pixels = 10 * 12
    cost = count(net, (10, 12))
    assert cost.macs == pixels * (8 * 27 + 8 + 8 * 18) + 4 * pixels * 8 * 3 * 81
    assert (cost.operators, cost.tensors, cost.size) == ({}, (), (10, 12))


class Odd(nn.Module):
    """What modules do not show: a convolution that is a function, a product, a tensor that nobody reads."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 3, 1, 1))
        self.gain = nn.Parameter(torch.zeros(1))
        self.unused = nn.Parameter(torch.zeros(5))

    def forward(self, x):
        return F.conv2d(x, self.weight) * self.gain


def test_each_module_has_its_own_share():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.PReLU(), nn.Conv2d(4, 3, 1)), Odd())
    cost = count(net, (4, 5))
    assert cost.layers == {"0": 20 * 4 * 27, "1.0": 20 * 4, "1.1": 20 * 12, "2": 20 * 9}
    assert sum(cost.layers.values()) == cost.macs


def test_nothing_is_silently_zero():
    cost = count(Odd(), (4, 5))
    assert cost.macs == 20 * 9
    assert cost.operators == {"mul": 1}
    assert cost.tensors == ("gain", "unused")


def test_the_network_is_left_alone():
    net = Odd().train()
    count(net, (4, 5))
    assert net.training
    assert net.weight.device.type == "cpu"


def test_a_network_that_needs_values():
    class Deciding(nn.Module):
        def forward(self, x):
            return x if bool(x.sum() > 0) else -x

    with pytest.raises(UsageError, match="cost of Deciding cannot be counted"):
        count(Deciding())
