"""Multiply-accumulate operations of a network, counted while it runs on tensors without values.

The rules are those of the `thop` profiler, by which the published tables were made. A convolution costs one MAC for
each of its weights at each *output* position, bias not counted; for a transposed one that is too much by the square of
its stride. A PReLU costs one per value; ReLU, tanh, sigmoid, clamp, additions and whatever only moves values, nothing.
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

from sharpbit.errors import UsageError

INPUT = (360, 640)  # height and width of the small picture of the published tables, at every scale
_OPS = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """What one picture costs.

    Attributes:
        macs: multiply-accumulate operations.
        size: height and width of the picture that goes in.
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
    """Count one picture of `size` (height, width) through `net`, which maps `(1, 3, H, W)`; nothing is computed.

    Raises:
        UsageError: the network cannot run on tensors without values.
    """
    shadow = copy.deepcopy(net).to("meta").eval()
    names = {_storage(tensor): name for name, tensor in shadow.state_dict().items()}
    meter = _Meter()
    for name, module in shadow.named_modules():
        module.register_forward_pre_hook(partial(meter.enter, name))
        module.register_forward_hook(meter.leave)
    with torch.no_grad(), meter:
        try:
            shadow(torch.empty(1, 3, *size, device="meta"))
        except (NotImplementedError, RuntimeError) as error:
            reason = str(error).splitlines()[0][:160]
            raise UsageError(f"the cost of {type(net).__name__} cannot be counted without values: {reason}") from None
    unread = tuple(name for storage, name in names.items() if storage not in meter.read)
    return Cost(meter.layers.total(), size, dict(meter.unknown), unread, dict(meter.layers))


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
    *(_OPS.add, _OPS.add_, _OPS.sub, _OPS.rsub, _OPS.neg),
    *(_OPS.pixel_shuffle, _OPS.cat, _OPS.view, _OPS._unsafe_view, _OPS.reshape, _OPS.permute, _OPS.transpose, _OPS.t),
    *(_OPS.expand, _OPS.clone, _OPS.copy_, _OPS.slice, _OPS.select, _OPS.split, _OPS.split_with_sizes, _OPS.squeeze),
    *(_OPS.unsqueeze, _OPS.repeat, _OPS.repeat_interleave, _OPS.index_select, _OPS.detach, _OPS.alias, _OPS.empty),
    *(
        _OPS.roll,
        _OPS.constant_pad_nd,
        _OPS.zeros,
        _OPS.ones,
        _OPS.full,
        _OPS.arange,
        _OPS.scalar_tensor,
        _OPS.lift_fresh,
    ),
}


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator that runs, in modules or not."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: Counter[str] = Counter()
        self.inside = [""]
        self.unknown: Counter[str] = Counter()
        self.read: set[int] = set()

    def enter(self, name: str, module: nn.Module, args: object) -> None:
        """The module of this name begins to run."""
        self.inside.append(name)

    def leave(self, module: nn.Module, args: object, out: object) -> None:
        """It has run."""
        self.inside.pop()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise counting loads the compiler of torch, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operator = func.overloadpacket
        if operator in _RULES:
            self.layers[self.inside[-1]] += _RULES[operator](args, out)
            self.read |= {_storage(item) for item in args if isinstance(item, Tensor)}
        elif operator not in _FREE:
            self.unknown[str(operator).removeprefix("aten.")] += 1
        return out


def _storage(tensor: Tensor) -> int:
    """What views of one tensor have in common."""
    return int(tensor.untyped_storage()._cdata)
