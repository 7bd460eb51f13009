"""The post-training methods: each makes a quantized model of a float one, from LR images alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sharpbit.cost.operands import products
from sharpbit.errors import ModelError
from sharpbit.model import Model
from sharpbit.quant import core, recorded
from sharpbit.quant.layers import QuantConv2d, QuantLinear
from sharpbit.quant.lossless import check_images
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq import bit_allocation
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.last_layer import LastLayerSettings
from sharpbit.quant.ptq.pixel_aware import PixelAware
from sharpbit.system.progress import Phases, counted
from sharpbit.verbs.integer_methods import GRAPH, LOSSLESS, SLOPED, graph, lossless, sloped
from sharpbit.verbs.quantization_settings import BATCH, PostTrainingMethod, QuantizationSettings

INTEGER = 8  # bits that engines multiply in integers, if the grids of weights are symmetric
RATES = {
    4: (5e-4, 4e-4),
    6: (2e-3, 1e-4),
    8: (2e-3, 0.0),
}  # learning rates of clipping ranges and weights that learn together, by the largest number of bits


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
        count = counted(progress, "calibrating", (len(parts) + 1) * sum(1 for _ in core.quantizers(after.net)))
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
            count = counted(progress, "refining", settings.refine)
            after = recorded.refine(after, model.net, images, refinement, count, settings.work)
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
