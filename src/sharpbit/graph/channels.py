"""ONNX operators in which the channels of a pixel meet: products with matrices, and statistics of the channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.graph.constants import axes_of
from sharpbit.graph.onnx import NotRead, Tracer, Value
from sharpbit.graph.pixels import mean as mean_of_pixels
from sharpbit.graph.view import Atom, View
from sharpbit.modelfile.onnx_graph import Operator

Array = NDArray[Any]


def product(tracer: Tracer, operator: Operator, x: Value, weight: Value, bias: Value | None = None) -> View:
    """A matrix product with known numbers: a 1x1 convolution, where the last dimension is the channels."""
    if not isinstance(x, View) or isinstance(weight, View) or isinstance(bias, View) or weight.ndim != 2:
        raise NotRead("a product of two tensors that depend on the image")
    gemm = operator.kind == "Gemm"
    if gemm and (operator.attributes.get("transA") or operator.attributes.get("alpha", 1.0) != 1):
        raise NotRead("")
    if not x.dims or x.dims[-1] != x.base[1]:
        raise NotRead("its last dimension is not the channels of a map of features")
    rows = weight if gemm and operator.attributes.get("transB") else weight.T
    return _mixed(tracer, x, rows, None if bias is None else bias * operator.attributes.get("beta", 1.0))


def _mixed(tracer: Tracer, x: View, rows: Array, bias: Array | None) -> View:
    n, _, h, w = tracer.shapes[x.value]
    outputs, inputs = rows.shape
    settings = conv_settings(inputs, outputs, bias=bias is not None)
    weights = {"weight": rows[:, :, None, None]} | ({} if bias is None else {"bias": np.broadcast_to(bias, outputs)})
    name = tracer.emit("conv", [x.value], (n, outputs, h, w), settings, weights)
    row = (Atom("c", outputs),) if outputs != 1 else ()
    return View(name, (x.base[0], row, x.base[2], x.base[3]), (*x.dims[:-1], row))


def conv_settings(inputs: int, outputs: int, *, bias: bool) -> dict[str, Any]:
    """The settings of a 1x1 convolution."""
    one = (1, 1)
    plain = {"kernel": one, "stride": one, "padding": (0, 0), "dilation": one, "groups": 1}
    return {"inputs": inputs, "outputs": outputs, **plain, "bias": bias}


def mean(tracer: Tracer, operator: Operator, x: View, axes: Array | None = None) -> View:
    """The mean of all pixels, or that of the channels of each: a 1x1 convolution."""
    wanted = axes_of(operator.attributes, axes)
    if wanted is None or len(wanted) != 1 or not _holds_channels(x, wanted[0]):
        return mean_of_pixels(tracer, operator, x, axes)
    return _one_channel(operator, x, wanted[0], _mean(tracer, x.value))


def total(tracer: Tracer, operator: Operator, x: View, axes: Array | None = None) -> View:
    """The sum of the channels of each pixel: a 1x1 convolution."""
    axis = _only_channels(operator, x, axes, "sum")
    return _one_channel(operator, x, axis, _mean(tracer, x.value, whole=True))


def extreme(op: str) -> Callable[..., View]:
    """The largest or the smallest of the channels of each pixel: two halves of them are compared until one is left."""

    def rule(tracer: Tracer, operator: Operator, x: View, axes: Array | None = None) -> View:
        axis = _only_channels(operator, x, axes, op)
        value, (n, channels, h, w) = x.value, tracer.shapes[x.value]
        while channels > 1:
            half = channels // 2
            parts = [tracer.select(value, range(begin, begin + half)) for begin in (0, half)]
            rest = tracer.select(value, range(2 * half, channels)) if channels % 2 else ""
            value, channels = tracer.emit(op, parts, (n, half, h, w)), half + channels % 2
            if rest:
                value = tracer.emit("concat", [value, rest], (n, channels, h, w))
        return _one_channel(operator, x, axis, value)

    return rule


def softmax(tracer: Tracer, operator: Operator, x: View) -> View:
    """Of the channels of each pixel: numbers less the logarithm of the sum of all exponentials, as an exponent."""
    axis = operator.attributes.get("axis", -1 if tracer.opset >= 13 else 1)
    if not _holds_channels(x, axis) or (tracer.opset < 13 and axis % len(x.dims) != len(x.dims) - 1 and not _flat(x)):
        raise NotRead("a softmax of something else than the channels of each pixel, such as that of attention")
    shape = tracer.shapes[x.value]
    one = (shape[0], 1, *shape[2:])
    powers = tracer.emit("function", [x.value], shape, {"kind": "exp"})
    both = tracer.emit("function", [_mean(tracer, powers, whole=True)], one, {"kind": "log"})
    share = tracer.emit("function", [tracer.emit("sub", [x.value, both], shape)], shape, {"kind": "exp"})
    return View(share, x.base, x.dims)


def largest_pixel(tracer: Tracer, operator: Operator, x: View) -> View:
    """The largest of all pixels, which is refused."""
    raise NotRead("it takes the largest of all pixels; train with their mean (GlobalAveragePool), which is read")


def _flat(x: View) -> bool:
    """Whether there is nothing but channels: before version 13 all axes from one on were taken together."""
    return not x.base[2] and not x.base[3]


def _holds_channels(x: View, axis: int) -> bool:
    """Whether an axis holds the channels, all of them and nothing else."""
    axis %= len(x.dims)
    return bool(x.dims[axis]) and x.dims[axis] == x.base[1]


def _only_channels(operator: Operator, x: View, axes: Array | None, what: str) -> int:
    wanted = axes_of(operator.attributes, axes)
    if wanted is None or len(wanted) != 1 or not _holds_channels(x, wanted[0]):
        pixels = wanted is not None and len(wanted) == 2 and len(x.dims) == 4
        if pixels and what == "max":
            largest_pixel(Tracer(0), operator, x)
        raise NotRead(f"a {what} of something else than the channels of each pixel")
    return wanted[0]


def _one_channel(operator: Operator, x: View, axis: int, value: str) -> View:
    """A map of one channel in the place of one of several, whose axis is left out where the operator says so."""
    axis %= len(x.dims)
    kept: tuple[tuple[Atom, ...], ...] = ((),) if operator.attributes.get("keepdims", 1) else ()
    dims = (*x.dims[:axis], *kept, *x.dims[axis + 1 :])
    return View(value, (x.base[0], (), x.base[2], x.base[3]), dims)


def layer_norm(tracer: Tracer, operator: Operator, x: View, factor: Value, summand: Value | None = None) -> View:
    """Channels without their mean, divided by their deviation; then a factor and a summand for each."""
    if not _last(x, operator.attributes.get("axis", -1)) or isinstance(factor, View) or isinstance(summand, View):
        raise NotRead("it normalizes something else than the channels, which must come last")
    shape = tracer.shapes[x.value]
    channels, one = shape[1], (shape[0], 1, *shape[2:])
    apart = tracer.emit("sub", [x.value, _mean(tracer, x.value)], shape)
    square = tracer.emit("mul", [apart, apart], shape)
    small = {"weight": np.ones(1), "bias": np.full(1, operator.attributes.get("epsilon", 1e-5))}
    variance = tracer.emit("affine", [_mean(tracer, square)], one, {"channels": 1}, small)
    deviation = tracer.emit("function", [variance], one, {"kind": "sqrt"})
    unit = tracer.emit("div", [apart, deviation], shape)
    both = {"weight": factor.ravel(), "bias": np.zeros(channels) if summand is None else summand.ravel()}
    return View(tracer.emit("affine", [unit], shape, {"channels": channels}, both), x.base, x.dims)


def _last(x: View, axis: int) -> bool:
    """Whether an axis is the last one, and holds the channels."""
    return axis in (-1, len(x.dims) - 1) and bool(x.dims[-1]) and x.dims[-1] == x.base[1]


def _mean(tracer: Tracer, value: str, *, whole: bool = False) -> str:
    """The mean of the channels of a map, one channel, or their sum."""
    n, channels, h, w = tracer.shapes[value]
    weight = {"weight": np.full((1, channels, 1, 1), 1.0 if whole else 1 / channels)}
    return tracer.emit("conv", [value], (n, 1, h, w), conv_settings(channels, 1, bias=False), weight)


MIXED: Mapping[str, Callable[..., Value | list[Value]]] = {
    "MatMul": product,
    "Gemm": product,
    "ReduceMean": mean,
    "LayerNormalization": layer_norm,
    "ReduceSum": total,
    **{f"Reduce{op.capitalize()}": extreme(op) for op in ("max", "min")},
    "Softmax": softmax,
    "GlobalMaxPool": largest_pixel,
}
