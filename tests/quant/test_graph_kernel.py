"""What of a convolution is rounded: one kernel, for its grid and for its integers."""

import pytest
import torch

from sharpbit.quant.graph import finer, rounder
from sharpbit.quant.graph.finer import kernel_of
from sharpbit.quant.graph.steps import Convolve
from sharpbit.quant.sloped.layer import Range


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_it_is_weights_and_bias_in_steps_of_the_result(groups):
    generator = torch.Generator().manual_seed(groups)

    def some(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.1

    read = [Range(some(4), torch.zeros(4)), Range(some(8), torch.zeros(8))]
    after = Range(some(8), torch.zeros(8))
    step = Convolve([0, 1], some(8, 12 // groups, 3, 3), some(8), some(8), groups, [])
    steps = torch.cat([one.step for one in read])
    wanted = torch.empty(8, 12 // groups * 9 + 1, dtype=torch.float64)
    for output in range(8):
        first = output * groups // 8 * (12 // groups)
        own = steps[first : first + 12 // groups, None, None]
        wanted[output, :-1] = (step.weight[output] * own).flatten() / after.step[output]
        wanted[output, -1] = step.bias[output] / 255 / after.step[output]
    assert torch.equal(kernel_of(step, read, after), wanted)


def test_grid_and_integers_take_the_same_one():
    assert rounder.kernel_of is finer.kernel_of
