"""Which channels of a chain the rounding of their values costs most: those that pass through many layers come first."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import ranges

PARTS = 4  # images at once

Layers = list[tuple[Tensor, Tensor, Tensor]]  # weight, bias and slope of each, in float64


def costliest_first(layers: Layers, images: Tensor) -> Layers:
    """The same chain with its hidden channels in another order, which is one for all layers.

    What rounding a channel to a byte costs is the square of its step times the mean square of the gradient of the
    result, estimated from random signs (Hutchinson, 1989).

    Args:
        layers: A chain.
        images: `(N, 3, h, w)` bytes in a float type.
    """
    if len(layers) < 3:
        return layers
    narrow = min(len(bias) for _, bias, _ in layers[:-1])
    cost = torch.stack([part[:narrow] for part in _costs(layers, images)]).sum(0)
    found = []
    before = torch.arange(layers[0][0].shape[1])
    for weight, bias, slope in layers[:-1]:
        order = torch.cat([cost.argsort(descending=True), torch.arange(narrow, len(bias))])
        found.append((weight[order][:, before], bias[order], slope[order]))
        before = order
    weight, bias, slope = layers[-1]
    return [*found, (weight[:, before], bias, slope)]


def _costs(layers: Layers, images: Tensor) -> list[Tensor]:
    """What the rounding of each channel of the hidden layers costs."""
    generator = torch.Generator().manual_seed(0)
    squares = [torch.zeros(len(bias)) for _, bias, _ in layers[:-1]]
    steps = [torch.zeros(len(bias), dtype=torch.float64) for _, bias, _ in layers[:-1]]
    for part in torch.split(images, PARTS):
        hidden: list[Tensor] = []
        with torch.enable_grad():
            y = (part / TOP).requires_grad_()
            for number, (weight, bias, slope) in enumerate(layers):
                y = F.conv2d(y, weight.float(), bias.float(), padding=1)
                if number < len(layers) - 1:
                    y = F.prelu(y, slope.float())
                    hidden.append(y)
            signs = torch.randint(0, 2, y.shape, generator=generator) * 2.0 - 1
            gradients = torch.autograd.grad((y * signs).sum(), hidden)
        for number, (values, gradient) in enumerate(zip(hidden, gradients, strict=True)):
            squares[number] += gradient.square().sum((0, 2, 3))
            steps[number] = torch.maximum(steps[number], ranges(values.detach()).step)
    return [square.double() * step.square() for square, step in zip(squares, steps, strict=True)]
