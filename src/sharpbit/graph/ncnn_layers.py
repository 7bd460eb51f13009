"""Layers of ncnn as nodes of known operators.

Source: the folder `src/layer` of Tencent/ncnn says what the numbered settings of each layer mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.graph import IMAGE, Node
from sharpbit.modelfile.ncnn import Layer, Weights

Array = NDArray[Any]
MOST = 1 << 16  # channels of a map
SAME = -233  # padding that keeps the size of an image
OPERATIONS = ("add", "sub", "mul", "div", "max", "min")
MODES = {1: "nearest", 2: "bilinear", 3: "bicubic"}
FUNCTIONS = {"Sigmoid": "sigmoid", "TanH": "tanh", "Mish": "mish", "HardSwish": "hardswish", "GELU": "gelu"}


class Builder:
    """The nodes so far, and for each tensor of the file the map that it is."""

    def __init__(self, weights: Weights) -> None:
        self.source, self.nodes = weights, list[Node]()
        self.weights: dict[str, Array] = {}
        self.channels = {IMAGE: 3}
        self.tensors: dict[str, str] = {}

    def emit(
        self, op: str, inputs: list[str], channels: int, settings: Mapping[str, Any] | None = None, **more: Array
    ) -> str:
        """A node is added; its name, which is that of what it makes."""
        if not 1 <= channels <= MOST:
            raise ValueError(f"{channels} channels")
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(Node(name, op, tuple(inputs), settings or {}))
        self.weights |= {f"{name}.{key}": np.asarray(value, np.float32) for key, value in more.items()}
        self.channels[name] = channels
        return name

    def scaled(self, value: str, factor: float, summand: float = 0.0) -> str:
        """A map times a number, and a number more."""
        if (factor, summand) == (1.0, 0.0):
            return value
        count = self.channels[value]
        both = {"weight": np.full(count, factor), "bias": np.full(count, summand)}
        return self.emit("affine", [value], count, {"channels": count}, **both)


def _pairs(layer: Layer, high: tuple[int, int], default: int) -> tuple[int, int]:
    """A setting for width, and that for height, which is the same where it is left out: height and width."""
    wide = layer.whole(high[0], default)
    return layer.whole(high[1], wide), wide


def _activated(builder: Builder, layer: Layer, value: str) -> str | None:
    """What a convolution does with its results."""
    given = layer.settings.get(10, ())
    numbers = given if isinstance(given, tuple) else (given,)
    channels = builder.channels[value]
    match layer.whole(9):
        case 0:
            return value
        case 1:
            return builder.emit("relu", [value], channels)
        case 2 if numbers:
            return builder.emit("leaky", [value], channels, {"slope": float(numbers[0])})
        case 3 if len(numbers) == 2:
            return builder.emit("clip", [value], channels, {"low": float(numbers[0]), "high": float(numbers[1])})
        case 4:
            return builder.emit("function", [value], channels, {"kind": "sigmoid"})
    return None


def _convolution(builder: Builder, layer: Layer, value: str) -> str | None:
    outputs, inputs = layer.whole(0), builder.channels[value]
    kernel, dilation, stride = (
        _pairs(layer, places, one) for places, one in (((1, 11), 1), ((2, 12), 1), ((3, 13), 1))
    )
    left = layer.whole(4)
    right, top = layer.whole(15, left), layer.whole(14, left)
    bottom = layer.whole(16, top)
    groups = layer.whole(7, 1) if layer.kind == "ConvolutionDepthWise" else 1
    if left == SAME and stride == (1, 1):
        top, left = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
        bottom, right = top, left
    count = outputs * inputs // max(1, groups) * kernel[0] * kernel[1]
    odd = min(outputs, groups, top, left, bottom, right, *kernel, *stride, *dilation)
    if (
        odd < 0
        or not outputs
        or layer.whole(6) != count
        or layer.whole(8)
        or layer.whole(19)
        or layer.settings.get(18, 0)
    ):
        return None
    if (top, left) != (bottom, right):
        sides = {"sides": (top, left, bottom, right), "mode": "constant"}
        value, top, left = builder.emit("pad", [value], inputs, sides), 0, 0
    weight = builder.source.kernel(count, layer).reshape(outputs, inputs // groups, *kernel)
    more = {"bias": builder.source.take(outputs)} if layer.whole(5) else {}
    settings = {
        "inputs": inputs,
        "outputs": outputs,
        "kernel": kernel,
        "stride": stride,
        "padding": (top, left),
        "dilation": dilation,
        "groups": groups,
        "bias": bool(more),
    }
    return _activated(builder, layer, builder.emit("conv", [value], outputs, settings, weight=weight, **more))


def _deconvolution(builder: Builder, layer: Layer, value: str) -> str | None:
    outputs, inputs = layer.whole(0), builder.channels[value]
    kernel, dilation, stride = (
        _pairs(layer, places, one) for places, one in (((1, 11), 1), ((2, 12), 1), ((3, 13), 1))
    )
    pads = {layer.whole(number, layer.whole(4)) for number in (4, 14, 15, 16)}
    count = outputs * inputs * kernel[0] * kernel[1]
    if (
        len(pads) > 1
        or min(pads) < 0
        or outputs < 1
        or layer.whole(6) != count
        or any(map(layer.whole, (18, 19, 20, 21, 28)))
    ):
        return None
    weight = builder.source.kernel(count, layer).reshape(outputs, inputs, *kernel).swapaxes(0, 1)
    more = {"bias": builder.source.take(outputs)} if layer.whole(5) else {}
    pad = pads.pop()
    settings = {
        "inputs": inputs,
        "outputs": outputs,
        "kernel": kernel,
        "stride": stride,
        "padding": (pad, pad),
        "dilation": dilation,
        "groups": 1,
        "bias": bool(more),
        "more": (0, 0),
    }
    return _activated(builder, layer, builder.emit("deconv", [value], outputs, settings, weight=weight, **more))


def _input(builder: Builder, layer: Layer) -> str | None:
    return IMAGE if len(layer.outputs) == 1 and not builder.nodes else None


def _relu(builder: Builder, layer: Layer, value: str) -> str:
    slope = layer.settings.get(0, 0.0)
    channels = builder.channels[value]
    if not slope or isinstance(slope, tuple):
        return builder.emit("relu", [value], channels)
    return builder.emit("leaky", [value], channels, {"slope": float(slope)})


def _prelu(builder: Builder, layer: Layer, value: str) -> str | None:
    count, channels = layer.whole(0), builder.channels[value]
    if count not in (1, channels):
        return None
    slopes = np.broadcast_to(builder.source.take(count), channels)
    return builder.emit("prelu", [value], channels, {"channels": channels}, weight=slopes)


def _function(builder: Builder, layer: Layer, value: str) -> str:
    return builder.emit("function", [value], builder.channels[value], {"kind": FUNCTIONS[layer.kind]})


def _swish(builder: Builder, layer: Layer, value: str) -> str:
    channels = builder.channels[value]
    gate = builder.emit("function", [value], channels, {"kind": "sigmoid"})
    return builder.emit("mul", [value, gate], channels)


def _clip(builder: Builder, layer: Layer, value: str) -> str:
    ends = [layer.settings.get(number, 0.0) for number in (0, 1)]
    low, high = (None if isinstance(end, tuple) or abs(end) > 1e37 else float(end) for end in ends)
    return builder.emit("clip", [value], builder.channels[value], {"low": low, "high": high})


def _binary(builder: Builder, layer: Layer, first: str, second: str = "") -> str | None:
    kind = layer.whole(0)
    if not 0 <= kind < len(OPERATIONS):
        return None
    if not second:
        number = layer.settings.get(2, 0.0)
        if not layer.whole(1) or isinstance(number, tuple) or kind > 3:
            return None
        parts = {"add": (1.0, number), "sub": (1.0, -number), "mul": (number, 0.0), "div": (1 / (number or 1e-30), 0.0)}
        return builder.scaled(first, *map(float, parts[OPERATIONS[kind]]))
    counts = builder.channels[first], builder.channels[second]
    if counts[0] != counts[1] and 1 not in counts:
        return None
    return builder.emit(OPERATIONS[kind], [first, second], max(counts))


def _eltwise(builder: Builder, layer: Layer, *given: str) -> str | None:
    factors = layer.settings.get(1, ())
    values = list(given)
    if layer.whole(0) == 1 and isinstance(factors, tuple) and factors:
        values = [builder.scaled(value, float(factor)) for value, factor in zip(given, factors, strict=True)]
    op = {0: "mul", 1: "add", 2: "max"}.get(layer.whole(0))
    if op is None or len({builder.channels[value] for value in values}) > 1:
        return None
    result = values[0]
    for value in values[1:]:
        result = builder.emit(op, [result, value], builder.channels[value])
    return result


def _concat(builder: Builder, layer: Layer, *given: str) -> str | None:
    return (
        builder.emit("concat", list(given), sum(builder.channels[name] for name in given))
        if not layer.whole(0)
        else None
    )


def _slice(builder: Builder, layer: Layer, value: str) -> list[str] | None:
    sizes, channels = layer.settings.get(0, ()), builder.channels[value]
    if layer.whole(1) or not isinstance(sizes, tuple) or len(sizes) != len(layer.outputs):
        return None
    parts, start = list[str](), 0
    for number, size in enumerate(sizes):
        count = int(size) if size != SAME else (channels - start) // (len(sizes) - number)
        if not 1 <= count <= channels - start:
            return None
        settings = {"start": start, "stop": start + count, "step": 1}
        parts.append(builder.emit("select", [value], count, settings))
        start += count
    return parts


def _shuffle(builder: Builder, layer: Layer, value: str) -> str | None:
    factor, channels = layer.whole(0, 1), builder.channels[value]
    if layer.whole(1) or factor < 1 or channels % factor**2:
        return None
    return builder.emit("shuffle", [value], channels // factor**2, {"factor": factor})


def _unshuffle(builder: Builder, layer: Layer, value: str) -> str | None:
    factor, channels = layer.whole(0, 1), builder.channels[value]
    return None if layer.whole(1) else builder.emit("unshuffle", [value], channels * factor**2, {"factor": factor})


def _resize(builder: Builder, layer: Layer, value: str) -> str | None:
    factor = [layer.settings.get(number, 1.0) for number in (1, 2)]
    mode = MODES.get(layer.whole(0))
    if mode is None or layer.whole(3) or layer.whole(4) or any(isinstance(number, tuple) for number in factor):
        return None
    settings = {"factor": tuple(map(float, factor)), "mode": mode, "aligned": bool(layer.whole(6))}  # type: ignore[arg-type]
    return builder.emit("resize", [value], builder.channels[value], settings)


def _pooling(builder: Builder, layer: Layer, value: str) -> str | None:
    if layer.whole(0) != 1 or not layer.whole(4):
        return None
    return builder.emit("mean", [value], builder.channels[value])


RULES: Mapping[str, Callable[..., str | list[str] | None]] = {
    "Input": _input,
    **dict.fromkeys(("Split", "Noop", "Dropout"), lambda builder, layer, value: value),
    **dict.fromkeys(("Convolution", "ConvolutionDepthWise"), _convolution),
    "Deconvolution": _deconvolution,
    "ReLU": _relu,
    "PReLU": _prelu,
    "Clip": _clip,
    "Swish": _swish,
    **dict.fromkeys(FUNCTIONS, _function),
    "BinaryOp": _binary,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "Slice": _slice,
    "PixelShuffle": _shuffle,
    "Reorg": _unshuffle,
    "Interp": _resize,
    "Pooling": _pooling,
}
