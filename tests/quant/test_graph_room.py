"""That the sums of convolutions which read both bytes have room for what is added to them."""

import pytest
import torch

from sharpbit.modelfile.integer_graph_checks import LARGEST_BOTH, MAX_SUM
from sharpbit.modelfile.integer_layer import FINE
from sharpbit.quant.graph.finer import grid_of
from sharpbit.quant.graph.steps import Convolve
from sharpbit.quant.sloped.layer import Range


@pytest.mark.parametrize("zero", [0.0, 128.0, 255.0])
@pytest.mark.parametrize("bias", [0.0, 30.0, -30.0])
def test_sums_have_room_for_bias_and_zero_points(zero, bias):
    """As in the first block of x4plus, where a bias was cut, and one channel was off by 7 times its values."""
    inputs, outputs = 192, 2
    weight = torch.rand(outputs, inputs, 3, 3, generator=torch.Generator().manual_seed(0)).double() + 0.5
    step = Convolve([0], weight, torch.full((outputs,), bias).double(), torch.ones(outputs).double(), 1, [])
    read = Range(torch.full((inputs,), 0.01).double(), torch.full((inputs,), zero).double())
    after = Range(torch.full((outputs,), 0.1).double(), torch.zeros(outputs).double())
    grid = grid_of(step, [read], after, both=True)[:, None]
    taps = (weight * 0.01).flatten(1) / grid
    added = (step.bias[:, None] - (weight * 0.01 * zero).flatten(1).sum(1, keepdim=True)) / grid * FINE
    assert float((taps.round().abs().sum(1, keepdim=True) * LARGEST_BOTH + added.abs()).max()) <= MAX_SUM
    assert float(taps.abs().max()) > 10  # and the steps are no coarser than that takes
