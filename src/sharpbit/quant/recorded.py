"""Quantizing a model step by step; each function returns a new model whose history ends with what was done.

The functions that change networks in place lie in `sharpbit.quant.core`, `sharpbit.quant.ptq` and
`sharpbit.quant.freeze`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from sharpbit.modelfile.history import Verb
from sharpbit.quant import core, history, order
from sharpbit.quant import refqsr as two_pass
from sharpbit.quant.core import METHODS
from sharpbit.quant.freeze import freeze as freeze_net
from sharpbit.quant.frozen import QDQ, Integers
from sharpbit.quant.layers import rounding
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq import boundary_refinement, compensated_rounding, last_layer
from sharpbit.quant.ptq import equalize as equalization
from sharpbit.quant.ptq import pixel_aware as pixel_aware_calibration
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.last_layer import LastLayerSettings
from sharpbit.quant.ptq.pixel_aware import PixelAware
from sharpbit.quant.refqsr import TwoPass
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress


class Recorded(Protocol):
    """What these functions need of a model (`sharpbit.model.Model` lies above this folder)."""

    @property
    def net(self) -> nn.Module:
        """The network."""

    @property
    def history(self) -> tuple[Verb, ...]:
        """One entry a verb."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Fields of the file header."""


M = TypeVar("M", bound=Recorded)


def insert_quantizers(model: M, plan: Plan | None = None, method: str = "minmax") -> M:
    """The model with quantizers in it; those of most methods must be calibrated or trained next.

    Args:
        model: a float model; it stays as it is.
        plan: which tensors are rounded, and to how many bits; by default all of them to 8 bits.
        method: name of the method catalog.

    Raises:
        UsageError: a rule matches nothing, or there is no such method.
    """
    order.check(model.net, "quantizing")
    plan = plan or Plan.uniform()
    net = core.insert_quantizers(model.net, plan, METHODS[method])
    return _grown(model, net, history.Quantize(method, tuple(plan.tables())))


def refqsr(model: M, how: TwoPass) -> M:
    """The float model in two passes; `sharpbit.quant.refqsr.begin` gives it its first numbers."""
    order.check(model.net, "making two passes")
    return _grown(model, two_pass.build(model.net, how), history.InsertTwoPasses(how))


def calibrate(model: M, batches: Iterable[Tensor], progress: Progress | None = None) -> M:
    """The quantized model with clipping ranges that observed these images (`sharpbit.quant.core.calibrate`)."""
    order.check(model.net, "calibrating")
    net = copy.deepcopy(model.net)
    count = core.calibrate(net, batches, progress)
    return _grown(model, net, history.Calibrate(count))


def equalize(model: M, images: Tensor, progress: Progress | None = None) -> M:
    """The quantized model with scaled channels where that helps (`sharpbit.quant.ptq.equalize.equalize`)."""
    order.check(model.net, "equalizing")
    net = copy.deepcopy(model.net)
    layers = equalization.equalize(net, images, progress)
    return _grown(model, net, history.Equalize(tuple(layers)))


def compensate_rounding(model: M, images: Tensor, progress: Progress | None = None) -> M:
    """The calibrated model with weights rounded by error compensation (`sharpbit.quant.ptq.compensated_rounding`)."""
    order.check(model.net, "rounding with error compensation")
    order.check_calibrated(model.net, "rounding with error compensation")
    net = copy.deepcopy(model.net)
    layers = compensated_rounding.round_with_compensation(net, images, progress)
    return _grown(model, net, history.CompensateRounding(layers))


def refine(
    model: M,
    teacher: nn.Module,
    images: Tensor,
    how: Refinement,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> M:
    """The calibrated model with refined clipping ranges (`sharpbit.quant.ptq.boundary_refinement.refine`)."""
    order.check(model.net, "refining")
    order.check_calibrated(model.net, "refining")
    net = copy.deepcopy(model.net)
    losses = boundary_refinement.refine(net, teacher, images, how, progress, keep)
    return _grown(model, net, history.Refine(_ends(losses), how))


def pixel_aware(model: M, teacher: nn.Module, images: Tensor, how: PixelAware, progress: Progress | None = None) -> M:
    """The calibrated model refined as in PTQ4SR (`sharpbit.quant.ptq.pixel_aware.pixel_aware`)."""
    order.check(model.net, "refining")
    order.check_calibrated(model.net, "refining")
    net = copy.deepcopy(model.net)
    losses = pixel_aware_calibration.pixel_aware(net, teacher, images, how, progress)
    return _grown(model, net, history.RefinePixelAware(_ends(losses), how))


def reconstruct_last_layer(
    model: M, teacher: nn.Module, images: Tensor, how: LastLayerSettings | None = None, progress: Progress | None = None
) -> M:
    """The calibrated model with a reconstructed last layer (`sharpbit.quant.ptq.last_layer`)."""
    order.check(model.net, "reconstructing the last layer")
    order.check_calibrated(model.net, "reconstructing the last layer")
    net = copy.deepcopy(model.net)
    how = how or LastLayerSettings()
    layers, losses = last_layer.reconstruct_last_layer(net, teacher, images, how, progress)
    return _grown(model, net, history.ReconstructLastLayer(tuple(layers), _ends(losses), how))


def freeze(model: M) -> M:
    """The quantized model with numbers for clipping ranges and integers for weights (`sharpbit.quant.freeze`)."""
    order.check(model.net, "freezing")
    net = freeze_net(model.net)
    model = _grown(model, net, history.Freeze())
    return replace(model, about={**model.about, "precision": precision(net)})  # type: ignore[type-var]


def precision(net: nn.Module) -> str:
    """Bits of weights and activations of a frozen network, the widest first, such as `W8A8` or `W8A8 W4A4`."""
    pairs = set()
    for part in net.modules():
        kernel, act = getattr(part, "kernel", None), rounding(getattr(part, "act", part))
        if isinstance(kernel, Integers | nn.Identity) and isinstance(act, QDQ | nn.Identity):
            pairs.add((getattr(kernel, "bits", 32), getattr(act, "bits", 32)))
    return " ".join(f"W{weight}A{act}" for weight, act in sorted(pairs, reverse=True))


def _ends(losses: Sequence[float]) -> tuple[float, ...]:
    return (losses[0], losses[-1]) if losses else ()


def _grown(model: M, net: nn.Module, entry: Verb) -> M:
    return replace(model, net=net, history=(*model.history, entry))  # type: ignore[type-var]


__getattr__ = old_names(
    __name__,
    {
        "quantize": "insert_quantizers",
        "balance": "equalize",
        "compensate": "compensate_rounding",
        "finish": "reconstruct_last_layer",
        "replay": "sharpbit.quant.history:replay",
    },
)
