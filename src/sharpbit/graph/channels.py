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
    """The mean of all pixels, or that of the channels of each: a 1x1 convolution, where they come last."""
    wanted = axes_of(operator.attributes, axes)
    if wanted is None or len(wanted) != 1 or not _last(x, wanted[0]) or not operator.attributes.get("keepdims", 1):
        return mean_of_pixels(tracer, operator, x, axes)
    return View(_mean(tracer, x.value), (x.base[0], (), x.base[2], x.base[3]), (*x.dims[:-1], ()))


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


def _mean(tracer: Tracer, value: str) -> str:
    """The mean of the channels of a map, one channel."""
    n, channels, h, w = tracer.shapes[value]
    weight = {"weight": np.full((1, channels, 1, 1), 1 / channels)}
    return tracer.emit("conv", [value], (n, 1, h, w), conv_settings(channels, 1, bias=False), weight)


MIXED: Mapping[str, Callable[..., Value | list[Value]]] = {
    "MatMul": product,
    "Gemm": product,
    "ReduceMean": mean,
    "LayerNormalization": layer_norm,
}
