"""What is asked for of integer graphs: the mean of ordinary images, and each image, textures too, within a margin."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sharpbit.arch.graph import graph_of
from sharpbit.data.varied import texture
from sharpbit.model.foreign import of_module
from sharpbit.quant.graph.gate import Gate, Measured, float_results
from sharpbit.quant.graph.images import SOFT_APART, chosen_of
from sharpbit.quant.graph.lowering import lowered
from sharpbit.quant.graph.ranges import RULES, Rule, extremes, ranges_of
from sharpbit.quant.graph.rules import chosen_rule, cut_most, room
from sharpbit.quant.graph.steps import Convolve
from sharpbit.quant.graph.widths import Costs, chosen

GATE = Gate(1e-4)  # 40 dB, and 30 of each image


def silent(*_):
    """Progress that nobody sees."""


class Net(nn.Module):
    """Three convolutions; the first channel of the first one is that of bright images alone."""

    def __init__(self, gain=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 12, 3, padding=1)
        with torch.no_grad():
            self.a.weight[0], self.a.bias[0] = 0, -0.8 * gain
            self.a.weight[0, :, 1, 1] = gain / 3
            self.c.weight[:, 0] += 0.5

    def forward(self, x):
        return F.pixel_shuffle(self.c(F.relu(self.b(F.relu(self.a(x))))) * 0.1, 2)


def steps_of(net):
    return lowered(graph_of(of_module(net.eval(), scale=2, white=1.0).net))


@pytest.mark.parametrize(
    ("decibels", "ordinary", "above"),
    [
        ([45, 41, 43], 3, 3.0),  # the mean
        ([45, 41, 43, 28], 3, -2.0),  # one image is too far
        ([45, 41, 43, 31], 3, 1.0),  # it is not, but less above than the mean
        ([60, 29, 60, 60], 4, -1.0),  # an ordinary one may not be, either
    ],
)
def test_what_is_farthest_counts(decibels, ordinary, above):
    errors = 10 ** (-torch.tensor(decibels, dtype=torch.float64) / 10)
    assert GATE.above(errors, ordinary) == pytest.approx(above)


def test_a_share_of_what_is_allowed():
    assert GATE.of(0.1).above(torch.tensor([1e-5]), 1) == pytest.approx(0)
    assert GATE.of(0.0).above(torch.tensor([1e-9]), 1) < 0


def test_sixteen_bits_go_where_one_image_needs_them():
    """The first convolution costs ordinary images nothing and the hard one too much."""
    steps = steps_of(Net())
    places = [k for k, step in enumerate(steps) if isinstance(step, Convolve)]
    read = torch.full((3, len(steps)), 1e-7, dtype=torch.float64)
    cost = Costs(read, torch.zeros_like(read), ordinary=2)
    assert chosen(steps, cost, GATE).both == frozenset()
    read[2, places[1]] = 2e-3
    assert chosen(steps, cost, GATE).both == frozenset([places[1]])
    assert chosen(steps, Costs(read * 0.4, torch.zeros_like(read), 2), GATE).both == frozenset()


def test_textures_are_shown_and_measured():
    given = torch.randint(0, 256, (17, 3, 24, 20), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    shown = chosen_of(given, torch.Generator().manual_seed(0))
    measured = Measured.of(steps_of(Net()), shown, silent)
    assert (len(shown.given), len(shown.hard), measured.ordinary) == (15, SOFT_APART, 2 + 6)
    assert len(measured.wanted) == len(measured.images) == measured.ordinary + SOFT_APART
    assert measured.wanted[0].shape == (1, 3, 48, 40)
    assert shown.soft.shape[1:] == given.shape[1:]


def test_a_texture_is_soft_and_faint():
    for seed in range(8):
        one = texture((40, 56), np.random.default_rng(seed)).astype(float)
        assert one.shape == (56, 40, 3)
        assert one.min() >= 0
        assert 2.5 < one.std((0, 1)).mean() < 19
        apart = one - one.mean((0, 1))
        assert (apart[1:] * apart[:-1]).mean() > 0.4 * (apart**2).mean()  # neighbours are alike
    assert (texture((8, 8), np.random.default_rng(1)) == texture((8, 8), np.random.default_rng(1))).all()


def test_ranges_do_not_cut_off_what_few_images_need():
    """One image of all goes where the others do not; those that are measured are not like it."""
    steps = steps_of(Net(gain=200))
    images = torch.full((16, 3, 12, 12), 100.0)
    images += torch.arange(16)[:, None, None, None]
    measured = Measured(images[:2], float_results(steps, images[:2], silent), 2)
    tight = Gate(1e-7)
    alike = extremes(steps, images, silent)
    assert chosen_rule(steps, alike, images, measured, tight, silent) == 0
    images[5] = 255
    seen = extremes(steps, images, silent)
    low = ranges_of(steps, seen, RULES[0])
    assert int(cut_most(seen, low)[0]) == 5
    number = chosen_rule(steps, seen, images, measured, tight, silent)
    assert number > 0
    assert RULES[number].wild == float("inf")


def test_a_channel_that_is_silent_in_most_images_is_not_cut_off():
    """It may be as large as others are, by the first rule too."""
    steps = steps_of(Net())
    images = torch.full((16, 3, 12, 12), 120.0)
    images[3] = 230  # the first channel is not 0 here alone
    seen = extremes(steps, images, silent)
    assert seen.high[0][:, 0].count_nonzero() == 1
    found, most = (ranges_of(steps, seen, rule)[1].step[0] for rule in (RULES[0], Rule()))
    assert found == pytest.approx(most)


def test_room_for_rounding():
    """A fifth of what is allowed is for what ranges cut off."""
    assert room(torch.tensor([1e-5, 1e-5]), GATE, 2) > 0
    assert room(torch.tensor([3e-5, 3e-5]), GATE, 2) < 0
    assert room(torch.tensor([0.0, 0.0, 1.9e-4]), GATE, 2) > 0
    assert room(torch.tensor([0.0, 0.0, 2.1e-4]), GATE, 2) < 0
