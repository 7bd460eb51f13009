"""Quantizing as a verb of a model: from float to integers, by one of the methods, with a receipt of what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sharpbit.arch import ARCHITECTURES
from sharpbit.arch.integer import of_chain
from sharpbit.cost import bitops
from sharpbit.cost.operands import products
from sharpbit.data import calibration
from sharpbit.errors import ModelError, QuantizeError, ReparameterizeError, UsageError
from sharpbit.model import Model
from sharpbit.quant import core, verbs
from sharpbit.quant.grid import WIDEST
from sharpbit.quant.layers import QuantConv2d, QuantLinear
from sharpbit.quant.lossless import check_images, quantize_chain
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq import bit_allocation as budgets
from sharpbit.quant.ptq import sensitivity as blaming
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.last_layer import Finish
from sharpbit.quant.ptq.pixel_aware import PixelAware
from sharpbit.reparam.chain import relu_chain
from sharpbit.system.progress import Progress
from sharpbit.verbs.receipt import Receipt, differences, stored

OTHERS = "--method tuned takes any network"
BATCH = 8  # LR images that are calibrated on at once
INTEGER = 8  # bits that engines multiply in integers, if the grids of weights are symmetric
RATES = {
    4: (5e-4, 4e-4),
    6: (2e-3, 1e-4),
    8: (2e-3, 0.0),
}  # of bounds and weights that learn together, up to so many bits
HELD_OUT = 10  # every tenth crop is kept to measure on


@dataclass(frozen=True)
class Settings:
    """What a method is told.

    Attributes:
        bits: of weights and activations; several, such as `(8, 6, 4)`, are a choice for each layer.
        refine: steps in which bounds (and weights, if the method is `tuned`) learn from the float network.
        keep: globs of layers that stay in float.
        budget: of such a choice: a mean width, or a share such as `40%` of the cost in 8 bits (`quant.budget`).
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


class Method(Protocol):
    """Makes a quantized model of a float one."""

    def __call__(self, model: Model, crops: Tensor, settings: Settings, progress: Progress | None) -> Model:
        """`crops` `(N, 3, h, w)` uint8 are LR images to calibrate on; what comes may still have to be frozen."""


def lossless(model: Model, crops: Tensor, settings: Settings, progress: Progress | None) -> Model:
    """A chain of convolutions and ReLU in 8-bit integers. See `sharpbit.quant.lossless`.

    Raises:
        UsageError: not 8 bits, or something to refine or to keep.
        QuantizeError: the network is no such chain.
    """
    bits = settings.bits
    if bits != 8:
        asked = ", ".join(map(str, settings.widths))
        raise UsageError(f"the method lossless makes 8 bits, not {asked}; leave --bits out, or take --method tuned")
    if settings.refine or settings.keep:
        raise UsageError(
            "the method lossless takes the whole network and refines nothing; leave --refine and --keep out"
        )
    try:
        chain = relu_chain(model.net)
    except ReparameterizeError as error:
        raise QuantizeError(
            f"{model.arch.name} is no chain of convolutions and ReLU, which the method lossless takes: {error};"
            f" {OTHERS}"
        ) from None
    try:
        net = of_chain(quantize_chain(chain, crops, progress=progress))
    except QuantizeError as error:
        raise QuantizeError(f"{error}; {OTHERS}") from None
    entry = {"verb": "quantize", "from": model.arch.name, "method": "lossless", "bits": bits, "crops": len(crops)}
    history = (*model.history, entry)
    about = {**model.about, "precision": "int8"}
    return replace(model, arch=ARCHITECTURES["integer"], config=net.config, net=net, history=history, about=about)


def general(name: str, *, tuned: bool = False, pixels: bool = False) -> Method:
    """A method of `sharpbit.quant.method`, for any network: ranges are found, and, where asked for, learn.

    Args:
        name: of the method.
        tuned: balance channels before, and round weights together after; refining then trains the weights too.
        pixels: refining is the pixel-aware calibration of PTQ4SR, not the boundary refinement of CRAFT.
    """

    def quantized(model: Model, crops: Tensor, settings: Settings, progress: Progress | None) -> Model:
        check_images(crops)
        if not all(bool(torch.isfinite(weight).all()) for weight in model.net.parameters()):
            raise ModelError(f"the weights of this {model.arch.name} are not numbers everywhere; the file is damaged")
        images = crops.float() / 255
        after = verbs.quantize(model, _plan(model, name, settings, images, progress), name)
        if tuned:
            count = _counted("balancing", progress, len(images) + _layers(after.net))
            after = verbs.balance(after, images, count)
        parts = torch.split(images, BATCH)
        count = _counted("calibrating", progress, len(parts) + sum(1 for _ in core.quantizers(after.net)))
        after = verbs.calibrate(after, parts, count)
        if tuned:
            after = verbs.compensate(after, _spread(images, BATCH), _counted("rounding", progress, _layers(after.net)))
        if settings.refine and pixels:
            count = _counted("refining", progress, settings.refine)
            after = verbs.pixel_aware(after, model.net, images, PixelAware(settings.refine), count)
        elif settings.refine:
            how = together(settings.refine, min(settings.widths)) if tuned else Refinement(settings.refine)
            after = verbs.refine(after, model.net, images, how, _counted("refining", progress, settings.refine))
        if tuned:
            last = Finish()
            after = verbs.finish(after, model.net, images, last, _counted("finishing", progress, last.steps))
        return after

    return quantized


def together(steps: int, bits: int) -> Refinement:
    """How bounds and weights of `bits` learn together, in so many steps.

    The finer the grids, the less is to be mended by weights: at the rates for 4 bits the learning of 8 bits does harm,
    where bounds alone do good.
    """
    rate, weights = next((rates for widest, rates in RATES.items() if bits <= widest), RATES[INTEGER])
    return Refinement(steps, rate=rate, weights=weights, fall=True)


def _plan(model: Model, name: str, settings: Settings, images: Tensor, progress: Progress | None) -> Plan:
    """What is rounded, and to how many bits; layer by layer where there is a choice."""
    method = core.METHODS[name]
    plans = {
        bits: Plan.after_training(model.arch.rounding, bits, method.maps, symmetric=bits == INTEGER, keep=settings.keep)
        for bits in settings.widths
    }
    if settings.budget is None:
        return plans[settings.widths[0]]
    net = core.quantize(model.net, plans[max(plans)], method)
    parts = budgets.units(net, products(net))
    count = _counted("choosing widths", progress, len(parts) * len(plans))
    return budgets.mixed(model.net, plans, method, parts, settings.budget, _spread(images, BATCH), count)


def _spread(images: Tensor, number: int) -> Tensor:
    """That many of them, from first to last, as neighbours are crops of one image."""
    return images[:: max(1, len(images) // number)][:number]


def _counted(word: str, progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress:
            progress(word, min(done, total), total)

    return count


def _layers(net: nn.Module) -> int:
    return sum(isinstance(part, QuantConv2d | QuantLinear) for part in net.modules())


def _after_training(method: core.Method) -> bool:
    """Whether it needs images alone; the others begin a training."""
    return not (method.loss or method.stage or method.selector)


METHODS: Mapping[str, Method] = {
    "lossless": lossless,
    "tuned": general("search", tuned=True),
    **{
        name: general(name, pixels=name == "ptq4sr") for name, method in core.METHODS.items() if _after_training(method)
    },
}


def quantize(
    model: Model,
    images: str | Path | Sequence[np.ndarray],
    *,
    method: str = "lossless",
    bits: int | Sequence[int] = 8,
    refine: int = 0,
    keep: Sequence[str] = (),
    budget: float | str | None = None,
    progress: Progress | None = None,
) -> Model:
    """The model in integers, calibrated on ordinary images; what was done is the last entry of its history.

    Args:
        model: in float.
        images: a folder, or `(H, W, 3)` uint8 arrays; they are shrunk to what the network gets
            (`sharpbit.data.calibration`).
        method: one of `METHODS`.
        bits: of weights and activations; several are a choice for each layer.
        refine: steps in which the result learns from the float network.
        keep: globs of layers that stay in float.
        budget: of such a choice, see `Settings`.
        progress: called with a word, what is done of it, and how much there is.

    Raises:
        UsageError: no such method, bits that it does not make, or nothing to calibrate on.
        QuantizeError: the method cannot do it for this network, or not with these images.
    """
    settings = Settings(bits if isinstance(bits, int) else tuple(bits), refine, tuple(keep), budget)
    return with_receipt(model, images, settings, method=method, progress=progress)[0]


def with_receipt(
    model: Model,
    images: str | Path | Sequence[np.ndarray],
    settings: Settings = Settings(),
    *,
    method: str = "lossless",
    progress: Progress | None = None,
    blame: bool = False,
) -> tuple[Model, Receipt]:
    """What `quantize` does, and the receipt; with `blame`, also what each layer's rounding costs."""
    started = time.monotonic()
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}; known are {', '.join(METHODS)}")
    if model.arch.name == "integer":
        raise QuantizeError("the model is in integers already; quantize the float one that it was made from")
    if isinstance(images, (str, Path)):
        crops, used = calibration.from_folder(images, model.scale, progress=progress)
    else:
        crops, used = calibration.from_images(images, model.scale)
    kept = torch.arange(len(crops)) % HELD_OUT == HELD_OUT - 1
    apart = bool(kept.any())
    held_out, crops = (crops[kept], crops[~kept]) if apart else (crops, crops)
    after = METHODS[method](model, crops, settings, progress)
    blamed: tuple[tuple[str, float], ...] = ()
    ranges: tuple[tuple[str, float, float, float, float], ...] = ()
    widths: tuple[tuple[str, int, int], ...] = ()
    if any(True for _ in core.quantizers(after.net)):
        if blame:
            parts = len(blaming.parts(after.net))
            blamed = blaming.blame(
                after.net, model.net, held_out[:1].float() / 255, _counted("blaming", progress, parts)
            )
        ranges = blaming.ranges(after.net, held_out[:BATCH].float() / 255)
        widths = blaming.widths(after.net)
        after = verbs.freeze(after)
    psnr, differing, largest = differences(model.net, after.net, held_out)
    receipt = Receipt(
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
        blame=blamed,
        ranges=ranges,
        budget=settings.budget,
        widths=widths,
        bitops=round(bitops.count(after.net).bitops) if widths else None,
    )
    return replace(after, about={**after.about, "metrics": ()}), receipt  # what was measured was the float model
