"""Eight bits without loss for chains of 3x3 convolutions and ReLU: from float layers to an `IntegerChain`.

Four ideas, in the order in which they are applied; `evidence/lossless.py` prints what each of them buys.

1. A scale per channel. After a ReLU it is free: it is folded into the weights before and after.
2. The image is carried, not filtered. Such networks pass the image through all layers in three channels, and to
   round these again in every layer is nearly all that is lost. Here they hold the bytes themselves, copied exactly,
   and what the float network did to them on the way is left to the other weights.
3. Every layer is fitted by least squares to what the float layer gives, from the rounded inputs that it really gets;
   then all are tuned together to the result of the float network, with the activations rounded (straight-through
   estimator, Bengio et al., 2013) and in coordinates in which each layer's inputs are white.
4. Weights are rounded one after the other, each error made up by those that follow (OPTQ/GPTQ, Frantar et al., 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.errors import QuantizeError
from sharpbit.modelfile.integer_chain import MAX_CHANNELS, MAX_LAYERS, IntegerChain
from sharpbit.quant.lossless.fitting import fitted, ranges
from sharpbit.quant.lossless.rounding import rounded, run_layer
from sharpbit.quant.lossless.stage import LosslessSettings
from sharpbit.quant.lossless.tuning import tuned
from sharpbit.reparam.chain import Chain
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Phases

__all__ = ["LosslessSettings", "check_images", "quantize_chain", "run"]

FEW = 100  # images that least squares see


@torch.no_grad()
def quantize_chain(
    chain: Chain, images: Tensor, settings: LosslessSettings | None = None, *, progress: Phases | None = None
) -> IntegerChain:
    """The integer chain that does what `chain` does with images like these.

    Args:
        chain: convolutions of at most 3x3 and ReLU, without a skip (`sharpbit.reparam.chain.relu_chain`); the result is
            clipped to `[0, 1]`.
        images: `(N, 3, h, w)` uint8, LR images such as the network will get.
        settings: how much work is done.
        progress: called with a word, what is done of it, and how much there is.

    Raises:
        QuantizeError: a chain that eight bits cannot hold, or images that say nothing.
    """
    settings = settings or LosslessSettings()
    progress = progress or (lambda word, done, total: None)
    layers = _layers(chain)
    check_images(images)
    generator = torch.Generator().manual_seed(settings.seed)
    bytes_in = images.float()
    few = bytes_in[torch.randperm(len(bytes_in), generator=generator)[:FEW]]
    stages = fitted(layers, few, ranges(layers, bytes_in), settings, progress)
    if settings.steps:
        stages = tuned(stages, layers, bytes_in, settings, progress)
    return rounded(stages, few, chain.scale, settings, progress)


@torch.no_grad()
def run(chain: IntegerChain, x: Tensor) -> Tensor:
    """What `chain.run` gives before the pixel shuffle, in torch and quicker: `(N, 3, h, w)` bytes in float32."""
    for layer in chain.layers:
        x = run_layer(x, layer)
    return x


def check_images(images: Tensor) -> None:
    """Refuse what nothing can be calibrated on.

    Raises:
        QuantizeError: not `(N, 3, h, w)` bytes, or flat.
    """
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3 or not len(images):
        raise QuantizeError(f"calibration takes (N, 3, h, w) bytes, not {tuple(images.shape)} {images.dtype}")
    if float(images.float().std()) < 1:
        raise QuantizeError(
            "the calibration images are flat, and tell nothing of what the network will see; give photographs"
        )


def _layers(chain: Chain) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every layer of a chain with ReLU alone."""
    if chain.skip:
        raise QuantizeError("the chain adds the image at its end; write it as convolutions alone (relu_chain)")
    layers = checked_layers(chain)
    for number, stage in enumerate(chain.stages[:-1]):
        if bool(stage.slope.any()):
            raise QuantizeError(
                f"layer {number} of the chain is followed by something else than a ReLU; make it one (relu_chain)"
            )
    return layers


def checked_layers(chain: Chain) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every layer in float64, 1x1 widened to 3x3.

    Raises:
        QuantizeError: a layer that no integer chain holds.
    """
    if not 1 <= len(chain.stages) <= MAX_LAYERS:
        raise QuantizeError(f"the chain has {len(chain.stages)} layers; an integer chain has 1 to {MAX_LAYERS}")
    layers = []
    for number, stage in enumerate(chain.stages):
        weight, bias = stage.kernel.weight.detach().double().cpu(), stage.kernel.bias.detach().double().cpu()
        where = f"layer {number} of the chain"
        if weight.shape[-1] > 3:
            raise QuantizeError(f"{where} has a kernel of {weight.shape[-1]}x{weight.shape[-1]}; eight bits take 3x3")
        if max(weight.shape[:2]) > MAX_CHANNELS:
            raise QuantizeError(
                f"{where} has {weight.shape[1]} channels in and {weight.shape[0]} out; an integer chain has at most"
                f" {MAX_CHANNELS}"
            )
        if not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise QuantizeError(
                f"{where} has weights that are not numbers; the model is damaged, get or train it again"
            )
        layers.append((F.pad(weight, (1, 1, 1, 1)) if weight.shape[-1] == 1 else weight, bias))
    return layers


__getattr__ = old_names(__name__, {"Settings": "LosslessSettings"})
