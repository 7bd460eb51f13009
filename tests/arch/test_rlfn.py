"""RLFN: a small one of random weights through every step, and the published weights on an image of Set5."""

import numpy as np
import pytest
import torch

from sharpbit import model as models
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
    return models.build("rlfn", scale=2, blocks=4, width=8, inner=10, attention=4)


def test_eight_bits_a_training_step_two_passes_and_cost(small):
    x = torch.rand(2, 3, 16, 16)
    after = recorded.calibrate(recorded.insert_quantizers(small), [x])
    with torch.no_grad():
        before = small.net(x)
        assert 0 < float((after.net(x) - before).abs().mean() / before.std()) < 0.05
    learner = fake_quantize(small, placement("rlfn", 4, 4, net=small.net), "pams", [x])
    images = [np.random.default_rng(k).integers(0, 256, (48, 48, 3), np.uint8) for k in range(2)]
    how = Training(steps=1, batch=2, patch=8, warmup=0, ema=0.0, precision="float32", rate=1e-3)
    done = train(learner, Pairs.from_images(images, 2), how, quiet=True)
    assert not torch.equal(done.net.blocks[0].conv1.weight, learner.net.blocks[0].conv1.weight)
    plan = published("rlfn", small.config, "pams", 8, 4, refers=1)
    assert (plan.queries, plan.replaced, plan.parts) == (
        ("blocks.1", "blocks.2"),
        ("blocks.3",),
        ("conv1", "act", "conv3"),
    )
    layers = {layer.name: layer.macs for layer in bitops.count(small.net, (31, 31)).layers}
    assert layers["blocks.0.conv1"] == 31 * 31 * 9 * 80
    assert layers["blocks.0.attention.conv2"] == 15 * 15 * 9 * 16
    assert layers["blocks.0.attention.conv3"] == 3 * 3 * 9 * 16


def test_the_attention_takes_images_of_any_size(small):
    block = small.net.blocks[0]
    for size in ((1, 1), (14, 15), (40, 33)):
        x = torch.randn(1, 8, *size)
        y = block.attention(x)
        assert y.shape == x.shape
        assert bool((y.abs() <= x.abs()).all())


def test_published_weights(shared):
    """On the smallest image; the whole of Set5 gives 32.08 dB."""
    model = models.load(shared / "weights" / "peers" / "rlfn_x4_ntire2022.pth")
    assert (model.arch.name, model.parameters) == ("rlfn", 317218)
    assert (model.scale, model.config.blocks, model.config.width, model.config.inner) == (4, 4, 46, 48)
    benchmark = find(shared / "data" / "benchmarks" / "Set5")[0]
    low, high = benchmark.pair(benchmark.large[2], 4)
    with torch.inference_mode():
        out = model.net(torch.from_numpy(low.copy()).permute(2, 0, 1)[None].float() / 255)
    out = (out[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy().astype(np.uint8)
    assert psnr.of_values(*psnr.compared(out, high, 4, "y")) == pytest.approx(28.627, abs=0.01)
