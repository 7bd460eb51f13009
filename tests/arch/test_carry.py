"""Carry keeps constant images constant, in float and in integers."""

import numpy as np
import pytest
import torch

from sharpbit import model as models
from sharpbit import zoo
from sharpbit.arch.integer import chain_of
from sharpbit.data.pairs import Pairs
from sharpbit.errors import UsageError
from sharpbit.measure.flatness import flatness
from sharpbit.quant.lossless import LosslessSettings, quantize_chain
from sharpbit.reparam.chain import relu_chain
from sharpbit.training import Training, train
from sharpbit.verbs.carry import carry


@pytest.fixture
def net():
    torch.manual_seed(3)
    net = models.build("carry", scale=2, blocks=2, width=12).net
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        net.project()
        net.settle()
    return net


def upscaled(net, image):
    with torch.no_grad():
        made = net(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255)
    return (made[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def test_constant_images_stay_constant(net):
    assert flatness(lambda image: upscaled(net, image), levels=5).inside == 0


def test_a_form_without_joined_maps_is_the_same(net):
    x = torch.rand(2, 3, 11, 14)
    with torch.no_grad():
        torch.testing.assert_close(net.train()(x), net.eval()(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [0, 20])
def test_so_do_integers(net, steps):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32)).astype(np.uint8))
    images[:4] = images[:4, :, ::8, ::8].repeat_interleave(8, 2).repeat_interleave(8, 3)
    chain = quantize_chain(relu_chain(net), images, LosslessSettings(steps=steps, samples=3000))
    error = flatness(chain.run, levels=3)
    assert error.inside == 0
    apart = [chain.run(x).astype(float) - upscaled(net, x) for x in images.permute(0, 2, 3, 1).numpy()[:3]]
    assert np.abs(apart).mean() < 3


def test_weights_that_tint_are_left_as_they_are(net):
    """A chain that does not keep constants is quantized as any other."""
    with torch.no_grad():
        net.interpolation.weight.mul_(1.02)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32)).astype(np.uint8))
    chain = quantize_chain(relu_chain(net), images, LosslessSettings(steps=0, samples=2000))
    made = chain.run(np.full((32, 32, 3), 100, np.uint8))
    assert 101 <= made[32, 32].mean() <= 103


def test_training_keeps_to_the_sums():
    images = torch.randint(0, 256, (40 * 60, 3), dtype=torch.uint8)
    pairs = Pairs(2, images, images.repeat_interleave(4, 0), torch.tensor([[40, 60]]))
    before = models.build("carry", scale=2, blocks=1, width=9)
    after = train(before, pairs, Training(steps=5, batch=2, patch=16, rate=0.01), quiet=True)
    assert not torch.equal(after.net.first.weight, before.net.first.weight)
    assert flatness(lambda image: upscaled(after.net, image), levels=3).inside == 0


def test_an_integer_chain_becomes_a_network_that_keeps_constants():
    model = models.load(zoo.path_of("x2-clean-balanced"))
    made = carry(model)
    assert made.arch.name == "carry"
    assert made.history[-1].table() == {"verb": "carry", "from": "integer"}
    image = np.random.default_rng(0).integers(60, 180, (6, 6, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    apart = upscaled(made.net, image).astype(float) - chain_of(model.net).run(image)
    assert np.abs(apart).mean() < 2
    with pytest.raises(UsageError, match="quantize it first"):
        carry(made)
