"""Operators of ONNX on numbers that are known when a file is read, such as sizes: computed by numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.modelfile.onnx_graph import TYPES, Operator

Array = NDArray[Any]
LARGEST = 1 << 24  # numbers that are computed at most


def computed(operator: Operator, given: Sequence[Array | None]) -> tuple[Array, ...] | None:
    """What comes out; None for an operator that is not in the table, or too many numbers.

    Raises:
        ValueError, TypeError, IndexError, KeyError: The numbers do not fit the operator.
    """
    rule = _RULES.get(operator.kind)
    if rule is None or sum(value.size for value in given if value is not None) > LARGEST:
        return None
    with np.errstate(all="ignore"):
        out = rule(operator.attributes, *given)
    return tuple(map(np.asarray, out)) if isinstance(out, list) else (np.asarray(out),)


def axes_of(attributes: Mapping[str, Any], given: Array | None = None) -> tuple[int, ...] | None:
    """The axes of an operator, which are an attribute in older files and an input in newer ones."""
    found = attributes.get("axes") if given is None else given.ravel().tolist()
    return None if found is None else tuple(map(int, found))


def slices(
    rank: int, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> tuple[slice, ...]:
    """The slices of a `Slice` for a tensor of so many dimensions."""
    places = range(rank)[: len(starts)] if axes is None else axes.ravel().tolist()
    found = [slice(None)] * rank
    for number, place in enumerate(places):
        step = 1 if steps is None else int(steps.ravel()[number])
        start, end = int(starts.ravel()[number]), int(ends.ravel()[number])
        found[place] = slice(start, None if step < 0 and end < -(1 << 30) else end, step)
    return tuple(found)


def target(shape: Sequence[int], wanted: Array, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    """The sides that `Reshape` gives a tensor of `shape`."""
    keeps = not attributes.get("allowzero", 0)
    sides = [
        int(shape[place]) if side == 0 and keeps else int(side) for place, side in enumerate(wanted.ravel().tolist())
    ]
    if -1 in sides:
        rest = int(np.prod([side for side in sides if side != -1], dtype=np.int64))
        sides[sides.index(-1)] = int(np.prod(shape, dtype=np.int64)) // max(1, rest)
    return tuple(sides)


def sections(attributes: Mapping[str, Any], size: int, given: Array | None, outputs: int) -> list[int]:
    """The sizes that `Split` cuts an axis of `size` into."""
    if given is not None:
        return [int(side) for side in given.ravel()]
    if "split" in attributes:
        return list(attributes["split"])
    most = -(-size // outputs)
    return [min(most, size - most * number) for number in range(outputs)]


def unsqueezed(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The sides with ones put in at `axes`."""
    rank = len(shape) + len(axes)
    ones, sides = {axis % rank for axis in axes}, iter(shape)
    return tuple(1 if place in ones else next(sides) for place in range(rank))


def squeezed(shape: Sequence[int], axes: Sequence[int] | None) -> tuple[int, ...]:
    """The sides without the ones at `axes`, or without any."""
    gone = (
        {axis % len(shape) for axis in axes} if axes is not None else {k for k, side in enumerate(shape) if side == 1}
    )
    return tuple(side for place, side in enumerate(shape) if place not in gone)


def _slice(attributes: Mapping[str, Any], x: Array, *given: Array) -> Array:
    if not given:
        given = tuple(np.asarray(attributes[key]) for key in ("starts", "ends", "axes") if key in attributes)
    return x[slices(x.ndim, *given)]


def _shape(attributes: Mapping[str, Any], x: Array) -> Array:
    return np.array(x.shape, np.int64)[attributes.get("start", 0) : attributes.get("end")]


def _full(attributes: Mapping[str, Any], shape: Array) -> Array:
    sides = tuple(map(int, shape.ravel()))
    if np.prod(sides, dtype=np.float64) > LARGEST:
        raise ValueError("too many numbers")
    value = attributes.get("value")
    return np.full(sides, 0.0 if value is None else value.ravel()[0], np.float32 if value is None else value.dtype)


def _reduced(function: Callable[..., Array]) -> Callable[..., Array]:
    def rule(attributes: Mapping[str, Any], x: Array, axes: Array | None = None) -> Array:
        return function(x, axis=axes_of(attributes, axes), keepdims=bool(attributes.get("keepdims", 1)))

    return rule


def _split(attributes: Mapping[str, Any], x: Array, given: Array | None = None) -> list[Array]:
    axis = attributes.get("axis", 0)
    sizes = sections(attributes, x.shape[axis], given, attributes.get("num_outputs", 2))
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _divided(attributes: Mapping[str, Any], a: Array, b: Array) -> Array:
    return np.trunc(a / b).astype(a.dtype) if a.dtype.kind in "iu" else a / b


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda attributes, *given: function(*given)


def _constant(attributes: Mapping[str, Any]) -> Array:
    value = next(iter(attributes.values()))
    kind = np.int64 if "value_int" in attributes or "value_ints" in attributes else np.float32
    return np.asarray(value) if "value" in attributes else np.asarray(value, kind)


_RULES: Mapping[str, Callable[..., Any]] = {
    "Constant": _constant,
    "ConstantOfShape": _full,
    "Shape": _shape,
    "Size": lambda attributes, x: np.int64(x.size),
    "Slice": _slice,
    "Split": _split,
    "Gather": lambda attributes, x, index: np.take(x, index.astype(np.int64), attributes.get("axis", 0)),
    "Concat": lambda attributes, *given: np.concatenate(given, attributes["axis"]),
    "Cast": lambda attributes, x: x.astype(TYPES[attributes["to"]]),
    "CastLike": _plain(lambda x, like: x.astype(like.dtype)),
    "Reshape": lambda attributes, x, shape: x.reshape(target(x.shape, shape, attributes)),
    "Flatten": lambda attributes, x: x.reshape(int(np.prod(x.shape[: attributes.get("axis", 1)])), -1),
    "Transpose": lambda attributes, x: x.transpose(attributes.get("perm")),
    "Unsqueeze": lambda attributes, x, axes=None: x.reshape(unsqueezed(x.shape, axes_of(attributes, axes) or ())),
    "Squeeze": lambda attributes, x, axes=None: x.reshape(squeezed(x.shape, axes_of(attributes, axes))),
    "Expand": _plain(lambda x, shape: x * np.ones(tuple(map(int, shape)), x.dtype)),
    "Tile": _plain(lambda x, repeats: np.tile(x, tuple(map(int, repeats)))),
    "Range": _plain(lambda start, end, step: np.arange(start.item(), end.item(), step.item()).astype(start.dtype)),
    "Add": _plain(np.add),
    "Sub": _plain(np.subtract),
    "Mul": _plain(np.multiply),
    "Div": _divided,
    "Mod": lambda attributes, a, b: np.fmod(a, b) if attributes.get("fmod") else np.mod(a, b),
    "Pow": _plain(lambda a, b: np.power(a, b).astype(a.dtype)),
    "Neg": _plain(np.negative),
    "Abs": _plain(np.abs),
    "Sqrt": _plain(np.sqrt),
    "Exp": _plain(np.exp),
    "Floor": _plain(np.floor),
    "Ceil": _plain(np.ceil),
    "Round": _plain(np.rint),
    "Reciprocal": _plain(lambda x: 1 / x),
    "Min": _plain(lambda *given: np.minimum.reduce(given)),
    "Max": _plain(lambda *given: np.maximum.reduce(given)),
    "Equal": _plain(np.equal),
    "Less": _plain(np.less),
    "Greater": _plain(np.greater),
    "Not": _plain(np.logical_not),
    "And": _plain(np.logical_and),
    "Or": _plain(np.logical_or),
    "Where": _plain(np.where),
    "Identity": _plain(lambda x: x),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "ReduceMean": _reduced(np.mean),
}
