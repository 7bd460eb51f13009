"""Eight bits for chains with PReLU, LeakyReLU or no activation, and with the image added at the end.

Such networks have 64 channels and need all of them, so nothing is carried without loss as in `sharpbit.quant.lossless`.
What is done instead, in this order:

1. A scale and a zero point for each channel. After a PReLU both are free: the scale is positive and goes into the
   weights before and after, the zero point into a bias.
2. Channels that trained networks pass on from layer to layer, nearly unchanged, are kept in 16 bits there
   (`sharpbit.modelfile.integer_layer.Wide`): as many as the gate needs. The weight by which they are passed on is no
   byte any more, so the other weights of these channels, which are small beside it, have finer steps, too.
3. Weights are rounded one after the other, each error made up by those that follow (GPTQ, Frantar et al., 2023), on the
   rounded inputs that a layer really gets; the bias makes up for the mean error that came before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.modelfile.integer_chain import IntegerChain
from sharpbit.modelfile.integer_chain import Layer as IntegerLayer
from sharpbit.quant.lossless import check_images, checked_layers
from sharpbit.quant.lossless.least_squares import places_of
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import Bytes, of_result, ranges, rounded, run_layer
from sharpbit.quant.sloped.order import Layers, costliest_first
from sharpbit.reparam.chain import Chain
from sharpbit.system.progress import Phases

GATE = 45.0  # dB from float; what is nearer cannot be told apart
FAR = 10.0  # dB below the gate, where one image may have lost a texture
BLOCK = 16  # channels that engines compute together
HEADROOM = 0.5  # dB more on the few images that are kept apart
APART = 8  # every eighth image is kept to measure on
LOOKED_AT = 12  # images that tell which channels are passed on


@dataclass(frozen=True)
class SlopedSettings:
    """How much work is done.

    Attributes:
        images: Largest number of images that layers are calibrated on.
        samples: Places in these images that rounding looks at.
        seed: Seed of everything that is drawn at random.
        gate: Mean dB from float for which channels are kept in 16 bits.
        wide: Number of channels that are; None: the fewest that reach the gate, or all.
    """

    images: int = 72
    samples: int = 20000
    seed: int = 0
    gate: float = GATE
    wide: int | None = None


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
    kernels = checked_layers(chain)
    check_images(images)
    generator = torch.Generator().manual_seed(settings.seed)
    few = images[torch.randperm(len(images), generator=generator)[: settings.images]].float()
    apart = torch.arange(len(few)) % APART == APART - 1
    kept, few = (few[apart], few[~apart]) if bool(apart.any()) else (few, few)
    slopes = [stage.slope.double() for stage in chain.stages[:-1]] + [torch.ones(len(kernels[-1][1])).double()]
    layers = [(*kernel, slope) for kernel, slope in zip(kernels, slopes, strict=True)]
    layers = costliest_first(layers, few[:LOOKED_AT])
    found: IntegerChain | None = None
    for count in _counts(layers, settings):
        word = f"rounding with {count} wide channels" if count else "rounding"
        parts = _rounded(layers, few, count, settings, partial(progress, word))
        found = IntegerChain(parts, chain.scale, chain.skip)
        if settings.wide is None and _apart(layers, found, kept) >= settings.gate + HEADROOM:
            break
    assert found is not None
    return found


def _counts(layers: Layers, settings: SlopedSettings) -> list[int]:
    """Numbers of wide channels that are tried."""
    most = min((len(bias) for _, bias, _ in layers[:-1]), default=0) if len(layers) > 2 else 0
    if settings.wide is not None:
        return [min(settings.wide, most)]
    return [*range(0, most, BLOCK), most][1 if most else 0 :]


def _rounded(
    layers: Layers, few: Tensor, count: int, settings: SlopedSettings, count_up: partial[object]
) -> tuple[IntegerLayer, ...]:
    """The layers in integers."""
    generator = torch.Generator().manual_seed(settings.seed)
    before = of_result(3)  # the image
    real, x = few / TOP, Bytes.of_image(few)  # what the float network has, and the integers
    done: list[IntegerLayer] = []
    for number, (weight, bias, slope) in enumerate(layers):
        last = number == len(layers) - 1
        wide = None if not count else count if number < len(layers) - 2 else 0
        sums = F.conv2d(real, weight.float(), bias.float(), padding=1)
        real = F.prelu(sums, slope.float())
        after = of_result(len(bias)) if last else ranges(real)
        places = places_of(few, settings.samples, generator)
        done.append(rounded(weight, bias, slope, sums, x, places, before, after, wide))
        x, before = run_layer(x, done[-1], before.zero), after
        count_up(number + 1, len(layers))
    return tuple(done)


def _apart(layers: Layers, chain: IntegerChain, images: Tensor) -> float:
    """How far the integers are from the float layers on images, in dB, the mean of all images."""
    added = images.repeat_interleave(chain.scale**2, 1) if chain.adds_image else torch.zeros(1)
    real, x, before = images / TOP, Bytes.of_image(images), torch.zeros(3, dtype=torch.float64)
    for (weight, bias, slope), layer in zip(layers, chain.layers, strict=True):
        assert layer.slopes is not None
        last = layer is chain.layers[-1]
        real = F.prelu(F.conv2d(real, weight.float(), bias.float(), padding=1), slope.float())
        x = run_layer(x, layer, before, added if last else None)
        before = torch.from_numpy(layer.slopes.zero.copy()).double()
    wanted = (real * TOP + added).round().clamp(0, TOP)
    squares = ((wanted - x.level) / TOP).square().flatten(1).mean(1)
    return float(-10 * torch.log10(squares.clamp(min=1e-10)).mean())
