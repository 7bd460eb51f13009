"""Networks of others, known by their published weights alone: the PSNR tells that they are what they should be."""

import numpy as np
import pytest
import torch

from sharpbit import model as models
from sharpbit.measure import psnr
from sharpbit.measure.benchmarks import find
from sharpbit.verbs.evaluate import evaluate


def test_imdn(shared):
    """What these weights gave when the network was written (docs/reproduce.md); a wrong layer costs decibels."""
    path = shared / "weights" / "peers" / "imdn_x4_ntire2022.pth"
    model = models.load(path)
    assert (model.arch.name, model.parameters) == ("imdn", 893936)
    (score,) = evaluate(path, [shared / "data" / "benchmarks" / "Set5"]).sets
    assert score.psnr == pytest.approx(32.24, abs=0.01)


def test_hitsr(shared):
    """On the smallest image of Set5; the whole set gives 32.55 dB and takes half a minute."""
    model = models.load(shared / "weights" / "peers" / "hitsr_x4_ntire2025.pth")
    assert (model.arch.name, model.parameters) == ("hitsr", 866420)
    assert model.config.windows == (4, 8, 16, 32, 48, 64)
    benchmark = find(shared / "data" / "benchmarks" / "Set5")[0]
    small, large = benchmark.pair(benchmark.large[2], 4)
    with torch.inference_mode():
        out = model.net.eval()(torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 255)
    out = (out[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy().astype(np.uint8)
    assert psnr.of_values(*psnr.compared(out, large, 4, "y")) == pytest.approx(29.517, abs=0.01)


def test_a_bias_averaged_over_squares_is_the_average_of_the_biases():
    """Written again pair by pair."""
    torch.manual_seed(0)
    side, base, heads = 8, 4, 2
    net = models.build("hitsr", scale=2, width=48, groups=1, windows=(side,), base=base, heads=heads).net
    correlation = net.layers[0].residual_group.blocks[0].correlation
    with torch.no_grad():
        bias = correlation._bias()
        expected = torch.zeros(heads, side * side, base * base)
        for p in range(side * side):
            for q in range(side * side):
                down, right = p // side - q // side, p % side - q % side
                square = q // side // 2 * base + q % side // 2
                expected[:, p, square] += correlation.pos(torch.tensor([float(down), float(right)])) / 4
    torch.testing.assert_close(bias, expected, atol=1e-6, rtol=1e-5)
