"""The post-training methods: each makes a quantized model of a float one, from LR images alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from sharpbit.arch import ARCHITECTURES
from sharpbit.arch.integer import Integer, of_chain
from sharpbit.cost import macs
from sharpbit.cost.operands import products
from sharpbit.errors import ModelError, QuantizeError, ReparameterizeError, UsageError
from sharpbit.model import Model
from sharpbit.modelfile.history import Verb
from sharpbit.modelfile.integer_chain import MAX_CHANNELS, MAX_LAYERS, MAX_SCALE
from sharpbit.quant import core, recorded
from sharpbit.quant.graph import GraphSettings
from sharpbit.quant.grid import WIDEST
from sharpbit.quant.history import QuantizeLossless, QuantizeSloped
from sharpbit.quant.layers import QuantConv2d, QuantLinear
from sharpbit.quant.lossless import check_images, quantize_chain
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq import bit_allocation
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.last_layer import LastLayerSettings
from sharpbit.quant.ptq.pixel_aware import PixelAware
from sharpbit.quant.sloped import GATE, SlopedSettings, quantize_sloped
from sharpbit.reparam.chain import Chain, chain, relu_chain
from sharpbit.system.progress import Phases, counted
from sharpbit.verbs.quantize_graph import can_be_graph, integer_graph

OTHERS = "--method tuned takes any network"
LOSSLESS, SLOPED, GRAPH = "lossless", "sloped", "graph"
CHAIN_KERNEL = 3  # the side of a kernel of an integer chain
MORE = 1.5  # times the operations that another form of the network does
COUNTED = (32, 32)  # height and width of the image for which operations are counted
BATCH = 8  # LR images that are calibrated on at once
INTEGER = 8  # bits that engines multiply in integers, if the grids of weights are symmetric
RATES = {
    4: (5e-4, 4e-4),
    6: (2e-3, 1e-4),
    8: (2e-3, 0.0),
}  # learning rates of clipping ranges and weights that learn together, by the largest number of bits


@dataclass(frozen=True)
class QuantizationSettings:
    """What a post-training method is to do.

    Attributes:
        bits: bits of weights and activations; several, such as `(8, 6, 4)`, are the choice of mixed precision.
        refine: steps in which clipping ranges (and weights, if the method is `tuned`) learn from the float network.
        keep: globs over the names of layers that stay in float.
        budget: what mixed precision may cost: mean bits such as 5, or a share such as `40%` of the cost in 8 bits
            (`sharpbit.quant.ptq.bit_allocation`).
        batch: LR images that are calibrated on at once, 8 by default. Methods that move clipping ranges batch by batch,
            such as `adc`, clip more the more batches there are.
        asymmetric: whether 8-bit weights have a zero point too, as published; by default they have none, as engines
            multiply such in integers.
        gate: mean dB from float that `sloped` and `graph` are to reach with the least of their numbers in 16 bits.
        work: folder in which `graph` keeps what it has found, so that a killed run goes on; by default nothing is kept.
    """

    bits: int | tuple[int, ...] = 8
    refine: int = 0
    keep: tuple[str, ...] = ()
    budget: float | str | None = None
    batch: int = BATCH
    asymmetric: bool = False
    gate: float = GATE
    work: Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int):
            widths = tuple(dict.fromkeys(self.bits))
            object.__setattr__(self, "bits", widths if len(widths) != 1 else widths[0])
        for bits in self.widths:
            if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= WIDEST:
                raise UsageError(f"layers are rounded to 2 to {WIDEST} bits, not {bits!r}; --keep leaves some in float")
        if self.batch < 1:
            raise UsageError(f"at least one image is calibrated on at once, not {self.batch}")
        if not self.gate >= 0:
            raise UsageError(f"the gate is so many dB from float, 0 or more, not {self.gate:g}")
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


@contextmanager
def _naming_others(model: Model, activation: str, method: str) -> Iterator[None]:
    """Errors of a network that a method for chains does not take, with the methods that take others."""
    try:
        yield
    except ReparameterizeError as error:
        raise QuantizeError(
            f"{model.arch.name} is no chain of convolutions and {activation}, which the method {method} takes: {error};"
            f" {OTHERS}"
        ) from None
    except QuantizeError as error:
        raise QuantizeError(f"{error}; {OTHERS}") from None


def lossless(model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
    """A chain of convolutions and ReLU in 8-bit integers. See `sharpbit.quant.lossless`.

    Raises:
        UsageError: not 8 bits, or something to refine or to keep.
        QuantizeError: the network is no such chain.
    """
    _check_chain(settings, LOSSLESS)
    with _naming_others(model, "ReLU", LOSSLESS):
        net = of_chain(quantize_chain(relu_chain(model.net), crops, progress=progress))
    return integer_model(model, net, QuantizeLossless(model.arch.name, bits=8, crops=len(crops)))


def sloped(model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
    """A chain of convolutions and PReLU, perhaps with the image added, in 8-bit integers. See `sharpbit.quant.sloped`.

    Raises:
        UsageError: not 8 bits, or something to refine or to keep.
        QuantizeError: the network is no such chain.
    """
    _check_chain(settings, "sloped")
    with _naming_others(model, "PReLU", "sloped"):
        gate = SlopedSettings(gate=settings.gate)
        net = of_chain(quantize_sloped(chain(model.net, "plain"), crops, gate, progress=progress))
    return integer_model(model, net, QuantizeSloped(model.arch.name, bits=8, crops=len(crops)))


def graph(model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
    """A network with skips, concatenations, gates and pools in integers. See `sharpbit.quant.graph`.

    Raises:
        UsageError: not 8 bits, or something to refine or to keep.
        QuantizeError: the network has an operator that has no form in integers.
    """
    _check_chain(settings, GRAPH)
    return integer_graph(model, crops, GraphSettings(gate=settings.gate, keep=settings.work), progress, OTHERS)


def suited(model: Model, *, portable: bool = False) -> str:
    """The name of the method that `auto` is for a model: `lossless` or `sloped` where it is a chain, else `graph`.

    A chain in which PReLU and skips became channels may do many times the operations of the network. Of the forms that
    are possible the first is taken that does not do `MORE` times the operations of one that follows.

    Args:
        model: A float model.
        portable: Whether its result is to run in other engines than the native one, as that of `lossless` does.
    """
    found = []
    for method, form in ((LOSSLESS, relu_chain), (SLOPED, partial(chain, form="plain"))):
        try:
            one = form(model.net)
        except ReparameterizeError:
            continue
        if _narrow(one):
            found.append((method, float(_operations(one))))
    if not found or (portable and found[0][0] == LOSSLESS):
        return found[0][0] if found else GRAPH
    least = min(operations for _, operations in found)
    own = macs.count(model.net, COUNTED).macs / (COUNTED[0] * COUNTED[1])
    if least > MORE * own and can_be_graph(model):
        return GRAPH
    return next(method for method, operations in found if operations <= MORE * least)


def _operations(found: Chain) -> int:
    """Multiply-accumulate operations of an integer chain for a pixel, whose kernels are all of 3x3."""
    outputs = [len(stage.kernel.bias) for stage in found.stages]
    return CHAIN_KERNEL**2 * sum(a * b for a, b in pairwise([3, *outputs]))


def _narrow(found: Chain) -> bool:
    """Whether an integer chain can be so wide, so deep and upscale so much."""
    layers = [stage.kernel for stage in found.stages]
    small = all(len(kernel.bias) <= MAX_CHANNELS and kernel.side <= CHAIN_KERNEL for kernel in layers)
    return small and len(layers) <= MAX_LAYERS and found.scale <= MAX_SCALE


def _check_chain(settings: QuantizationSettings, method: str) -> None:
    if settings.bits != 8:
        asked = ", ".join(map(str, settings.widths))
        raise UsageError(f"the method {method} makes 8 bits, not {asked}; leave --bits out, or take --method tuned")
    if settings.asymmetric:
        raise UsageError(f"the method {method} has weights without a zero point; leave --asymmetric out")
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
        parts = torch.split(images, settings.batch)
        count = counted(progress, "calibrating", len(parts) + sum(1 for _ in core.quantizers(after.net)))
        after = recorded.calibrate(after, parts, count)
        if tuned:
            after = recorded.compensate_rounding(
                after, spread(images, BATCH), counted(progress, "rounding", _layers(after.net))
            )
        if settings.refine and pixels:
            count = counted(progress, "refining", settings.refine)
            after = recorded.pixel_aware(after, model.net, images, PixelAware(settings.refine), count)
        elif settings.refine:
            refinement = (
                joint_refinement(settings.refine, min(settings.widths)) if tuned else Refinement(settings.refine)
            )
            after = recorded.refine(
                after, model.net, images, refinement, counted(progress, "refining", settings.refine)
            )
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
        bits: Plan.after_training(
            model.arch.rounding,
            bits,
            method.maps,
            symmetric=bits == INTEGER and not settings.asymmetric,
            keep=settings.keep,
        )
        for bits in settings.widths
    }
    if settings.budget is None:
        return plans[settings.widths[0]]
    net = core.insert_quantizers(model.net, plans[max(plans)], method)
    parts = bit_allocation.units(net, products(net))
    count = counted(progress, "allocating bits", len(parts) * len(plans))
    return bit_allocation.mixed_precision(
        model.net, plans, method, parts, settings.budget, spread(images, BATCH), count
    )


def spread(images: Tensor, number: int) -> Tensor:
    """That many of them, from first to last, as neighbours are crops of one image."""
    return images[:: max(1, len(images) // number)][:number]


def _layers(net: nn.Module) -> int:
    return sum(isinstance(part, QuantConv2d | QuantLinear) for part in net.modules())


def _after_training(method: core.Method) -> bool:
    """Whether it needs images alone; the others begin a training."""
    return not (method.loss or method.stage or method.selector)


POST_TRAINING_METHODS: Mapping[str, PostTrainingMethod] = {
    LOSSLESS: lossless,
    SLOPED: sloped,
    GRAPH: graph,
    "tuned": general("search", tuned=True),
    **{
        name: general(name, pixels=name == "ptq4sr") for name, method in core.METHODS.items() if _after_training(method)
    },
}
