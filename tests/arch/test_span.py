"""SPAN: a small one of random weights through every step, and the published weights on an image of Set5."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sharpbit import model as models
from sharpbit.arch.span import Block
from sharpbit.cost import bitops
from sharpbit.data.pairs import Pairs
from sharpbit.measure import psnr
from sharpbit.measure.benchmarks import find
from sharpbit.quant import recorded
from sharpbit.quant.qat.placement import placement
from sharpbit.quant.refqsr import published
from sharpbit.training import Training, train
from sharpbit.verbs.qat import fake_quantize


@pytest.fixture
def small():
    torch.manual_seed(0)
    return models.build("span", scale=2, blocks=4, width=8)


def test_eight_bits_a_training_step_two_passes_and_cost(small):
    x = torch.rand(2, 3, 16, 16)
    after = recorded.calibrate(recorded.insert_quantizers(small), [x])
    with torch.no_grad():
        before = small.net(x)
        assert 0 < float((after.net(x) - before).abs().mean() / before.std()) < 0.05
    learner = fake_quantize(small, placement("span", 4, 4, net=small.net), "pams", [x])
    images = [np.random.default_rng(k).integers(0, 256, (48, 48, 3), np.uint8) for k in range(2)]
    how = Training(steps=1, batch=2, patch=8, warmup=0, ema=0.0, precision="float32", rate=1e-3)
    done = train(learner, Pairs.from_images(images, 2), how, quiet=True)
    assert not torch.equal(done.net.blocks[0].conv1.weight, learner.net.blocks[0].conv1.weight)
    plan = published("span", small.config, "pams", 8, 4, refers=1)
    assert (plan.queries, plan.replaced, plan.parts) == (("blocks.1",), ("blocks.2",), ("conv1", "act", "conv2"))
    assert bitops.count(small.net, (10, 10)).macs == 100 * 9 * (3 * 8 + 13 * 64 + 8 * 12) + 100 * 4 * 64


def test_the_branches_of_training_become_one_convolution():
    torch.manual_seed(0)
    state = {}
    for name, inputs in (("conv_1", 3), *((f"block_{k}.c{i}_r", 4) for k in (1, 2) for i in (1, 2, 3)), ("conv_2", 4)):
        shapes = {"conv.0": (2 * inputs, inputs, 1), "conv.1": (8, 2 * inputs, 3), "conv.2": (4, 8, 1)}
        for part, (a, b, side) in {**shapes, "sk": (4, inputs, 1), "eval_conv": (4, inputs, 3)}.items():
            state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"] = torch.randn(a, b, side, side), torch.randn(a)
    state |= {"conv_cat.weight": torch.randn(4, 16, 1, 1), "conv_cat.bias": torch.randn(4)}
    state |= {"upsampler.0.weight": torch.randn(12, 4, 3, 3), "upsampler.0.bias": torch.randn(12)}
    model = models.from_state(state, "branches")
    assert (model.arch.name, model.config.blocks, model.config.width) == ("span", 2, 4)
    x = torch.randn(1, 3, 6, 7)
    y = F.pad(x, (1, 1, 1, 1))
    for k in range(3):
        y = F.conv2d(y, state[f"conv_1.conv.{k}.weight"], state[f"conv_1.conv.{k}.bias"])
    expected = y + F.conv2d(x, state["conv_1.sk.weight"], state["conv_1.sk.bias"])
    torch.testing.assert_close(model.net.entry(x), expected, rtol=1e-4, atol=1e-3)


def test_a_block_is_gated_by_its_own_result():
    block = Block(4)
    x = torch.randn(1, 4, 5, 5)
    y = block.conv3(F.silu(block.conv2(F.silu(block.conv1(x)))))
    torch.testing.assert_close(block(x), (y + x) * (y.sigmoid() - 0.5))


def test_published_weights(shared):
    """On the smallest image; the whole of Set5 gives 31.72 dB."""
    model = models.load(shared / "weights" / "peers" / "span_x4_ntire2026.pth")
    assert (model.arch.name, model.parameters) == ("span", 150688)
    assert (model.scale, model.config.blocks, model.config.width) == (4, 6, 28)
    benchmark = find(shared / "data" / "benchmarks" / "Set5")[0]
    low, high = benchmark.pair(benchmark.large[2], 4)
    with torch.inference_mode():
        out = model.net(torch.from_numpy(low.copy()).permute(2, 0, 1)[None].float() / 255)
    out = (out[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy().astype(np.uint8)
    assert psnr.of_values(*psnr.compared(out, high, 4, "y")) == pytest.approx(27.924, abs=0.01)
