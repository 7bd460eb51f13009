"""ONNX operators that move numbers: reshapes, transpositions, pixel shuffles, channels that are cut and joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.graph.constants import axes_of, sections, slices, squeezed, target, unsqueezed
from sharpbit.graph.onnx import NotRead, Tracer, Value
from sharpbit.graph.view import Atom, View
from sharpbit.modelfile.onnx_graph import Operator

Array = NDArray[Any]


def shaped(tracer: Tracer, x: View, shape: Sequence[int]) -> View:
    """With other sides."""
    made = x.reshaped(shape)
    if made is None:
        raise NotRead(f"it turns {list(x.shape)} into {list(shape)}")
    for axis in (2, 3):  # pixels that were cut into groups: their number must be divided by the size of these
        inner = prod(atom.size for atom in made.base[axis][1:])
        if inner > 1 and len(made.base[axis]) > len(x.base[axis]):
            tracer.need(x.value, inner)
    return made


def reshape(tracer: Tracer, operator: Operator, x: View, shape: Array | None = None) -> View:
    """Other sides, which are known."""
    wanted = np.asarray(operator.attributes["shape"]) if shape is None else shape
    return shaped(tracer, x, target(x.shape, wanted, operator.attributes))


def flatten(tracer: Tracer, operator: Operator, x: View) -> View:
    """Two dimensions out of several."""
    axis = operator.attributes.get("axis", 1) % len(x.dims)
    return shaped(tracer, x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


def transpose(tracer: Tracer, operator: Operator, x: View) -> View:
    """Dimensions in another order."""
    return x.transposed(operator.attributes.get("perm", range(len(x.dims))[::-1]))


def squeeze(tracer: Tracer, operator: Operator, x: View, axes: Array | None = None) -> View:
    """Dimensions of one are taken out."""
    return shaped(tracer, x, squeezed(x.shape, axes_of(operator.attributes, axes)))


def unsqueeze(tracer: Tracer, operator: Operator, x: View, axes: Array | None = None) -> View:
    """Dimensions of one are put in."""
    return shaped(tracer, x, unsqueezed(x.shape, axes_of(operator.attributes, axes) or ()))


def depth_to_space(tracer: Tracer, operator: Operator, x: View) -> View:
    """A pixel shuffle, in both orders of channels."""
    n, c, h, w = x.shape
    r = operator.attributes["blocksize"]
    if operator.attributes.get("mode", "DCR") == "CRD":
        cut = shaped(tracer, x, (n, c // r**2, r, r, h, w)).transposed((0, 1, 4, 2, 5, 3))
    else:
        cut = shaped(tracer, x, (n, r, r, c // r**2, h, w)).transposed((0, 3, 4, 1, 5, 2))
    return shaped(tracer, cut, (n, c // r**2, h * r, w * r))


def space_to_depth(tracer: Tracer, operator: Operator, x: View) -> View:
    """A pixel unshuffle."""
    n, c, h, w = x.shape
    r = operator.attributes["blocksize"]
    cut = shaped(tracer, x, (n, c, h // r, r, w // r, r)).transposed((0, 3, 5, 1, 2, 4))
    return shaped(tracer, cut, (n, c * r**2, h // r, w // r))


def concat(tracer: Tracer, operator: Operator, *given: Value) -> View:
    """Channels side by side."""
    if not all(isinstance(x, View) for x in given):
        raise NotRead("it joins a map with numbers that are stored")
    maps = [tracer.map_of(x) for x in given if isinstance(x, View)]
    layout = maps[0][1]
    names, rank = [name for name, _ in maps], len(given[0].shape)
    if operator.attributes["axis"] % rank != (layout.index("c") if rank == 4 else 1):
        raise NotRead("it joins something else than channels")
    n, _, h, w = tracer.shapes[names[0]]
    if {other for _, other in maps} != {layout} or any(tracer.shapes[name][2:] != (h, w) for name in names):
        raise NotRead("its maps are of unlike sizes")
    return tracer.view(tracer.emit("concat", names, (n, sum(tracer.shapes[x][1] for x in names), h, w)), layout)


def split(tracer: Tracer, operator: Operator, x: View, given: Array | None = None) -> list[Value]:
    """Channels in several parts."""
    value, layout = tracer.map_of(x)
    axis = operator.attributes.get("axis", 0) % len(x.dims)
    if axis != layout.index("c"):
        raise NotRead("it cuts something else than channels")
    ends = np.cumsum([0, *sections(operator.attributes, x.shape[axis], given, len(operator.outputs))]).tolist()
    parts = [tracer.select(value, range(a, b)) for a, b in pairwise(ends)]
    return [tracer.view(part, layout) for part in parts]


def gather(tracer: Tracer, operator: Operator, x: View, index: Array) -> View:
    """Channels by their numbers; all of any dimension in order are no choice."""
    if np.array_equal(index, np.arange(x.shape[operator.attributes.get("axis", 0)])):
        return x
    value, layout = tracer.map_of(x)
    axis = operator.attributes.get("axis", 0) % len(x.dims)
    if axis != layout.index("c") or index.ndim != 1:
        raise NotRead("it chooses something else than channels")
    return tracer.view(tracer.select(value, (index % tracer.shapes[value][1]).tolist()), layout)


def cut(tracer: Tracer, operator: Operator, x: View, *given: Array | None) -> View:
    """`Slice`: channels, the middle of an image, or every so many pixels."""
    if not given:
        given = tuple(
            np.asarray(operator.attributes[key]) for key in ("starts", "ends", "axes") if key in operator.attributes
        )
    found = [part.indices(side) for part, side in zip(slices(len(x.dims), *given), x.shape, strict=True)]  # type: ignore[arg-type]
    changed = [place for place, (part, side) in enumerate(zip(found, x.shape, strict=True)) if part != (0, side, 1)]
    if not changed:
        return x
    value, layout = tracer.map_of(x)
    axes = {layout[place]: found[place] for place in changed} if len(x.dims) == 4 else {}
    if "c" in axes:
        value = tracer.select(value, range(*axes.pop("c")))
    steps = {part[2] for part in axes.values()}
    if set(axes) == {"h", "w"} and len(steps) == 1 and steps != {1}:
        return tracer.view(_every(tracer, value, axes["h"][0], axes["w"][0], steps.pop()), layout)
    if "n" in axes or not steps <= {1}:
        raise NotRead("it takes some of the pixels")
    n, c, h, w = tracer.shapes[value]
    if not axes:
        return tracer.view(value, layout)
    (top, bottom, _), (left, right, _) = axes.get("h", (0, h, 1)), axes.get("w", (0, w, 1))
    sides = (top, left, h - bottom, w - right)
    return tracer.view(tracer.emit("crop", [value], (n, c, bottom - top, right - left), {"sides": sides}), layout)


def _every(tracer: Tracer, value: str, top: int, left: int, step: int) -> str:
    """Each pixel at a multiple of `step` from the first one on: a part of a pixel unshuffle."""
    n, c, h, w = tracer.shapes[value]
    if h % step or w % step or max(top, left) >= step:
        raise NotRead("it takes some of the pixels")
    tracer.need(value, step)
    whole = tracer.emit("unshuffle", [value], (n, c * step**2, h // step, w // step), {"factor": step})
    return tracer.select(whole, [channel * step**2 + top * step + left for channel in range(c)])


def expand(tracer: Tracer, operator: Operator, x: View, shape: Array) -> View:
    """Repeats what has one side: channels, as `repeat_interleave` does."""
    sides = [int(side) for side in shape.ravel()]
    x = shaped(tracer, x, (*(1,) * (len(sides) - len(x.dims)), *x.shape))
    for place, side in enumerate(sides):
        if side > 1 and x.shape[place] == 1:
            x = _repeated(tracer, x, place, side)
    return x


def _repeated(tracer: Tracer, x: View, place: int, times: int) -> View:
    channels = tracer.shapes[x.value][1]
    value = tracer.select(x.value, [channel for channel in range(channels) for _ in range(times)])
    atom = Atom("c", times)
    base = (x.base[0], (*x.base[1], atom), *x.base[2:])
    return replace(x, value=value, base=base, dims=(*x.dims[:place], (atom,), *x.dims[place + 1 :]))


def tile(tracer: Tracer, operator: Operator, x: View, repeats: Array) -> View:
    """Channels that are repeated, one by one or all of them."""
    for place, times in enumerate(repeats.ravel().tolist()):
        if times > 1 and x.shape[place] == 1 and place < len(x.dims):
            x = _repeated(tracer, x, place, times)
        elif times > 1:
            value, layout = tracer.map_of(x)
            if place != layout.index("c"):
                raise NotRead("it repeats something else than channels")
            x = tracer.view(tracer.select(value, [*range(tracer.shapes[value][1])] * times), layout)
    return x


MOVES: Mapping[str, Callable[..., Value | list[Value]]] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Concat": concat,
    "Split": split,
    "Gather": gather,
    "Slice": cut,
    "Expand": expand,
    "Tile": tile,
}
