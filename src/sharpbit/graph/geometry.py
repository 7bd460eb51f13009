"""Where pixels of a graph come from: sizes of its maps, how far it sees, which sizes it takes, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import floor, lcm

import numpy as np

from sharpbit.errors import ModelError
from sharpbit.graph import IMAGE, Graph, Node

LARGEST = 64  # multiples of sizes that are tried
TRIALS = (64, 32, 16)  # sides of images with which a network is tried
QUICK = 10**9  # multiply-accumulate operations that take little time
SCALES = range(1, 17)
BICUBIC_REACH = 2  # pixels around each that bicubic resizing sees, and colours that follow brightness by it
_FAR = 1 << 14  # where a pixel is asked what it sees: far away from every edge
_BLOCK = 8 * 9 * 5 * 7  # what most multiples divide

Span = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """What sizes mean to a graph.

    Attributes:
        scale: The upscaling factor.
        cut: How many pixels of the image are lost on each side, by convolutions without padding.
        multiple: What the sides of an image must be multiples of; tiles lie on this grid.
        reach: How many pixels around it an input pixel's result depends on; None where on all of them.
    """

    scale: int
    cut: int
    multiple: int
    reach: int | None


def geometry(graph: Graph, fixed: tuple[int, int] | None = None) -> Geometry:
    """What sizes mean to a graph.

    Args:
        graph: The graph.
        fixed: Height and width, where the file takes one size only.

    Raises:
        ModelError: It does not upscale an image by a whole factor.
    """
    known = [_offered(graph, side) for side in fixed or ()]
    found = known[0] if known else None
    if known and (None in known or len({*known}) > 1):
        raise ModelError("its two sides are upscaled by unlike factors")
    multiple = 1 if fixed else graph.multiple
    while found is None and multiple <= LARGEST:
        found = _steady(graph, multiple)
        multiple += 0 if found else graph.multiple
    if found is None:
        raise ModelError(_why_not(graph))
    scale, cut = found
    grid = lcm(multiple, *(_step(node) for node in graph.nodes))
    return Geometry(scale, cut, grid if not fixed else 1, _reach(graph, scale, cut, grid))


def _why_not(graph: Graph) -> str:
    """Why images of all sizes are not upscaled by one whole factor."""
    fitting = [side for side in range(8, 513, 8) if (found := _offered(graph, side)) and not found[1]]
    if fitting:
        return (
            f"it upscales images of some sizes alone, such as {fitting[0]}x{fitting[0]}: an operator keeps the size of"
            " the image with which it was exported, as adaptive pooling does; export it with that as its only size"
        )
    return "it is no upscaling by a whole factor from 1 to 16"


def _steady(graph: Graph, multiple: int) -> tuple[int, int] | None:
    """Scale and cut where all of several sizes give the same."""
    sizes = [multiple * number for number in (256, 257, 263)]
    found = {_offered(graph, side) for side in sizes}
    return found.pop() if len(found) == 1 else None


def _offered(graph: Graph, side: int) -> tuple[int, int] | None:
    """Scale and cut for an image of such a side; None if it cannot be."""
    try:
        out = sizes(graph, side)[graph.output]
    except ModelError:
        return None
    scale = max(1, -(-out // side))
    lost = scale * side - out
    return (scale, lost // (2 * scale)) if scale in SCALES and lost % (2 * scale) == 0 else None


def sizes(graph: Graph, side: int, axis: int = 0) -> dict[str, int]:
    """The side of each map for an image of this side, along an axis (0: height).

    Raises:
        ModelError: The maps do not fit together.
    """
    found = {IMAGE: side}
    for node in graph.nodes:
        given = [found[name] for name in node.inputs]
        out = _size(node, given, axis)
        if out < 1:
            raise ModelError(f"{node.name} leaves nothing of a side of {side}")
        found[node.name] = out
    return found


def _size(node: Node, given: list[int], axis: int) -> int:
    side = given[0]
    match node.op:
        case "conv" | "maxpool" | "avgpool":
            across = (node["kernel"][axis] - 1) * node.settings.get("dilation", (1, 1))[axis] + 1
            return int((side + 2 * node["padding"][axis] - across) // node["stride"][axis] + 1)
        case "deconv":
            across = (node["kernel"][axis] - 1) * node["dilation"][axis] + 1
            return int((side - 1) * node["stride"][axis] - 2 * node["padding"][axis] + across + node["more"][axis])
        case "shuffle":
            return int(side * node["factor"])
        case "unshuffle":
            if side % node["factor"]:
                raise ModelError(f"{node.name} takes multiples of {node['factor']}, not {side}")
            return int(side // node["factor"])
        case "resize":
            return given[1] if len(given) > 1 else floor(side * node["factor"][axis] + 1e-4)
        case "pad":
            return int(side + node["sides"][axis] + node["sides"][axis + 2])
        case "crop":
            return int(side - node["sides"][axis] - node["sides"][axis + 2])
        case "mean":
            return 1
    if len({*given} - {1}) > 1:
        raise ModelError(f"{node.name} takes maps of unlike sizes: {given}")
    return max(given)


def _step(node: Node) -> int:
    """How many pixels an operator makes one of."""
    if node.op in ("conv", "maxpool", "avgpool"):
        return lcm(*node["stride"])
    if node.op == "resize" and len(node.inputs) == 1:
        return lcm(*(max(1, round(1 / factor)) for factor in node["factor"]))
    return int(node["factor"]) if node.op == "unshuffle" else 1


def _reach(graph: Graph, scale: int, cut: int, grid: int) -> int | None:
    """How far the results of pixels at all places of the grid see."""
    if any(node.op == "mean" for node in graph.nodes):
        return None
    side = 2 * _FAR // _BLOCK * _BLOCK if grid <= _BLOCK and _BLOCK % grid == 0 else 2 * _FAR // grid * grid
    far, first = 0, side // 2 // grid * grid
    for axis in (0, 1):
        try:
            sides = sizes(graph, side, axis)
        except ModelError:  # a file of one size, in which an operator is made for it
            return None
        for place in range(first, first + min(grid, LARGEST)):
            top = (place - cut) * scale
            low, high = _seen(graph, (top, top + scale - 1), sides, axis)
            far = max(far, place - low, high - place)
    return far


def _seen(graph: Graph, span: Span, sides: Mapping[str, int], axis: int) -> Span:
    """The pixels of the image that some pixels of the result depend on."""
    spans: dict[str, Span] = {graph.output: span}
    for node in reversed(graph.nodes):
        if node.name not in spans:
            continue
        low, high = _before(node, spans[node.name], sides, axis, _taps(graph, node, axis))
        for name in node.inputs[:1] if node.op == "resize" else node.inputs:
            before = spans.get(name, (low, high))
            spans[name] = min(low, before[0]), max(high, before[1])
    return spans.get(IMAGE, (span[0], span[0]))


def _taps(graph: Graph, node: Node, axis: int) -> Span:
    """The first and the last row of a kernel in which something is."""
    weight = graph.weights.get(f"{node.name}.weight") if node.op == "conv" else None
    if weight is not None and weight[0, 0].take((0, -1), axis).any(1 - axis).all():  # as nearly always: no more to see
        return 0, weight.shape[2 + axis] - 1
    rows = np.flatnonzero(weight.any((0, 1, 3 - axis))) if weight is not None else np.empty(0)
    return (int(rows[0]), int(rows[-1])) if len(rows) else (0, node.settings.get("kernel", (1, 1))[axis] - 1)


def _before(node: Node, span: Span, sides: Mapping[str, int], axis: int, taps: Span) -> Span:
    """The pixels of its input that some pixels of a map depend on."""
    low, high = span
    match node.op:
        case "conv" | "maxpool" | "avgpool":
            step, pad = node["stride"][axis], node["padding"][axis]
            dilation = node.settings.get("dilation", (1, 1))[axis]
            first, last = taps
            return low * step - pad + first * dilation, high * step - pad + last * dilation
        case "deconv":
            step, pad = node["stride"][axis], node["padding"][axis]
            across = (node["kernel"][axis] - 1) * node["dilation"][axis]
            return -(-(low + pad - across) // step), (high + pad) // step
        case "shuffle":
            return low // node["factor"], high // node["factor"]
        case "unshuffle":
            return low * node["factor"], high * node["factor"] + node["factor"] - 1
        case "resize":
            ratio = sides[node.inputs[0]] / sides[node.name]
            more = {"nearest": 0, "bilinear": 1, "bicubic": BICUBIC_REACH}[node["mode"]]
            return floor((low + 0.5) * ratio - 0.5 * bool(more)) - max(0, more - 1), (
                floor((high + 0.5) * ratio - 0.5 * bool(more)) + more
            )
        case "pad" | "crop":
            shift = node["sides"][axis] * (1 if node.op == "crop" else -1)
            return low + shift, high + shift
    return span


def macs(graph: Graph, height: int, width: int) -> int:
    """Multiply-accumulate operations of the convolutions for an image of this size, as `sharpbit.cost.macs` counts."""
    high, wide = sizes(graph, height, 0), sizes(graph, width, 1)
    total = 0
    for node in graph.nodes:
        if node.op in ("conv", "deconv"):
            name = node.name if node.op == "conv" else node.inputs[0]
            weights = graph.weights[f"{node.name}.weight"].size
            total += weights * high[name] * wide[name]
    return total


def trial_side(graph: Graph, multiple: int) -> int:
    """The side of an image with which a network is tried in little time: less where it has many weights."""
    sides = [lcm(multiple, side) for side in TRIALS]
    return next((side for side in sides if macs(graph, side, side) <= QUICK), sides[-1])


def channels(graph: Graph) -> dict[str, int]:
    """The number of channels of each map."""
    found = {IMAGE: graph.channels}
    for node in graph.nodes:
        found[node.name] = _width(node, [found[name] for name in node.inputs])
    return found


def _width(node: Node, given: list[int]) -> int:
    rules: dict[str, Callable[[], int]] = {
        "conv": lambda: node["outputs"],
        "deconv": lambda: node["outputs"],
        "concat": lambda: sum(given),
        "shuffle": lambda: given[0] // node["factor"] ** 2,
        "unshuffle": lambda: given[0] * node["factor"] ** 2,
        "select": lambda: len(chosen(node, given[0])),
    }
    return int(rules[node.op]()) if node.op in rules else max(given)


def chosen(node: Node, count: int) -> list[int]:
    """The channels of `count` that a `select` takes."""
    if "index" in node.settings:
        return [int(number) for number in node["index"]]
    return [*range(count)[node["start"] : node["stop"] : node["step"]]]
