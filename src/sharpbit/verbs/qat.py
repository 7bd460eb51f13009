"""Quantization-aware training, the steps around the training itself: quantizers put in, ranges begun, tables made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from sharpbit.errors import UsageError
from sharpbit.model import Model
from sharpbit.quant import order, recorded, refqsr
from sharpbit.quant.adaptive import Mixed, inherit
from sharpbit.quant.grid import Fixed
from sharpbit.quant.history import TabulateBits
from sharpbit.quant.method.cabm import OFF, Table, TableContext, samples, scored
from sharpbit.quant.plan import Plan
from sharpbit.quant.refqsr import TwoPass, in_two_passes


def fake_quantize(
    model: Model, plan: Plan, method: str, batches: Iterable[Tensor], *, source: Model | None = None
) -> Model:
    """The float model with quantizers in it, ready to be trained.

    Args:
        model: a float model.
        plan: what is rounded; that of a paper comes from `sharpbit.quant.qat.placement`.
        method: name of the method catalog.
        batches: images `(N, 3, H, W)` in `[0, 1]`, on which ranges begin that `source` does not have.
        source: a trained model of the same network, in float or with other quantizers, whose numbers it begins with.

    Raises:
        UsageError: the plan does not fit the network, or there are no images.
    """
    if source is not None:
        order.check_base(source.net, "training with quantizers")
    quantized = recorded.insert_quantizers(model, plan, method)
    if source is not None:
        inherit(quantized.net, source.net.state_dict())
    return recorded.calibrate(quantized, batches) if uncalibrated(quantized) else quantized


def for_engines(model: Model) -> Model:
    """The model as engines run it: frozen, where it has quantizers as in training; any other as it is.

    A network in two passes is frozen pass by pass when it is exported.
    """
    quantized = any(isinstance(part, Fixed) for part in model.net.modules()) and not in_two_passes(model.net)
    return recorded.freeze(model) if quantized else model


def two_pass(model: Model, how: TwoPass, batches: Iterable[Tensor], *, source: Model) -> Model:
    """The float model as a network in two passes (RefQSR), ready to be trained.

    Args:
        model: a float model.
        how: the passes; those of the paper come from `sharpbit.quant.refqsr.published`.
        batches: images `(N, 3, H, W)` in `[0, 1]`, on which those ranges begin that `source` does not have.
        source: a trained model of the same network with the bits of the first pass, or in float, or in two passes.

    Raises:
        UsageError: the plan does not fit the network, or there are no images.
    """
    order.check_base(source.net, "making two passes")
    model = recorded.refqsr(model, how)
    refqsr.begin(model.net, source.net.state_dict(), batches)
    return model


def uncalibrated(model: Model) -> list[str]:
    """Names of parameters that are not numbers: ranges that saw nothing yet."""
    return [name for name, own in model.net.named_parameters() if not bool(torch.isfinite(own).all())]


def tabulate(
    model: Model, cadyq: Model, patches: Iterable[Tensor], limit: float = OFF, *, legacy_edge: bool = False
) -> Model:
    """The CABM model with the table that a trained CADyQ model gives.

    Args:
        model: a model of method `cabm`, changed in place and returned with the step in its history.
        cadyq: a model of the same network with trained selectors.
        patches: batches of patches `(N, 3, H, W)` in `[0, 1]`; published are those of the validation images of DIV2K.
            Of networks in two passes, references, then their queries.
        limit: mean bits that an entry of the table must be under, where there is one; 100 leaves all.
        legacy_edge: score patches as the published program does, see `sharpbit.quant.context.edge_score`.

    Raises:
        UsageError: one of them is no such model.
    """
    context = getattr(model.net, "context", None)
    if not isinstance(context, TableContext):
        raise UsageError(f"a table of bits is for a model of method cabm, which {model.arch.name} here is not")
    widths = next((part.bits for part in cadyq.net.modules() if isinstance(part, Mixed)), ())
    if not widths:
        raise UsageError(f"a table of bits comes from a model of method cadyq, which {cadyq.arch.name} here is not")
    seen = (one for batch in patches for one in _samples(cadyq, batch, legacy_edge=legacy_edge))
    table = Table.build(seen, widths)
    context.fill(table, limit, legacy_edge=legacy_edge)
    entry = TabulateBits(len(context.scores), limit, legacy_edge)
    return replace(model, history=(*model.history, entry))


def _samples(cadyq: Model, patches: Tensor, *, legacy_edge: bool) -> list[tuple[float, tuple[int, ...]]]:
    if not in_two_passes(cadyq.net):
        return samples(cadyq.net, patches, legacy_edge=legacy_edge)
    chosen = refqsr.choices(cadyq.net, patches)
    return scored(patches[len(patches) // 2 :], chosen, legacy_edge=legacy_edge)
