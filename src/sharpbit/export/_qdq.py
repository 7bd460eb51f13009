"""The frozen network in ONNX: QuantizeLinear and DequantizeLinear around what an engine can run in integers.

ONNX Runtime (seen in 1.31) has two traps here, both found by comparing with it switched to no optimization:

- an integer convolution takes the zero point of the first output channel for all of them, silently;
- where a convolution has a DequantizeLinear in front and a QuantizeLinear behind it, a weight in float is rounded to
  8 bits by the engine itself, silently.

So a layer whose weight needs zero points (asymmetric grids of 8 bits) has its activation written as plain arithmetic
too, which no engine takes for quantization. It runs in float, on exactly the frozen numbers.

A third trap is on x86 before VNNI alone: where it shall keep products of bytes exact, it writes signed bytes as
unsigned ones under a name made from theirs, and cannot open a file in which two layers read the same ones
(`with_own_bytes`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnxscript import opset18 as op
from torch import nn

from sharpbit.quant.frozen import QDQ, Integers
from sharpbit.quant.layers import QuantConv2d, QuantLinear, QuantSite, rounding

BYTE = (0, 255)


def prepared(net: nn.Module) -> nn.Module:
    """A copy of `net` whose quantizers are in the integer types of ONNX, or marked to be written as arithmetic."""
    if not any(isinstance(part, QDQ) for part in net.modules()):
        return net
    net = copy.deepcopy(net)
    for part in net.modules():  # of what no layer takes; the next loop decides for those of layers
        if isinstance(part, QDQ):
            part.plain = not part.integer
    for part in net.modules():
        if not isinstance(part, QuantConv2d | QuantLinear | QuantSite):
            continue
        act, kernel = rounding(part.act), getattr(part, "kernel", None)
        integer = all(item.integer for item in (act, kernel) if isinstance(item, QDQ | Integers))
        for quantizer in (act, kernel):
            if isinstance(quantizer, QDQ | Integers):
                quantizer.plain = not integer
        if integer and isinstance(kernel, Integers):
            kernel.zero = kernel.zero.to(torch.int8)
    for part in net.modules():
        if isinstance(part, QDQ) and not part.plain:
            part.zero, part.least, part.most = (value.to(torch.uint8) for value in (part.zero, part.least, part.most))
    return net


def _qdq(x: Any, scale: Any, zero: Any, least: Any, most: Any, axis: int) -> Any:
    # The clip is between integers, behind QuantizeLinear: in front of it, it would keep engines from fusing.
    return op.DequantizeLinear(op.Clip(op.QuantizeLinear(x, scale, zero), least, most), scale, zero)


def _dequantize(values: Any, scale: Any, zero: Any) -> Any:
    return op.DequantizeLinear(values, scale, zero, axis=0)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.sharpbit.qdq.default: _qdq,
    torch.ops.sharpbit.dequantize.default: _dequantize,
}


def without_idle_clips(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without the clips of bytes to what a byte can be anyway."""
    graph = proto.graph
    numbers = {item.name: item for item in graph.initializer if item.data_type == onnx.TensorProto.UINT8}
    renamed: dict[str, str] = {}
    for node in list(graph.node):
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
        if node.op_type != "Clip" or not all(name in numbers for name in node.input[1:]):
            continue
        if tuple(int(np.asarray(numpy_helper.to_array(numbers[name]))) for name in node.input[1:]) == BYTE:
            renamed[node.output[0]] = node.input[0]
            graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for item in list(graph.initializer):
        if item.name not in used:
            graph.initializer.remove(item)
    return proto


def with_own_bytes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """With signed bytes of its own for each layer, where the tracer has merged those that are equal."""
    graph = proto.graph
    numbers = {item.name: item for item in graph.initializer if item.data_type == onnx.TensorProto.INT8}
    taken, read = {item.name for item in graph.initializer}, set[str]()
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in read:
                own = graph.initializer.add()
                own.CopyFrom(numbers[name])
                own.name = next(free for k in count(2) if (free := f"{name}.{k}") not in taken)
                taken.add(own.name)
                node.input[position] = own.name
            elif name in numbers:
                read.add(name)
    return proto
