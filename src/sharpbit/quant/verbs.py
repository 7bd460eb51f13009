"""Quantizing as verbs of a model: what was done is written into its history, and done again when its file is read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from sharpbit.quant import core
from sharpbit.quant import refqsr as two_pass
from sharpbit.quant.core import METHODS
from sharpbit.quant.freeze import QDQ, Integers
from sharpbit.quant.freeze import freeze as freeze_net
from sharpbit.quant.layers import rounding
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq import boundary_refinement as refining
from sharpbit.quant.ptq import compensated_rounding as compensating
from sharpbit.quant.ptq import equalize as balancing
from sharpbit.quant.ptq import last_layer as finishing
from sharpbit.quant.ptq import pixel_aware as pixels
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.last_layer import Finish
from sharpbit.quant.ptq.pixel_aware import PixelAware
from sharpbit.quant.refqsr import TwoPass

Entry = Mapping[str, Any]


class Recorded(Protocol):
    """What these verbs need of a model (`sharpbit.model.Model` lies above this folder)."""

    @property
    def net(self) -> nn.Module:
        """The network."""

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """One entry a verb."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Fields of the file header."""


M = TypeVar("M", bound=Recorded)
Progress = Callable[[int], object] | None


def quantize(model: M, plan: Plan | None = None, method: str = "minmax") -> M:
    """The model with quantizers in it; those of most methods must be calibrated or trained next.

    Args:
        model: a float model; it stays as it is.
        plan: what is rounded, and how finely; by default everything to 8 bits.
        method: name of the method catalog.

    Raises:
        UsageError: a rule matches nothing, or there is no such method.
    """
    plan = plan or Plan.uniform()
    net = core.quantize(model.net, plan, METHODS[method])
    return _grown(model, net, {"verb": "quantize", "method": method, "plan": plan.tables()})


def refqsr(model: M, how: TwoPass) -> M:
    """The float model in two passes; its numbers begin with `sharpbit.quant.refqsr.begin`."""
    return _grown(model, two_pass.build(model.net, how), how.entry())


def calibrate(model: M, batches: Iterable[Tensor], progress: Progress = None) -> M:
    """The quantized model with ranges that saw these images. See `sharpbit.quant.core.calibrate`."""
    net = copy.deepcopy(model.net)
    count = core.calibrate(net, batches, progress)
    return _grown(model, net, {"verb": "calibrate", "batches": count})


def balance(model: M, images: Tensor, progress: Progress = None) -> M:
    """The quantized model with scaled channels where that helps. See `sharpbit.quant.ptq.equalize.balance`."""
    net = copy.deepcopy(model.net)
    layers = balancing.balance(net, images, progress)
    return _grown(model, net, {"verb": "balance", "layers": layers})


def compensate(model: M, images: Tensor, progress: Progress = None) -> M:
    """The calibrated model with weights rounded together. See `sharpbit.quant.ptq.compensated_rounding.compensate`."""
    net = copy.deepcopy(model.net)
    layers = compensating.compensate(net, images, progress)
    return _grown(model, net, {"verb": "compensate", "layers": layers})


def refine(model: M, teacher: nn.Module, images: Tensor, how: Refinement, progress: Progress = None) -> M:
    """The calibrated model with refined bounds. See `sharpbit.quant.ptq.boundary_refinement.refine`."""
    net = copy.deepcopy(model.net)
    losses = refining.refine(net, teacher, images, how, progress)
    return _grown(model, net, {"verb": "refine", **asdict(how), "losses": [losses[0], losses[-1]] if losses else []})


def pixel_aware(model: M, teacher: nn.Module, images: Tensor, how: PixelAware, progress: Progress = None) -> M:
    """The same in the manner of PTQ4SR. See `sharpbit.quant.ptq.pixel_aware.pixel_aware`."""
    net = copy.deepcopy(model.net)
    losses = pixels.pixel_aware(net, teacher, images, how, progress)
    entry = {"verb": "pixel_aware", **asdict(how), "losses": [losses[0], losses[-1]] if losses else []}
    return _grown(model, net, entry)


def finish(model: M, teacher: nn.Module, images: Tensor, how: Finish | None = None, progress: Progress = None) -> M:
    """The calibrated model with a reconstructed last layer. See `sharpbit.quant.ptq.last_layer.finish`."""
    net = copy.deepcopy(model.net)
    how = how or Finish()
    layers, losses = finishing.finish(net, teacher, images, how, progress)
    entry = {"verb": "finish", **asdict(how), "layers": layers, "losses": [losses[0], losses[-1]] if losses else []}
    return _grown(model, net, entry)


def freeze(model: M) -> M:
    """The quantized model with numbers for ranges and integers for weights. See `sharpbit.quant.freeze.freeze`."""
    net = freeze_net(model.net)
    model = _grown(model, net, {"verb": "freeze"})
    return replace(model, about={**model.about, "precision": precision(net)})  # type: ignore[type-var]


def precision(net: nn.Module) -> str:
    """Widths of weights and activations of a frozen network, the widest first, such as `W8A8` or `W8A8 W4A4`."""
    pairs = set()
    for part in net.modules():
        kernel, act = getattr(part, "kernel", None), rounding(getattr(part, "act", part))
        if isinstance(kernel, Integers | nn.Identity) and isinstance(act, QDQ | nn.Identity):
            pairs.add((getattr(kernel, "bits", 32), getattr(act, "bits", 32)))
    return " ".join(f"W{weight}A{act}" for weight, act in sorted(pairs, reverse=True))


_STRUCTURE: dict[str, Callable[[nn.Module, Entry], nn.Module]] = {
    "quantize": lambda net, entry: core.quantize(net, Plan.read(entry["plan"]), METHODS[entry["method"]]),
    "refqsr": lambda net, entry: two_pass.build(net, TwoPass.read(entry)),
    "balance": lambda net, entry: balancing.wrap(net, entry["layers"]),
    "finish": lambda net, entry: balancing.wrap(net, entry["layers"]),
    "freeze": lambda net, entry: freeze_net(net, check=False),
}


def replay(net: nn.Module, history: Iterable[Entry]) -> nn.Module:
    """The float network with the structure that the verbs of `history` gave it; its numbers mean nothing yet."""
    for entry in history:
        if entry["verb"] in _STRUCTURE:
            net = _STRUCTURE[entry["verb"]](net, entry)
    return net


def _grown(model: M, net: nn.Module, entry: dict[str, Any]) -> M:
    return replace(model, net=net, history=(*model.history, entry))  # type: ignore[type-var]
