"""Lossless eight bits: what the method promises of any chain."""

import numpy as np
import pytest
import torch
from torch import nn

from sharpbit import model as models
from sharpbit.arch.integer import chain_of, of_chain
from sharpbit.arch.plain import Config, Plain
from sharpbit.errors import QuantizeError, UsageError
from sharpbit.quant.lossless import LosslessSettings, quantize_chain, run
from sharpbit.reparam.chain import relu_chain
from sharpbit.verbs.quantize import quantize, with_receipt

QUICK = LosslessSettings(steps=30, samples=3000)


def photos(count=12, side=40, seed=0):
    """Smooth noise with edges: `(N, 3, side, side)` bytes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 3, side // 8, side // 8, generator=generator)
    x = nn.functional.interpolate(x, (side, side), mode="bicubic") + 0.1 * torch.rand(
        count, 1, side, side, generator=generator
    )
    return (x * 255).clamp(0, 255).to(torch.uint8)


def etds(scale=2, **sizes):
    torch.manual_seed(1)
    model = models.build("etds", scale=scale, **{"blocks": 3, "width": 12, **sizes})
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    return model


def apart(net, integers, images):
    with torch.no_grad():
        real = torch.round(net(images.float() / 255).clamp(0, 1) * 255)
        got = nn.functional.pixel_shuffle(run(integers, images.float()), integers.scale)
    return float((real - got).square().mean())


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_integers_follow_the_float_network(scale):
    model = etds(scale)
    integers = quantize_chain(relu_chain(model.net), photos(), QUICK)
    assert apart(model.net, integers, photos(4, seed=1)) < 2


def test_each_idea_lessens_the_error(shared):
    """On a trained network without conditions on its weights: those would cost what the last idea gains."""
    model = models.reparameterize(models.load(shared / "weights" / "etds" / "ETDS" / "ETDS_M6C32_x2.pth"))
    layers = relu_chain(model.net)
    errors = [
        apart(model.net, quantize_chain(layers, photos(), settings), photos(8, seed=1))
        for settings in (
            LosslessSettings(carry=False, fit=False, compensate=False, steps=0),
            LosslessSettings(carry=False, steps=0, samples=6000),
            LosslessSettings(steps=40, samples=6000),
        )
    ]
    assert errors[0] > errors[1] > errors[2], errors


def test_the_image_is_carried_exactly():
    """A layer that only passes the image on holds a copy of its bytes."""
    integers = quantize_chain(relu_chain(etds(2).net), photos(), QUICK)
    for layer in integers.layers[:-1]:
        rows = [row for row in range(layer.outputs) if np.abs(layer.weight[row].astype(int)).sum() == 1]
        assert len(rows) == 3
        assert all(layer.multiplier[row] == 1 and layer.bias[row] == 0 for row in rows)


def test_torch_and_numpy_agree_to_the_last_bit():
    integers = quantize_chain(relu_chain(etds(3).net), photos(), QUICK)
    for height, width in ((1, 1), (1, 9), (13, 8), (40, 33)):
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        x = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
        expected = integers.run(image)
        got = nn.functional.pixel_shuffle(run(integers, x.float()), 3)[0].permute(1, 2, 0)
        assert np.array_equal(got.numpy(), expected)
        with torch.no_grad():
            net = torch.round(of_chain(integers)(x.float() / 255) * 255)[0].permute(1, 2, 0)
        assert np.array_equal(net.numpy(), expected)


def test_sums_beyond_float32_are_exact():
    torch.manual_seed(0)
    net = of_chain(quantize_chain(relu_chain(etds(2).net), photos(), QUICK))
    with torch.no_grad():
        for layer in net.layers:
            layer.weight.copy_(torch.randint(-127, 128, layer.weight.shape))
            layer.bias.copy_(torch.randint(2**28, 2**29, layer.bias.shape))
            layer.multiplier.fill_(1e-6 * 0.333)
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    x = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float()
    with torch.no_grad():
        got = torch.round(net(x / 255) * 255)[0].permute(1, 2, 0).numpy()
    expected = chain_of(net).run(image)
    assert 0 < expected.mean() < 255
    assert np.array_equal(got, expected)


def test_the_same_images_give_the_same_integers():
    layers = relu_chain(etds(2).net)
    assert quantize_chain(layers, photos(), QUICK).payload() == quantize_chain(layers, photos(), QUICK).payload()


@pytest.mark.parametrize("name", ["abpn", "ecbsr", "plain"])
def test_other_chains(name):
    """With PReLU, with a skip, and where no channel carries the image."""
    torch.manual_seed(0)
    model = models.build(name, scale=2, blocks=2, width=12)
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.add_(0.03 * torch.randn_like(weight))
    images = photos()
    with torch.no_grad():
        spread = float((model.net(images.float() / 255).clamp(0, 1) * 255).std())
    integers = quantize_chain(relu_chain(model.net), images, QUICK)
    assert apart(model.net, integers, photos(4, seed=1)) < max(1.5, 0.02 * spread) ** 2


def test_a_dead_channel_and_one_layer():
    torch.manual_seed(0)
    net = Plain(Config(2, blocks=1, width=8))
    with torch.no_grad():
        net.layers[0].weight[3] = 0
        net.layers[0].bias[3] = -1
    assert apart(net, quantize_chain(relu_chain(net), photos(), QUICK), photos(4, seed=1)) < 4
    single = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    integers = quantize_chain(relu_chain(single), photos(), QUICK)
    assert len(integers.layers) == 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda layer: layer.weight.fill_(float("nan")), "not numbers"),
        (lambda layer: layer.bias.fill_(float("inf")), "not numbers"),
    ],
)
def test_damaged_weights(change, match):
    net = Plain(Config(2, blocks=1, width=8))
    layers = relu_chain(net)
    change(layers.stages[1].kernel)
    with pytest.raises(QuantizeError, match=match):
        quantize_chain(layers, photos(), QUICK)


def test_sentences_about_images_and_networks():
    model = etds(2)
    layers = relu_chain(model.net)
    with pytest.raises(QuantizeError, match="flat"):
        quantize_chain(layers, torch.full((4, 3, 16, 16), 77, dtype=torch.uint8), QUICK)
    with pytest.raises(QuantizeError, match="bytes"):
        quantize_chain(layers, torch.rand(4, 3, 16, 16), QUICK)
    with pytest.raises(QuantizeError, match="at most 64"):
        quantize_chain(relu_chain(Plain(Config(2, blocks=1, width=80))), photos(), QUICK)
    with pytest.raises(QuantizeError, match="5x5"):
        wide = nn.Sequential(nn.Conv2d(3, 12, 5, padding=2), nn.PixelShuffle(2))
        quantize_chain(relu_chain(wide), photos(), QUICK)
    images = [np.random.default_rng(0).integers(0, 256, (130, 140, 3), np.uint8)]
    with pytest.raises(QuantizeError, match=r"hitsr does not become integers .* --method tuned takes any network"):
        quantize(models.build("hitsr", scale=2, width=24, groups=1, windows=(4, 8), heads=2), images)
    with pytest.raises(QuantizeError, match="espcn is no chain of convolutions and ReLU"):
        quantize(models.build("espcn", scale=2), images, method="lossless")
    with pytest.raises(UsageError, match="8 bits, not 4"):
        quantize(model, images, bits=4)
    with pytest.raises(UsageError, match="lossless"):
        quantize(model, images, method="magic")
    with pytest.raises(UsageError, match="64 pixels"):
        quantize(model, [image[:60] for image in images])


def test_the_verb_and_its_receipt(monkeypatch):
    monkeypatch.setattr(
        "sharpbit.verbs.integer_methods.quantize_chain", lambda *given, **more: quantize_chain(*given, QUICK)
    )
    images = [image.permute(1, 2, 0).numpy() for image in photos(12, 160)]
    model = etds(2)
    after, receipt = with_receipt(model, images)
    assert (after.arch.name, after.scale) == ("integer", 2)
    assert after.history[-1].verb == "quantize"
    assert after.header().precision == "int8"
    assert receipt.held_out > 0
    assert receipt.psnr > 45
    assert receipt.bytes[1] < receipt.bytes[0] / 2
    with pytest.raises(QuantizeError, match="already"):
        quantize(after, images)


def test_a_network_of_one_layer():
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2)).eval()
    images = (torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    made = quantize_chain(relu_chain(net), images)
    assert len(made.layers) == 1
