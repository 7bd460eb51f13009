"""Shapes of what common operators give, so that counting needs no rules of PyTorch for tensors without values.

Those are in Python, and the first of them loads sympy and a compiler, which takes longer than all that is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

_OPS = torch.ops.aten
_INPLACE = {_OPS.relu_, _OPS.leaky_relu_, _OPS.add_, _OPS.sub_, _OPS.mul_, _OPS.div_, _OPS.sigmoid_}
_EACH = {
    *(_OPS.relu, _OPS.leaky_relu, _OPS.add, _OPS.sub, _OPS.rsub, _OPS.mul, _OPS.div, _OPS.neg, _OPS.sigmoid),
    *(_OPS.tanh, _OPS.silu, _OPS.gelu, _OPS.clamp, _OPS.clamp_min, _OPS.clamp_max, _OPS.hardtanh),
}


def result(operator: Any, args: Sequence[Any], options: object) -> Tensor | None:
    """An empty tensor of the shape that an operator gives; None where PyTorch has to say.

    Args:
        operator: The operator of PyTorch, such as `torch.ops.aten.relu`.
        args: What it gets; tensors without values, of one type of floats.
        options: What it gets by name.
    """
    given = args[0] if operator is _OPS.cat and args else args
    tensors = [item for item in given if isinstance(item, Tensor)]
    if not tensors or any(not item.is_meta or item.dtype != tensors[0].dtype for item in tensors):
        return None
    if not tensors[0].is_floating_point() or (options and operator not in (_OPS.add, _OPS.sub, _OPS.gelu)):
        return None
    shape = None
    if operator is _OPS.convolution:
        shape = _convolved(*args)
    elif operator is _OPS._prelu_kernel:
        shape = tuple(tensors[0].shape)
    elif operator is _OPS.cat:
        shape = _joined([tuple(item.shape) for item in tensors], *args[1:])
    elif operator in (_OPS.pixel_shuffle, _OPS.pixel_unshuffle):
        shape = _shuffled(tuple(tensors[0].shape), args[1], operator is _OPS.pixel_shuffle)
    elif operator is _OPS.upsample_nearest2d and isinstance(args[1], Sequence) and tensors[0].dim() == 4:
        shape = (*tensors[0].shape[:2], *args[1])
    elif operator in _EACH or operator in _INPLACE:
        shape = _broadcast([tuple(item.shape) for item in tensors])
    if operator in _INPLACE:
        return tensors[0] if shape == tuple(tensors[0].shape) else None
    return None if shape is None else torch.empty(shape, dtype=tensors[0].dtype, device="meta")


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    sides = []
    for same in zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1):
        others = set(same) - {1}
        if len(others) > 1:
            return None
        sides.append(others.pop() if others else 1)
    return tuple(sides[::-1])


def _joined(shapes: Sequence[tuple[int, ...]], place: int = 0) -> tuple[int, ...] | None:
    place %= len(shapes[0])
    if len({(*shape[:place], *shape[place + 1 :]) for shape in shapes}) > 1:
        return None
    return (*shapes[0][:place], sum(shape[place] for shape in shapes), *shapes[0][place + 1 :])


def _shuffled(shape: tuple[int, ...], factor: int, larger: bool) -> tuple[int, ...] | None:
    *others, channels, height, width = shape
    if larger:
        return None if channels % factor**2 else (*others, channels // factor**2, height * factor, width * factor)
    if height % factor or width % factor:
        return None
    return (*others, channels * factor**2, height // factor, width // factor)


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: Sequence[int],
    paddings: Sequence[int],
    dilations: Sequence[int],
    transposed: bool,
    more: Sequence[int],
    groups: int,
) -> tuple[int, ...] | None:
    """The shape after a convolution of two dimensions; None for any other, and for what does not fit."""
    usual = x.dim() == weight.dim() == 4 and len(strides) == len(paddings) == len(dilations) == 2
    if transposed or not usual or x.shape[1] != weight.shape[1] * groups or len(weight) % groups:
        return None
    if bias is not None and bias.shape != weight.shape[:1]:
        return None
    sides = [
        (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for side, kernel, stride, padding, dilation in zip(
            x.shape[2:], weight.shape[2:], strides, paddings, dilations, strict=True
        )
    ]
    return (len(x), len(weight), *sides) if min(sides) > 0 else None
