"""Eight bits for chains with PReLU, LeakyReLU or no activation, and with the image added at the end.

Such networks have 64 channels and need all of them, so nothing is carried without loss as in `sharpbit.quant.lossless`.
What is done instead, in this order:

1. A scale and a zero point for each channel. After a PReLU both are free: the scale is positive and goes into the
   weights before and after, the zero point into a bias.
2. Weights are rounded one after the other, each error made up by those that follow (GPTQ, Frantar et al., 2023), on the
   rounded inputs that a layer really gets; the bias makes up for the mean error that came before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.modelfile.integer_chain import MAX_BIAS, IntegerChain, Slopes
from sharpbit.modelfile.integer_chain import Layer as IntegerLayer
from sharpbit.quant.lossless import check_images, checked_layers
from sharpbit.quant.lossless.least_squares import places_of, windows
from sharpbit.quant.lossless.rounding import compensated, steps_of
from sharpbit.quant.lossless.stage import TOP
from sharpbit.reparam.chain import Chain
from sharpbit.system.progress import Phases

LEAST = 1e-3  # the smallest range of a channel, as a share of the largest one


@dataclass(frozen=True)
class SlopedSettings:
    """How much work is done.

    Attributes:
        images: Largest number of images that layers are calibrated on.
        samples: Places in these images that rounding looks at.
        seed: Seed of everything that is drawn at random.
    """

    images: int = 72
    samples: int = 20000
    seed: int = 0


@dataclass(frozen=True)
class Range:
    """How bytes stand for the values of each channel of a tensor: `value = (byte - zero) * step`.

    Attributes:
        step: `(C,)` float64.
        zero: `(C,)` whole numbers from 0 to 255.
    """

    step: Tensor
    zero: Tensor


@torch.no_grad()
def quantize_sloped(
    chain: Chain, images: Tensor, settings: SlopedSettings | None = None, *, progress: Phases | None = None
) -> IntegerChain:
    """The integer chain that does what `chain` does with images like these.

    Args:
        chain: Convolutions of at most 3x3 with slopes of any sign; the image may be added before the pixel shuffle.
        images: `(N, 3, h, w)` uint8, LR images such as the network will get.
        settings: How much work is done.
        progress: Called with a word, what is done of it, and how much there is.

    Raises:
        QuantizeError: A chain that eight bits cannot hold, or images that say nothing.
    """
    settings = settings or SlopedSettings()
    progress = progress or (lambda word, done, total: None)
    layers = checked_layers(chain)
    check_images(images)
    generator = torch.Generator().manual_seed(settings.seed)
    few = images[torch.randperm(len(images), generator=generator)[: settings.images]].float()
    before = Range(torch.full((3,), 1 / TOP, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    real, whole = few / TOP, few  # what the float network has, and the bytes less their zero points
    done: list[IntegerLayer] = []
    for number, ((weight, bias), stage) in enumerate(zip(layers, chain.stages, strict=True)):
        last = number == len(layers) - 1
        slope = stage.slope.double() if not last else torch.ones(len(bias), dtype=torch.float64)
        sums = F.conv2d(real, weight.float(), bias.float(), padding=1)
        real = F.prelu(sums, slope.float())
        after = _end(len(bias)) if last else ranges(real)
        kernel = torch.cat([(weight * before.step[:, None, None]).flatten(1), bias[:, None] / TOP], 1)
        kernel = kernel / after.step[:, None]
        places = places_of(whole, settings.samples, generator)
        inputs = windows(whole, places)
        missing = (sums[places[0], :, places[1], places[2]].double() / after.step - inputs @ kernel.T).mean(0)
        kernel[:, -1] += missing / TOP
        step = steps_of(kernel)
        done.append(_layer(compensated(kernel, step, inputs.T @ inputs / len(inputs)), step, slope, before, after))
        whole, before = run_layer(whole, done[-1], before), after
        progress("rounding", number + 1, len(layers))
    return IntegerChain(tuple(done), chain.scale, chain.skip)


def ranges(values: Tensor) -> Range:
    """The bytes of the values `(N, C, h, w)` of each channel, from its smallest to its largest one, and zero."""
    rows = values.transpose(0, 1).flatten(1).double()
    low, high = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
    step = ((high - low) / TOP).clamp(min=max(float((high - low).max()) / TOP * LEAST, 1e-9))
    return Range(step, (-low / step).round().clamp(0, TOP))


def run_layer(x: Tensor, layer: IntegerLayer, before: Range) -> Tensor:
    """What an integer layer makes of bytes less the zero points `before`: its bytes less its own, in float32."""
    assert layer.slopes is not None
    weight, bias, multiplier, negative, zero = (
        torch.from_numpy(part.copy())
        for part in (layer.weight, layer.bias, layer.multiplier, layer.slopes.negative, layer.slopes.zero)
    )
    bias = bias.double() + weight.double().sum((2, 3)) @ before.zero
    total = F.conv2d(x, weight.float(), bias.float(), padding=1)
    product = torch.where(total < 0, total * negative[:, None, None], total * multiplier[:, None, None])
    shift = zero.float()[:, None, None]
    return product.round_().add_(shift).clamp_(0, TOP).sub_(shift)


def _end(outputs: int) -> Range:
    """The bytes of the result."""
    return Range(torch.full((outputs,), 1 / TOP, dtype=torch.float64), torch.zeros(outputs, dtype=torch.float64))


def _layer(whole: Tensor, step: Tensor, slope: Tensor, before: Range, after: Range) -> IntegerLayer:
    """The layer of whole weights, whose bias makes up for the zero points of its inputs."""
    weight = whole[:, :-1].reshape(len(whole), -1, 3, 3)
    bias = (whole[:, -1] * TOP - weight.sum((2, 3)) @ before.zero).round().clamp_(-MAX_BIAS, MAX_BIAS)
    return IntegerLayer(
        weight.to(torch.int8).numpy(),
        bias.to(torch.int32).numpy(),
        step.float().numpy(),
        Slopes((step * slope).float().numpy(), after.zero.to(torch.uint8).numpy()),
    )
