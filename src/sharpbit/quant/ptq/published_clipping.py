"""Networks that their authors quantized after training: the names of their tensors, read and written.

Such a file holds the float weights, and both ends of a clipping range for each quantizer. How many bits these have is
in its name at most.

Source: AVC2-UESTC/Frequency-Inspired-Optimization-for-EfficientSR, whose quantizers are called `NAME.quantizer.min_val`
and `NAME.quantizer.max_val`; the architecture says which NAME rounds what (`sharpbit.arch.Clipped`).
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from sharpbit.arch import ARCHITECTURES, Clipped
from sharpbit.errors import ModelError, UsageError
from sharpbit.nn import State
from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.core import quantizers

MARK = ".quantizer."
ENDS = ("min_val", "max_val")
HALF = 0.5  # how far the histogram of a constant reaches to each side


def clipped_of(state: State) -> tuple[str, Clipped] | None:
    """Name of the architecture, and names of its quantizers, of a published quantized state; None if it is none."""
    names = {key.partition(MARK)[0] for key in state if MARK in key}
    if not names:
        return None
    for arch in ARCHITECTURES:
        known = ARCHITECTURES[arch].clipped
        if known is not None and any(_ours(name, known) for name in names):
            return arch, known
    return None


def float_state(state: State, known: Clipped) -> State:
    """The weights alone, under the names that the published float network has for them."""
    return {_moved(key, known, back=True): value for key, value in state.items() if MARK not in key}


def bounds(state: State, known: Clipped) -> dict[str, tuple[Tensor, Tensor]]:
    """Lower and upper bound of each quantizer, by the name that it has here."""
    found = {}
    for name in sorted({key.partition(MARK)[0] for key in state if MARK in key}):
        if re.fullmatch(known.idle, name):
            continue
        own = _ours(name, known)
        low, high = (state.get(f"{name}{MARK}{end}") for end in ENDS)
        if low is None or high is None:
            raise ModelError(f"the quantizer {name} has not both bounds; the file is not complete")
        found[f"{own}.act" if own else f"{name}.kernel"] = (low, high)
    return found


@torch.no_grad()
def fill(net: nn.Module, state: State, known: Clipped) -> None:
    """Give a quantized network the clipping ranges of a published state; in place.

    Raises:
        ModelError: a quantizer is missing, unknown, or has another shape.
    """
    own, pairs = dict(quantizers(net)), bounds(state, known)
    if own.keys() != pairs.keys():
        odd = sorted(own.keys() ^ pairs.keys())
        raise ModelError(f"{len(odd)} quantizers are in the network or in the file alone, such as {odd[0]}")
    for name, pair in pairs.items():
        ends = own[name].range
        assert isinstance(ends, ClippingRange)
        for bound, value in zip((ends.lo, ends.hi), pair, strict=True):
            if value.numel() != bound.numel():
                raise ModelError(f"{name} has {value.numel()} bounds in the file and {bound.numel()} in the network")
            bound.copy_(value.reshape(bound.shape))


@torch.no_grad()
def authors_state(net: nn.Module, known: Clipped) -> dict[str, Tensor]:
    """All tensors of a quantized network under the authors' names, idle quantizers too.

    Args:
        net: quantized and calibrated, not frozen, with clipping ranges alone.
        known: names of its architecture.

    Raises:
        UsageError: the network is frozen, or has other ranges.
    """
    own = dict(quantizers(net))
    if not own or not all(isinstance(fixed.range, ClippingRange) for fixed in own.values()):
        raise UsageError("a network under its authors' names has clipping ranges; write one that is not frozen yet")
    named: dict[str, Tensor] = {}
    for key, value in net.state_dict().items():
        if ".range." not in key:
            named[_moved(key, known)] = value
    for name, fixed in own.items():
        ends = fixed.range
        assert isinstance(ends, ClippingRange)
        place, _, kind = name.rpartition(".")
        theirs = _theirs(place, known) if kind == "act" else place
        for end, bound in zip(ENDS, (ends.lo, ends.hi), strict=True):
            named[f"{theirs}{MARK}{end}"] = bound.detach().clone()
    return {**named, **_idle(net, known)}


def _idle(net: nn.Module, known: Clipped) -> dict[str, Tensor]:
    """Bounds of quantizers that never act: of weights their ends, of the constant before them what contains it."""
    named: dict[str, Tensor] = {}
    for name, part in net.named_modules():
        if not isinstance(part, nn.Linear) or not re.fullmatch(known.idle, name):
            continue
        rows = part.weight.detach().flatten(1)
        theirs = _moved(f"{name}.weight", known).removesuffix(".weight")
        pairs = {theirs: (rows.amin(1), rows.amax(1))}
        if theirs != name:  # a quantizer stands where the layer stood
            before = net.get_submodule(f"{name.rpartition('.')[0]}.0")
            constant = torch.relu(before.bias.detach()) if isinstance(before.bias, Tensor) else rows.new_zeros(1)
            pairs[name] = (constant.amin() - HALF, constant.amax() + HALF)
        for quantizer, pair in pairs.items():
            named |= {f"{quantizer}{MARK}{end}": bound.clone() for end, bound in zip(ENDS, pair, strict=True)}
    return named


def _ours(name: str, known: Clipped) -> str | None:
    """What an activation's quantizer rounds here; None for those of weights."""
    return next(
        (own for place, theirs, ours in known.activations if (own := _swapped(name, place, theirs, ours))), None
    )


def _theirs(name: str, known: Clipped) -> str:
    found = (own for place, theirs, ours in known.activations if (own := _swapped(name, place, ours, theirs)))
    if (first := next(found, None)) is None:
        raise UsageError(f"the authors have no quantizer in front of {name}; quantize with --method adc")
    return first


def _moved(key: str, known: Clipped, *, back: bool = False) -> str:
    """The name of a tensor in the quantized network; `back`: the other way."""
    name, _, kind = key.rpartition(".")
    for place, theirs, ours in known.moved:
        ends = (theirs, ours) if back else (ours, theirs)
        if found := _swapped(name, place, *ends):
            return f"{found}.{kind}"
    return key


def _swapped(name: str, place: str, before: str, after: str) -> str | None:
    """The name with another end, where it has this place and end."""
    if not place:
        return after if name == before else None
    found = re.fullmatch(rf"({place})\.{re.escape(before)}", name)
    return f"{found[1]}.{after}" if found else None
