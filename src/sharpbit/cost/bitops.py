"""What a quantized network costs in bit operations, metered from outside.

A tensor that a quantizer gave has the bits of that quantizer, also behind operators that only move values (views,
concatenations, padding with zeros, pixel shuffles) and behind ReLU; each convolution and matrix product looks its
two operands up. A tensor that nobody rounded has 32 bits. Nothing is left out: first and last layers count, and what no
rule counts is listed. Where patches choose their bits, the widest are counted, and what chooses; `BitCost.at` counts
those that a patch has chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from sharpbit.cost.macs import INPUT, Meter, run, storage
from sharpbit.quant.adaptive import Mixed
from sharpbit.quant.frozen import QDQ, Integers
from sharpbit.quant.grid import FLOAT, Fixed
from sharpbit.quant.layers import QuantConv2d, QuantLinear

Choice = tuple[int, ...]

_OPS = torch.ops.aten
_OPERANDS = {
    _OPS.convolution: (0, 1),
    _OPS.mm: (0, 1),
    _OPS.bmm: (0, 1),
    _OPS.addmm: (1, 2),
    _OPS._prelu_kernel: (0, 1),
}

_Width = tuple[int, Choice]
_UNROUNDED: _Width = (FLOAT, ())
_FEATURES = {_OPS.bmm: (0, 1), _OPS._prelu_kernel: ()}  # which operands are activations; else the first

_KEEP = {  # what comes out lies on the grid of what went in
    *(_OPS.relu, _OPS.relu_, _OPS.pixel_shuffle, _OPS.cat, _OPS.view, _OPS._unsafe_view, _OPS.reshape, _OPS.permute),
    *(_OPS.transpose, _OPS.t, _OPS.expand, _OPS.clone, _OPS.slice, _OPS.select, _OPS.split, _OPS.split_with_sizes),
    *(_OPS.squeeze, _OPS.unsqueeze, _OPS.repeat, _OPS.repeat_interleave, _OPS.index_select, _OPS.detach, _OPS.alias),
    _OPS.constant_pad_nd,
}


@dataclass(frozen=True)
class LayerBits:
    """One operator that multiplies.

    Attributes:
        name: name of the module that it runs in.
        operator: such as `convolution` or `bmm`.
        macs: multiply-accumulate operations.
        act: bits of the first operand.
        weight: bits of the second: a weight, or in attention an activation too.
        features: how many values the operands have that are activations: the first, in attention both; 0 for a PReLU,
            which takes what a convolution has just summed up.
        act_choice: number of the `Mixed` that chose the bits of the first, and which of its runs that was, both from 0;
            empty if nothing chooses.
        weight_choice: bits of the second operand.
    """

    name: str
    operator: str
    macs: int
    act: float
    weight: float
    features: tuple[int, int] = (0, 0)
    act_choice: Choice = ()
    weight_choice: Choice = ()

    @property
    def bitops(self) -> float:
        """MACs times both widths."""
        return self.macs * self.act * self.weight


@dataclass(frozen=True)
class BitCost:
    """What one image costs.

    Attributes:
        layers: every layer, by the order in which they run.
        size: height and width of the image that goes in.
        operators: calls of each operator that no rule counts.
        tensors: names of stored tensors that no counted operator reads.
        bytes: size of the model: weights at their widths, and every other number that it needs, one scale a grid
            included, at 32 bits.
    """

    layers: tuple[LayerBits, ...]
    size: tuple[int, int]
    operators: Mapping[str, int]
    tensors: tuple[str, ...]
    bytes: int

    @property
    def bitops(self) -> float:
        """The honest rule: the sum over all layers of MACs x bits x bits."""
        return sum(layer.bitops for layer in self.layers)

    @property
    def macs(self) -> int:
        """The sum over all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def feature_bits(self) -> float:
        """Average feature bits: the mean over all values that are multiplied, those in float too."""
        values = sum(sum(layer.features) for layer in self.layers)
        bits = sum(layer.features[0] * layer.act + layer.features[1] * layer.weight for layer in self.layers)
        return bits / values if values else float(FLOAT)

    def at(self, bits: Mapping[Choice, float]) -> BitCost:
        """The same where each run of each `Mixed` took so many bits."""
        layers = (
            replace(
                layer,
                act=bits.get(layer.act_choice, layer.act),
                weight=bits.get(layer.weight_choice, layer.weight),
            )
            for layer in self.layers
        )
        return replace(self, layers=tuple(layers))

    def published(self, body: Iterable[str]) -> float:
        """The rule of CADyQ, CABM and RefQSR: `2 MACs x bits x bits / 32^2` over the modules that `body` names.

        Heads, tails and whatever else the papers leave out are left out. Its unit is a 32-bit operation.

        Args:
            body: globs over names of modules.
        """
        globs = tuple(body)
        chosen = [layer for layer in self.layers if any(fnmatchcase(layer.name, glob) for glob in globs)]
        return 2 * sum(layer.bitops for layer in chosen) / FLOAT**2


def count(net: nn.Module, size: tuple[int, int] = INPUT) -> BitCost:
    """Count one image of `size` (height, width) through `net`, which maps `(1, 3, H, W)`; nothing is computed.

    Raises:
        UsageError: the network cannot run on tensors without values.
    """
    meter = BitMeter()
    unread = run(net, size, meter)
    return BitCost(tuple(meter.layers), size, dict(meter.unknown), unread, model_bytes(net))


def total(parts: Sequence[tuple[BitCost, int]]) -> BitCost:
    """What images of several sizes cost together: the cost of each size, and how many there are of it."""
    first = parts[0][0]
    if len(parts) == 1 and parts[0][1] == 1:
        return first
    layers = []
    for same in zip(*(cost.layers for cost, _ in parts), strict=True):
        times = [(layer, number) for layer, (_, number) in zip(same, parts, strict=True)]
        macs = sum(layer.macs * number for layer, number in times)
        left, right = (sum(layer.features[k] * number for layer, number in times) for k in (0, 1))
        layers.append(replace(same[0], macs=macs, features=(left, right)))
    return replace(first, layers=tuple(layers))


def model_bytes(net: nn.Module) -> int:
    """See `BitCost.bytes`."""
    inside = {id(part) for part in net.modules() if isinstance(part, Fixed | QDQ | Integers) for part in part.modules()}
    total = 0.0
    seen: set[int] = set()
    for part in net.modules():
        if isinstance(part, Fixed) and part.bits != FLOAT:
            total += 4 * (part.range.channels or 1)
        elif isinstance(part, QDQ):
            total += 4 * part.scale.numel()
        elif isinstance(part, Integers):
            total += ceil(part.values.numel() * part.bits / 8) + 4 * part.scale.numel()
        for own in () if id(part) in inside else part.parameters(recurse=False):
            kernel = getattr(part, "kernel", None)
            rounded = isinstance(part, QuantConv2d | QuantLinear) and own is part.weight
            bits = kernel.bits if rounded and isinstance(kernel, Fixed) else FLOAT
            total += 0 if id(own) in seen else ceil(own.numel() * bits / 8)
            seen.add(id(own))
    return int(total)


class BitMeter(Meter):  # type: ignore[no-untyped-call]
    """Notes the bits of each tensor that a quantizer gave, and looks them up where something multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[LayerBits] = []
        self._bits: dict[int, _Width] = {}
        self._inside: list[str] = []
        self._runs: Counter[int] = Counter()

    def watch(self, net: nn.Module) -> None:
        """See `Meter`."""
        super().watch(net)
        for name, part in net.named_modules():
            part.register_forward_pre_hook(lambda part, args, name=name: self._inside.append(name))
            part.register_forward_hook(lambda part, args, out: self._leave())
            if isinstance(part, Mixed):
                part.register_forward_hook(self._chosen)

    def rounded(self, quantizer: nn.Module, out: Tensor) -> None:
        """See `Meter`."""
        bits = quantizer.bits
        assert isinstance(bits, int)
        self._note(out, bits)

    def counted(self, operator: Any, args: tuple[Any, ...], macs: int) -> None:
        """See `Meter`."""
        super().counted(operator, args, macs)
        name = str(operator).removeprefix("aten.")
        operands = [args[place] for place in _OPERANDS[operator]]
        (act, chosen), (weight, other) = (self._of(operand) for operand in operands)
        values = [operand.numel() if k in _FEATURES.get(operator, (0,)) else 0 for k, operand in enumerate(operands)]
        inside = self._inside[-1] if self._inside else ""
        self.layers.append(LayerBits(inside, name, macs, act, weight, (values[0], values[1]), chosen, other))

    def free(self, operator: Any, args: tuple[Any, ...], out: Any) -> None:
        """See `Meter`."""
        for result in out if isinstance(out, list | tuple) else (out,):
            if operator in _KEEP:
                taken = [item for arg in args for item in (arg if isinstance(arg, list | tuple) else (arg,))]
                widths = (self._of(item) for item in taken if isinstance(item, Tensor))
                self._note(result, *max(widths, default=_UNROUNDED))
            elif str(operator).endswith("_"):  # in place, such as a sum into a rounded tensor
                self._note(result, *_UNROUNDED)

    def _chosen(self, mixed: Mixed, args: Any, out: Tensor) -> None:
        self._note(out, max(mixed.bits), (mixed.place, self._runs[mixed.place]))
        self._runs[mixed.place] += 1

    def _note(self, tensor: Tensor, bits: int, choice: Choice = ()) -> None:
        self._bits[storage(tensor)] = bits, choice

    def _of(self, tensor: Tensor) -> _Width:
        return self._bits.get(storage(tensor), _UNROUNDED)

    def _leave(self) -> None:
        self._inside.pop()
