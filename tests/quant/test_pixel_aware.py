"""Pixel-aware calibration of PTQ4SR."""

import math

import pytest
import torch
from torch.nn import functional as F

from quant_nets import build, images
from sharpbit.errors import ModelError, UsageError
from sharpbit.quant.core import METHODS, calibrate, insert_quantizers, quantizers
from sharpbit.quant.distill import attention_transfer
from sharpbit.quant.plan import Plan, Rule
from sharpbit.quant.ptq.pixel_aware import PixelAware, pixel_aware


def prepared(bits=4, method="ptq4sr"):
    teacher = build("residual")
    net = insert_quantizers(teacher, Plan((Rule("*", bits, bits),)), METHODS[method])
    calibrate(net, images(2))
    return net, teacher, torch.cat(images(2))


def bounds(net, weights):
    return [
        p.detach().clone() for _, q in quantizers(net) if (q.range.axis == 0) == weights for p in q.range.parameters()
    ]


def test_bounds_learn_and_nothing_else():
    net, teacher, x = prepared()
    plain = {name: value.clone() for name, value in net.state_dict().items() if ".range." not in name}
    acts, weights = bounds(net, False), bounds(net, True)
    losses = pixel_aware(net, teacher, x, PixelAware(40, weight=(1e-3, 1e-4)))
    assert len(losses) == 40
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    assert all(torch.equal(net.state_dict()[name], value) for name, value in plain.items())
    assert not all(torch.equal(*pair) for pair in zip(acts, bounds(net, False), strict=True))
    assert not all(torch.equal(*pair) for pair in zip(weights, bounds(net, True), strict=True))
    assert all(own.grad is None and own.requires_grad for own in net.parameters())


def test_activations_come_first_then_weights():
    net, teacher, x = prepared()
    weights, seen = bounds(net, True), []

    def look(done):
        seen.append((bounds(net, False), bounds(net, True)))

    pixel_aware(net, teacher, x, PixelAware(6, weight=(1e-3, 1e-3)), look)
    for _, kernels in seen[:3]:
        assert all(torch.equal(*pair) for pair in zip(kernels, weights, strict=True))
    for acts, _ in seen[3:]:
        assert all(torch.equal(*pair) for pair in zip(acts, seen[2][0], strict=True))
    assert not all(torch.equal(*pair) for pair in zip(seen[5][1], weights, strict=True))


def test_the_first_step_by_hand():
    """Adam's first step is the rate, times the sign of the gradient where that is far above its epsilon."""
    net, teacher, x = prepared()
    before = bounds(net, False)
    found = [q for _, q in quantizers(net) if q.range.axis != 0]
    loss = F.l1_loss(net(x[:2]), teacher(x[:2]).detach())
    params = [p for q in found for p in q.range.parameters()]
    numbers = []
    handles = [q.register_forward_pre_hook(lambda part, args: numbers.append((part, args[0].numel()))) for q in found]
    net(x[:2])
    for handle in handles:
        handle.remove()
    size = dict(numbers)
    grads = torch.autograd.grad(loss, params)
    scaled = [
        g / math.sqrt(size[q] * (2 ** (q.bits - 1) - 1))
        for q, g in zip([q for q in found for _ in q.range.parameters()], grads, strict=True)
    ]
    pixel_aware(net, teacher, x, PixelAware(1))
    for old, new, grad in zip(before, bounds(net, False), scaled, strict=True):
        torch.testing.assert_close(new, old - 5e-3 * grad / (grad.abs() + 1e-8), rtol=0, atol=2e-6)


def test_features_pull_too():
    """The distance of features counts five times, and has a gradient: with it they come nearer than without."""

    def after(features):
        net, teacher, x = prepared(3)
        pixel_aware(net, teacher, x, PixelAware(60, features=features, share=500.0))
        with torch.no_grad():
            pair = [_feature(each, x) for each in (net, teacher)]
        return float(attention_transfer(*pair))

    assert after(("blocks.1.conv2",)) < after(())


def _feature(net, x):
    seen = []
    handle = net.get_submodule("blocks.1.conv2").register_forward_hook(lambda part, args, out: seen.append(out))
    net(x)
    handle.remove()
    return seen[0]


def test_what_cannot_be():
    net, teacher, x = prepared()
    with pytest.raises(UsageError, match="not one image"):
        pixel_aware(net, teacher, x[:0], PixelAware(2))
    with pytest.raises(UsageError, match="names no module"):
        pixel_aware(net, teacher, x, PixelAware(2, features=("nothing.*",)))
    with pytest.raises(UsageError, match="refining is for quantized networks with clipping ranges"):
        pixel_aware(teacher, teacher, x, PixelAware(2))
    with pytest.raises(ModelError, match="the loss is nan"):
        pixel_aware(net, teacher, x * float("nan"), PixelAware(2))
