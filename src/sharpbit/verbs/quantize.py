"""Quantizing a float model by one of the post-training methods, with a receipt that reports what it cost."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sharpbit.arch import ARCHITECTURES
from sharpbit.arch.integer import Integer, of_chain
from sharpbit.cost import bitops
from sharpbit.cost.operands import products
from sharpbit.data import calibration
from sharpbit.data.varied import varied
from sharpbit.errors import ModelError, QuantizeError, ReparameterizeError, UsageError
from sharpbit.model import Model, reparameterize
from sharpbit.modelfile.history import Verb
from sharpbit.modelfile.integer_chain import MAX_CHANNELS
from sharpbit.quant import core, recorded
from sharpbit.quant.grid import WIDEST
from sharpbit.quant.history import QuantizeLossless, QuantizeSloped
from sharpbit.quant.layers import QuantConv2d, QuantLinear
from sharpbit.quant.lossless import check_images, quantize_chain
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq import bit_allocation, sensitivity
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.last_layer import LastLayerSettings
from sharpbit.quant.ptq.pixel_aware import PixelAware
from sharpbit.quant.sloped import quantize_sloped
from sharpbit.reparam.chain import chain, relu_chain
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Phases, counted
from sharpbit.verbs.receipt import QuantizationReceipt, differences, stored

OTHERS = "--method tuned takes any network"
AUTO, SLOPED = "auto", "sloped"
SLOPED_CROPS = 80
BATCH = 8  # LR images that are calibrated on at once
INTEGER = 8  # bits that engines multiply in integers, if the grids of weights are symmetric
RATES = {
    4: (5e-4, 4e-4),
    6: (2e-3, 1e-4),
    8: (2e-3, 0.0),
}  # learning rates of clipping ranges and weights that learn together, by the largest number of bits
HELD_OUT = 10  # every tenth crop is kept to measure on


@dataclass(frozen=True)
class QuantizationSettings:
    """What a post-training method is to do.

    Attributes:
        bits: bits of weights and activations; several, such as `(8, 6, 4)`, are the choice of mixed precision.
        refine: steps in which clipping ranges (and weights, if the method is `tuned`) learn from the float network.
        keep: globs over the names of layers that stay in float.
        budget: what mixed precision may cost: mean bits such as 5, or a share such as `40%` of the cost in 8 bits
            (`sharpbit.quant.ptq.bit_allocation`).
    """

    bits: int | tuple[int, ...] = 8
    refine: int = 0
    keep: tuple[str, ...] = ()
    budget: float | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int):
            widths = tuple(dict.fromkeys(self.bits))
            object.__setattr__(self, "bits", widths if len(widths) != 1 else widths[0])
        for bits in self.widths:
            if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= WIDEST:
                raise UsageError(f"layers are rounded to 2 to {WIDEST} bits, not {bits!r}; --keep leaves some in float")
        if not self.widths:
            raise UsageError("no bits are given; give a width such as 8, or several to choose from")
        if len(self.widths) > 1 and self.budget is None:
            raise UsageError(
                f"the bits {', '.join(map(str, self.widths))} are a choice for each layer; say with --budget what all"
                " may cost, such as 5 (a mean of bits) or 40% (of the cost in 8 bits)"
            )
        if len(self.widths) == 1 and self.budget is not None:
            raise UsageError("a budget chooses between widths; give several, such as --bits 8,6,4")

    @property
    def widths(self) -> tuple[int, ...]:
        """The bits, or those to choose from."""
        return (self.bits,) if isinstance(self.bits, int) else self.bits


class PostTrainingMethod(Protocol):
    """Makes a quantized model of a float one."""

    def __call__(self, model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
        """The quantized model, which may still have to be frozen; `crops` `(N, 3, h, w)` uint8 are LR images."""


def lossless(model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
    """A chain of convolutions and ReLU in 8-bit integers. See `sharpbit.quant.lossless`.

    Raises:
        UsageError: not 8 bits, or something to refine or to keep.
        QuantizeError: the network is no such chain.
    """
    _check_chain(settings, "lossless")
    try:
        layers = relu_chain(model.net)
    except ReparameterizeError as error:
        raise QuantizeError(
            f"{model.arch.name} is no chain of convolutions and ReLU, which the method lossless takes: {error};"
            f" {OTHERS}"
        ) from None
    try:
        net = of_chain(quantize_chain(layers, crops, progress=progress))
    except QuantizeError as error:
        raise QuantizeError(f"{error}; {OTHERS}") from None
    return integer_model(model, net, QuantizeLossless(model.arch.name, bits=8, crops=len(crops)))


def sloped(model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
    """A chain of convolutions and PReLU, perhaps with the image added, in 8-bit integers. See `sharpbit.quant.sloped`.

    Raises:
        UsageError: not 8 bits, or something to refine or to keep.
        QuantizeError: the network is no such chain.
    """
    _check_chain(settings, "sloped")
    try:
        net = of_chain(quantize_sloped(chain(model.net, "plain"), crops, progress=progress))
    except ReparameterizeError as error:
        raise QuantizeError(
            f"{model.arch.name} is no chain of convolutions and PReLU, which the method sloped takes: {error}; {OTHERS}"
        ) from None
    except QuantizeError as error:
        raise QuantizeError(f"{error}; {OTHERS}") from None
    return integer_model(model, net, QuantizeSloped(model.arch.name, bits=8, crops=len(crops)))


def suited(model: Model) -> str:
    """The name of the method that `auto` is for a model: `lossless` where it takes the network, or `sloped`."""
    try:
        wide = max(len(stage.kernel.bias) for stage in relu_chain(model.net).stages)
    except ReparameterizeError:
        return "lossless"  # which says what is wrong
    return "lossless" if wide <= MAX_CHANNELS else SLOPED


def _check_chain(settings: QuantizationSettings, method: str) -> None:
    if settings.bits != 8:
        asked = ", ".join(map(str, settings.widths))
        raise UsageError(f"the method {method} makes 8 bits, not {asked}; leave --bits out, or take --method tuned")
    if settings.refine or settings.keep:
        raise UsageError(
            f"the method {method} takes the whole network and refines nothing; leave --refine and --keep out"
        )


def integer_model(model: Model, net: Integer, entry: Verb) -> Model:
    """The model `net`, an integer chain that was made of `model`; `entry` says how."""
    about = {**model.about, "precision": "int8"}
    arch, history = ARCHITECTURES["integer"], (*model.history, entry)
    return replace(model, arch=arch, config=net.config, net=net, history=history, about=about)


def general(name: str, *, tuned: bool = False, pixels: bool = False) -> PostTrainingMethod:
    """A method of `sharpbit.quant.method`, for any network: clipping ranges are found, and learn where asked for.

    Args:
        name: name of the method.
        tuned: equalize channels before, round weights with error compensation and reconstruct the last layer after;
            refining then trains the weights too.
        pixels: refining is the pixel-aware calibration of PTQ4SR, not the boundary refinement of CRAFT.
    """

    def quantized(model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
        check_images(crops)
        if not all(bool(torch.isfinite(weight).all()) for weight in model.net.parameters()):
            raise ModelError(f"the weights of this {model.arch.name} are not numbers everywhere; the file is damaged")
        images = crops.float() / 255
        after = recorded.insert_quantizers(model, _plan(model, name, settings, images, progress), name)
        if tuned:
            count = counted(progress, "equalizing", len(images) + _layers(after.net))
            after = recorded.equalize(after, images, count)
        parts = torch.split(images, BATCH)
        count = counted(progress, "calibrating", len(parts) + sum(1 for _ in core.quantizers(after.net)))
        after = recorded.calibrate(after, parts, count)
        if tuned:
            after = recorded.compensate_rounding(
                after, _spread(images, BATCH), counted(progress, "rounding", _layers(after.net))
            )
        if settings.refine and pixels:
            count = counted(progress, "refining", settings.refine)
            after = recorded.pixel_aware(after, model.net, images, PixelAware(settings.refine), count)
        elif settings.refine:
            how = joint_refinement(settings.refine, min(settings.widths)) if tuned else Refinement(settings.refine)
            after = recorded.refine(after, model.net, images, how, counted(progress, "refining", settings.refine))
        if tuned:
            last = LastLayerSettings()
            count = counted(progress, "reconstructing the last layer", last.steps)
            after = recorded.reconstruct_last_layer(after, model.net, images, last, count)
        return after

    return quantized


def joint_refinement(steps: int, bits: int) -> Refinement:
    """The settings with which clipping ranges and weights of `bits` bits learn together, in so many steps.

    The more bits, the less do weights have to learn: at the learning rates that serve 4 bits a network in 8 bits gets
    worse, where clipping ranges that learn alone make it better.
    """
    rate, weights = next((rates for widest, rates in RATES.items() if bits <= widest), RATES[INTEGER])
    return Refinement(steps, rate=rate, weights=weights, fall=True)


def _plan(model: Model, name: str, settings: QuantizationSettings, images: Tensor, progress: Phases | None) -> Plan:
    """What is rounded, and to how many bits; layer by layer where there is a choice."""
    method = core.METHODS[name]
    plans = {
        bits: Plan.after_training(model.arch.rounding, bits, method.maps, symmetric=bits == INTEGER, keep=settings.keep)
        for bits in settings.widths
    }
    if settings.budget is None:
        return plans[settings.widths[0]]
    net = core.insert_quantizers(model.net, plans[max(plans)], method)
    parts = bit_allocation.units(net, products(net))
    count = counted(progress, "allocating bits", len(parts) * len(plans))
    return bit_allocation.mixed_precision(
        model.net, plans, method, parts, settings.budget, _spread(images, BATCH), count
    )


def _spread(images: Tensor, number: int) -> Tensor:
    """That many of them, from first to last, as neighbours are crops of one image."""
    return images[:: max(1, len(images) // number)][:number]


def _layers(net: nn.Module) -> int:
    return sum(isinstance(part, QuantConv2d | QuantLinear) for part in net.modules())


def _after_training(method: core.Method) -> bool:
    """Whether it needs images alone; the others begin a training."""
    return not (method.loss or method.stage or method.selector)


POST_TRAINING_METHODS: Mapping[str, PostTrainingMethod] = {
    "lossless": lossless,
    SLOPED: sloped,
    "tuned": general("search", tuned=True),
    **{
        name: general(name, pixels=name == "ptq4sr") for name, method in core.METHODS.items() if _after_training(method)
    },
}


def quantize(
    model: Model | nn.Module,
    calibrate: str | Path | Sequence[np.ndarray] | None = None,
    *,
    method: str = AUTO,
    bits: int | Sequence[int] = 8,
    refine: int = 0,
    keep: Sequence[str] = (),
    budget: float | str | None = None,
    progress: Phases | None = None,
    images: str | Path | Sequence[np.ndarray] | None = None,
) -> Model:
    """The model in integers, calibrated on ordinary images; the `history` of the result records what was done.

    Args:
        model: a float model. A bare network of an image in `[0, 1]` becomes a plain chain first (`reparameterize`).
        calibrate: a folder of images, or `(H, W, 3)` uint8 arrays, some ten or more. They are HR images: LR crops are
            made from them by bicubic interpolation, as the network will get (`sharpbit.data.calibration`).
        method: one of `POST_TRAINING_METHODS`; `lossless` takes chains of convolutions and ReLU, `sloped` those with
            PReLU or the image added at the end, `tuned` any network. The default `auto` is one of the first two.
        bits: bits of weights and activations, 2 to 16, 8 by default; several, such as `(8, 6, 4)`, are the choice of
            mixed precision, which needs a `budget`.
        refine: steps in which the result learns from the float network, none by default.
        keep: globs over the names of layers that stay in float, none by default.
        budget: what mixed precision may cost: mean bits such as 5, or a share such as `"40%"` of the cost in 8 bits.
        progress: called with the name of a phase, how much of it is done, and how much there is.
        images: deprecated name of `calibrate`.

    Returns:
        A new model that runs in integers, or simulates them, and can be saved, evaluated, inspected and exported.

    Raises:
        UsageError: there is no such method, it does not make these bits, or there is nothing to calibrate on.
        QuantizeError: the method cannot do it for this network, or not with these images.
        ReparameterizeError: a bare network has no plain form.

    Examples:
        >>> import numpy as np, sharpbit
        >>> model = sharpbit.build("plain", scale=2, blocks=1, width=4)
        >>> photos = [np.random.default_rng(k).integers(0, 256, (128, 128, 3), np.uint8) for k in range(2)]
        >>> small = sharpbit.quantize(model, photos, method="minmax", bits=8)
        >>> [entry.verb for entry in small.history]
        ['quantize', 'calibrate', 'freeze']

    Source: the methods' own modules name their papers (docs/quantize.md).
    """
    if images is not None:
        warnings.warn("quantize(images=...) is now quantize(calibrate=...)", DeprecationWarning, stacklevel=2)
        calibrate = images if calibrate is None else calibrate
    if calibrate is None:
        raise UsageError("there is nothing to calibrate on; give a folder of ordinary images, or arrays, as calibrate")
    if not isinstance(model, Model):
        model = reparameterize(model)
    settings = QuantizationSettings(bits if isinstance(bits, int) else tuple(bits), refine, tuple(keep), budget)
    return with_receipt(model, calibrate, settings, method=method, progress=progress)[0]


def with_receipt(
    model: Model,
    images: str | Path | Sequence[np.ndarray],
    settings: QuantizationSettings = QuantizationSettings(),
    *,
    method: str = AUTO,
    progress: Phases | None = None,
    analysis: bool = False,
    blame: bool = False,
) -> tuple[Model, QuantizationReceipt]:
    """What `quantize` does, and the receipt.

    Args:
        model: a float model.
        images: a folder or arrays, see `calibrate` of `quantize`.
        settings: bits, refinement and what stays in float.
        method: name of the post-training method, see `quantize`.
        progress: called with the name of a phase, how much of it is done, and how much there is.
        analysis: whether the receipt lists the sensitivity of each layer (`sharpbit.quant.ptq.sensitivity`).
        blame: deprecated name of `analysis`.
    """
    if blame:
        warnings.warn("with_receipt(blame=...) is now with_receipt(analysis=...)", DeprecationWarning, stacklevel=2)
    started = time.monotonic()
    if method not in (AUTO, *POST_TRAINING_METHODS):
        raise UsageError(f"there is no method {method!r}; known are {', '.join((AUTO, *POST_TRAINING_METHODS))}")
    if model.arch.name == "integer":
        raise QuantizeError("the model is in integers already; quantize the float one that it was made from")
    method = suited(model) if method == AUTO else method
    if isinstance(images, (str, Path)):
        crops, used = calibration.from_folder(images, model.scale, progress=progress)
    else:
        crops, used = calibration.from_images(images, model.scale)
    if method == SLOPED:  # calibrated and measured on drawings and compressed images as well
        crops = varied(_spread(crops, SLOPED_CROPS))
    kept = torch.arange(len(crops)) % HELD_OUT == HELD_OUT - 1
    apart = bool(kept.any())
    held_out, crops = (crops[kept], crops[~kept]) if apart else (crops, crops)
    after = POST_TRAINING_METHODS[method](model, crops, settings, progress)
    found: tuple[tuple[str, float], ...] = ()
    ranges: tuple[tuple[str, float, float, float, float], ...] = ()
    widths: tuple[tuple[str, int, int], ...] = ()
    if any(True for _ in core.quantizers(after.net)):
        if analysis or blame:
            count = counted(progress, "measuring sensitivity", len(sensitivity.parts(after.net)))
            found = sensitivity.sensitivity(after.net, model.net, held_out[:1].float() / 255, count)
        ranges = sensitivity.ranges(after.net, held_out[:BATCH].float() / 255)
        widths = sensitivity.widths(after.net)
        after = recorded.freeze(after)
    psnr, differing, largest = differences(model.net, after.net, held_out)
    receipt = QuantizationReceipt(
        method=method,
        bits=settings.bits,
        refined=settings.refine,
        kept=settings.keep,
        crops=len(crops),
        held_out=len(held_out) if apart else 0,
        images=used,
        seconds=round(time.monotonic() - started, 1),
        bytes=(stored(model.net), stored(after.net)),
        psnr=round(psnr, 2),
        differing=round(differing, 4),
        largest=largest,
        sensitivity=found,
        ranges=ranges,
        budget=settings.budget,
        widths=widths,
        bitops=round(bitops.count(after.net).bitops) if widths else None,
        wide=after.net.config.wide if isinstance(after.net, Integer) else (),
    )
    return replace(after, about={**after.about, "metrics": ()}), receipt  # what was measured was the float model


__getattr__ = old_names(
    __name__,
    {
        "Settings": "QuantizationSettings",
        "Method": "PostTrainingMethod",
        "METHODS": "POST_TRAINING_METHODS",
        "Receipt": "QuantizationReceipt",
        "together": "joint_refinement",
    },
)
