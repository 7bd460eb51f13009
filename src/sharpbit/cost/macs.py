"""Multiply-accumulate operations of a network, counted while it runs on tensors without values.

The rules are those of the `thop` profiler, by which the published tables were made. A convolution costs one MAC for
each of its weights at each *output* position, bias not counted; for a transposed one that is too much by the square of
its stride. A PReLU costs one per value; other activations, clips, additions and whatever only moves values, nothing.
An operator that is in no rule is listed.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sharpbit.cost import shapes
from sharpbit.errors import UsageError
from sharpbit.quant.frozen import QDQ, Integers
from sharpbit.quant.grid import Fixed

INPUT = (360, 640)  # height and width of the LR image of the published tables, at every scale
_OPS = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """What one image costs.

    Attributes:
        macs: multiply-accumulate operations.
        size: height and width of the image that goes in.
        operators: calls of each operator that no rule counts.
        tensors: names of stored tensors that no counted operator reads.
        layers: the operations by the name of the innermost module in which they ran.
    """

    macs: int
    size: tuple[int, int]
    operators: Mapping[str, int]
    tensors: tuple[str, ...]
    layers: Mapping[str, int] = field(default_factory=dict)


def count(net: nn.Module, size: tuple[int, int] = INPUT) -> Cost:
    """Count one image of `size` (height, width) through `net`, which maps `(1, 3, H, W)`; nothing is computed.

    Raises:
        UsageError: the network cannot run on tensors without values.
    """
    meter = Meter()
    unread = run(net, size, meter)
    return Cost(meter.spent.total(), size, dict(meter.unknown), unread, dict(meter.spent))


def run(net: nn.Module, size: tuple[int, int], meter: Meter) -> tuple[str, ...]:
    """Let `meter` watch one image; returns the names of stored tensors that no counted operator reads.

    Quantizers are not part of the network: what they compute is not counted, what they store is not asked for.

    Raises:
        UsageError: what `count` raises.
    """
    shadow = copy.deepcopy(net).to("meta").eval()
    inside = [name for name, part in shadow.named_modules() if isinstance(part, Fixed | QDQ)]
    inside += [f"{name}.{key}" for name, part in shadow.named_modules() if isinstance(part, Integers) for key in _ASIDE]
    names = {storage(tensor): name for name, tensor in shadow.state_dict().items() if not _under(name, inside)}
    meter.watch(shadow)
    for name, module in shadow.named_modules():
        module.register_forward_pre_hook(partial(meter.enter, name))
        module.register_forward_hook(meter.leave)
    with torch.no_grad(), meter:
        try:
            shadow(torch.empty(1, 3, *size, device="meta"))
        except (NotImplementedError, RuntimeError) as error:
            reason = str(error).splitlines()[0][:160]
            raise UsageError(f"the cost of {type(net).__name__} cannot be counted without values: {reason}") from None
    return tuple(name for key, name in names.items() if key not in meter.read)


_ASIDE = ("scale", "zero")


def _under(name: str, prefixes: list[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _applied(args: tuple[Any, ...], out: Tensor) -> int:
    return out[:, 0].numel() * int(args[1].numel())


def _product(a: Tensor, b: Tensor) -> int:
    return a.numel() * b.shape[-1]


_RULES: dict[Any, Callable[[tuple[Any, ...], Any], int]] = {
    _OPS.convolution: _applied,
    _OPS._prelu_kernel: lambda args, out: int(out.numel()),
    _OPS.mm: lambda args, out: _product(args[0], args[1]),
    _OPS.bmm: lambda args, out: _product(args[0], args[1]),
    _OPS.addmm: lambda args, out: _product(args[1], args[2]),
}
_FREE = {
    *(_OPS.relu, _OPS.relu_, _OPS.tanh, _OPS.sigmoid, _OPS.clamp, _OPS.clamp_min, _OPS.clamp_max, _OPS.hardtanh),
    *(_OPS.leaky_relu, _OPS.leaky_relu_, _OPS.elu, _OPS.silu, _OPS.gelu, _OPS.mish, _OPS.hardsigmoid, _OPS.hardswish),
    *(_OPS.minimum, _OPS.maximum, _OPS.upsample_nearest2d, _OPS.pixel_unshuffle),
    *(_OPS.add, _OPS.add_, _OPS.sub, _OPS.rsub, _OPS.neg),
    *(_OPS.pixel_shuffle, _OPS.cat, _OPS.view, _OPS._unsafe_view, _OPS.reshape, _OPS.permute, _OPS.transpose, _OPS.t),
    *(_OPS.expand, _OPS.clone, _OPS.copy_, _OPS.slice, _OPS.select, _OPS.split, _OPS.split_with_sizes, _OPS.squeeze),
    *(_OPS.unsqueeze, _OPS.repeat, _OPS.repeat_interleave, _OPS.index_select, _OPS.detach, _OPS.alias, _OPS.empty),
    *(_OPS.unbind, _OPS.stack, _OPS.index, _OPS.roll, _OPS.remainder),  # of places, not of values, the last one
    *(_OPS.constant_pad_nd, _OPS.replication_pad2d, _OPS.reflection_pad2d, _OPS.zeros, _OPS.ones, _OPS.ones_like),
    *(_OPS.full, _OPS.new_full, _OPS.arange, _OPS.scalar_tensor, _OPS.lift_fresh),
}


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator that runs, in modules or not, but for those inside quantizers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.spent: Counter[str] = Counter()
        self.inside = [""]
        self.unknown: Counter[str] = Counter()
        self.read: set[int] = set()
        self._paused = False
        self._source: dict[int, int] = {}  # from the storage of a rounded tensor to that of what was rounded
        self._kept: list[Any] = []  # storages are told apart by address, so none may be freed meanwhile

    def enter(self, name: str, module: nn.Module, args: object) -> None:
        """The module of this name begins to run."""
        self.inside.append(name)

    def leave(self, module: nn.Module, args: object, out: object) -> None:
        """It has run."""
        self.inside.pop()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise counting loads the compiler of torch, which takes seconds

    def watch(self, net: nn.Module) -> None:
        """Look away while a quantizer of `net` runs, and note what comes out."""
        for part in net.modules():
            if isinstance(part, Fixed | QDQ | Integers):
                part.register_forward_pre_hook(self._pause)
                part.register_forward_hook(self._resume)

    def rounded(self, quantizer: nn.Module, out: Tensor) -> None:
        """`out` came out of `quantizer`."""

    def counted(self, operator: Any, args: tuple[Any, ...], macs: int) -> None:
        """An operator that costs something ran."""
        self.spent[self.inside[-1]] += macs
        keys = {storage(item) for item in args if isinstance(item, Tensor)}
        self.read |= keys | {self._source[key] for key in keys if key in self._source}

    def free(self, operator: Any, args: tuple[Any, ...], out: Any) -> None:
        """An operator that costs nothing ran."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operator = func.overloadpacket
        out = shapes.result(operator, args, kwargs)
        if out is None:
            out = func(*args, **(kwargs or {}))
        self._kept.append(out)
        if self._paused:
            return out
        if operator in _RULES:
            self.counted(operator, args, _RULES[operator](args, out))
        elif operator in _FREE:
            self.free(operator, args, out)
        else:
            self.unknown[str(operator).removeprefix("aten.")] += 1
        return out

    def _pause(self, quantizer: nn.Module, args: Any) -> None:
        self._paused = True

    def _resume(self, quantizer: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
        self._paused = False
        taken = quantizer.values if isinstance(quantizer, Integers) else args[0]
        if out is not taken:
            self._source[storage(out)] = storage(taken)
            self.rounded(quantizer, out)


def storage(tensor: Tensor) -> int:
    """What views of one tensor have in common."""
    return int(tensor.untyped_storage()._cdata)
