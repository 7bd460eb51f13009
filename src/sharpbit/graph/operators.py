"""What each ONNX operator on a map of features becomes (`sharpbit.graph.onnx`); moving of numbers is in `moves`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.graph.channels import MIXED
from sharpbit.graph.moves import MOVES
from sharpbit.graph.onnx import NotRead, Tracer, Value
from sharpbit.graph.pixels import PIXELS
from sharpbit.graph.view import View
from sharpbit.modelfile.onnx_graph import Operator

Array = NDArray[Any]
Rule = Callable[..., Value | list[Value]]


def same(tracer: Tracer, operator: Operator, x: View, *rest: Value | None) -> View:
    """What changes nothing when a network is used."""
    return x


def function(kind: str) -> Rule:
    """A function of each number."""

    def rule(tracer: Tracer, operator: Operator, x: View, *rest: Value | None) -> View:
        return everywhere(tracer, x, "function", {"kind": kind})

    return rule


def everywhere(tracer: Tracer, x: View, op: str, settings: Mapping[str, Any], **weights: Array) -> View:
    """An operator that does the same to each number, so that a tensor may hold them in any order."""
    name = tracer.emit(op, [x.value], tracer.shapes[x.value], settings, weights)
    return View(name, x.base, x.dims)


def clip(tracer: Tracer, operator: Operator, x: View, low: Array | None = None, high: Array | None = None) -> View:
    """A clipping range, which older files have as attributes."""
    bounds = []
    for key, given, none in (("min", low, -3e38), ("max", high, 3e38)):
        value = operator.attributes.get(key) if given is None else np.asarray(given).ravel()[0]
        bounds.append(None if value is None or abs(float(value)) >= abs(none) else float(value))
    if bounds == [0.0, None]:
        return everywhere(tracer, x, "relu", {})
    return everywhere(tracer, x, "clip", {"low": bounds[0], "high": bounds[1]})


def leaky(tracer: Tracer, operator: Operator, x: View) -> View:
    """A slope for negative numbers."""
    return everywhere(tracer, x, "leaky", {"slope": operator.attributes.get("alpha", 0.01)})


def prelu(tracer: Tracer, operator: Operator, x: View, slope: Value) -> View:
    """A slope for each channel."""
    if isinstance(slope, View):
        raise NotRead("its slopes depend on the image")
    if slope.size == 1:
        return everywhere(tracer, x, "leaky", {"slope": float(slope.ravel()[0])})
    value, layout = tracer.map_of(x)
    weight = _channels(tracer, value, slope, layout)
    name = tracer.emit("prelu", [value], tracer.shapes[value], {"channels": len(weight)}, {"weight": weight})
    return tracer.view(name, layout)


def elu(tracer: Tracer, operator: Operator, x: View) -> View:
    """A line above 0 and an exponential curve below it, which ends at `-alpha`."""
    selu = operator.kind == "Selu"
    alpha = float(operator.attributes.get("alpha", 1.6732632 if selu else 1.0))
    curve = everywhere(tracer, x, "function", {"kind": "elu"})
    if alpha != 1:  # what is above 0 keeps its slope
        curve, line = _affine(tracer, curve, alpha, 0), _affine(tracer, everywhere(tracer, x, "relu", {}), 1 - alpha, 0)
        curve = View(tracer.emit("add", [curve.value, line.value], tracer.shapes[x.value]), x.base, x.dims)
    return _affine(tracer, curve, operator.attributes.get("gamma", 1.0507010), 0) if selu else curve


def hard_sigmoid(tracer: Tracer, operator: Operator, x: View) -> View:
    """A straight line that ends at two levels."""
    y = _affine(tracer, x, np.float32(operator.attributes.get("alpha", 0.2)), operator.attributes.get("beta", 0.5))
    return everywhere(tracer, y, "clip", {"low": 0.0, "high": 1.0})


def pair(op: str) -> Rule:
    """An operator of two tensors, of which one may be known."""

    def rule(tracer: Tracer, operator: Operator, a: Value, b: Value) -> View:
        if isinstance(a, View) and isinstance(b, View):
            return _both(tracer, op, a, b)
        x, number, first = (a, b, True) if isinstance(a, View) else (b, a, False)
        assert isinstance(x, View)
        assert isinstance(number, np.ndarray)
        return _with_number(tracer, op, x, number.astype(np.float64), first)

    return rule


def several(op: str) -> Rule:
    """An operator of any number of tensors, two by two."""

    def rule(tracer: Tracer, operator: Operator, *given: Value) -> Value:
        result = given[0]
        for other in given[1:]:
            result = pair(op)(tracer, operator, result, other)  # type: ignore[assignment]
        return result

    return rule


def _both(tracer: Tracer, op: str, a: View, b: View) -> View:
    (x, layout), (y, other) = tracer.map_of(a), tracer.map_of(b)
    shapes = tracer.shapes[x], tracer.shapes[y]
    if layout != other and 1 not in (np.prod(shapes[0][2:]), np.prod(shapes[1][2:])):
        raise NotRead("its two maps lie differently in memory")
    if any(one != two and 1 not in (one, two) for one, two in zip(*shapes, strict=True)):
        raise NotRead(f"its maps are of {shapes[0]} and {shapes[1]}")
    shape = tuple(map(max, *shapes))
    return tracer.view(tracer.emit(op, [x, y], shape), layout if shapes[0] == shape else other)


def _with_number(tracer: Tracer, op: str, x: View, number: Array, first: bool) -> View:
    """The operator of a map and what is known; `first`: the map comes first."""
    if op in ("max", "min"):
        if number.size != 1:
            raise NotRead("its bounds are of several numbers")
        key = ("low", "high") if op == "max" else ("high", "low")
        return everywhere(tracer, x, "clip", {key[0]: float(number.ravel()[0]), key[1]: None})
    if op == "div" and not first:
        return _affine(tracer, everywhere(tracer, x, "function", {"kind": "reciprocal"}), number, 0)
    zero, one = np.zeros_like(number), np.ones_like(number)
    if op == "div":
        with np.errstate(divide="ignore"):
            op, number = "mul", 1 / number
    factor, summand = {
        "add": (one, number),
        "sub": (one, -number) if first else (-one, number),
        "mul": (number, zero),
    }[op]
    return _affine(tracer, x, factor, summand)


def _affine(tracer: Tracer, x: View, factor: Any, summand: Any) -> View:
    """A factor and a summand, of one number or one for each channel."""
    factor, summand = np.broadcast_arrays(np.asarray(factor, np.float64), np.asarray(summand, np.float64))
    if factor.size == 1:
        channels = tracer.shapes[x.value][1]
        both = {"weight": np.full(channels, factor.item()), "bias": np.full(channels, summand.item())}
        return everywhere(tracer, x, "affine", {"channels": channels}, **both)
    value, layout = tracer.map_of(x)
    both = {
        "weight": _channels(tracer, value, factor, layout, len(x.dims)),
        "bias": _channels(tracer, value, summand, layout, len(x.dims)),
    }
    shape = tracer.shapes[value]
    if len(both["weight"]) != shape[1]:  # one channel that becomes several
        value = tracer.select(value, [0] * len(both["weight"]))
        shape = tracer.shapes[value]
    return tracer.view(tracer.emit("affine", [value], shape, {"channels": shape[1]}, both), layout)


def _channels(tracer: Tracer, value: str, numbers: Array, layout: str, rank: int = 4) -> Array:
    """Numbers that are alike at all pixels, one for each channel of a map."""
    if rank == 2:
        numbers = numbers.reshape((*(1,) * (2 - numbers.ndim), *numbers.shape, 1, 1))
    spread = numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape)
    n, c, h, w = (spread.shape[layout.index(axis)] for axis in "nchw")
    channels = tracer.shapes[value][1]
    if (n, h, w) != (1, 1, 1) or (c not in (1, channels) and channels != 1):
        raise NotRead(f"it takes numbers of {list(numbers.shape)} that are not one for each channel")
    return np.broadcast_to(spread.ravel(), max(c, channels)).copy()


def batch_norm(tracer: Tracer, operator: Operator, x: View, *given: Array) -> View:
    """Statistics that do not change any more."""
    scale, bias, mean, variance = (value.astype(np.float64) for value in given)
    factor = scale / np.sqrt(variance + operator.attributes.get("epsilon", 1e-5))
    value, layout = tracer.map_of(x)
    both = {"weight": factor, "bias": bias - mean * factor}
    shape = tracer.shapes[value]
    return tracer.view(tracer.emit("affine", [value], shape, {"channels": shape[1]}, both), layout)


def power(tracer: Tracer, operator: Operator, x: View, exponent: Value) -> View:
    """The square and the root."""
    if isinstance(exponent, np.ndarray) and exponent.size == 1:
        if exponent.item() == 2:
            name = tracer.emit("mul", [x.value, x.value], tracer.shapes[x.value])
            return View(name, x.base, x.dims)
        if exponent.item() == 0.5:
            return everywhere(tracer, x, "function", {"kind": "sqrt"})
    raise NotRead("an exponent other than 2 and 0.5")


def negative(tracer: Tracer, operator: Operator, x: View) -> View:
    """The other sign."""
    return _affine(tracer, x, -1.0, 0.0)


RULES: Mapping[str, Rule] = {
    **MOVES,
    **PIXELS,
    **dict.fromkeys(("Identity", "Dropout", "Cast", "CastLike"), same),
    "Relu": lambda tracer, operator, x: everywhere(tracer, x, "relu", {}),
    "LeakyRelu": leaky,
    "PRelu": prelu,
    "Clip": clip,
    **dict.fromkeys(("Elu", "Selu"), elu),
    "HardSigmoid": hard_sigmoid,
    "BatchNormalization": batch_norm,
    "Pow": power,
    "Neg": negative,
    **MIXED,
    "Sum": several("add"),
    "Max": several("max"),
    "Min": several("min"),
    **{kind: pair(kind.lower()) for kind in ("Add", "Sub", "Mul", "Div")},
    **{
        kind: function(kind.lower())
        for kind in (
            *(
                "Sigmoid",
                "Tanh",
                "Exp",
                "Sqrt",
                "Abs",
                "Log",
                "Erf",
                "Softplus",
                "Softsign",
                "Reciprocal",
                "Sin",
                "Cos",
            ),
            *("Gelu", "Mish", "HardSwish", "Floor", "Ceil", "Round"),
        )
    },
}
