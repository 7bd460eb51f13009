"""ONNX files of others as a graph of known operators (`sharpbit.graph`).

The file is followed once with an image of some size: what depends on sizes alone is computed, whatever moves numbers is
followed (`sharpbit.graph.view`), and the rest becomes nodes (`sharpbit.graph.operators`). No pixel is computed, so it
takes milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import lcm
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError
from sharpbit.graph import IMAGE, Floats, Graph, Node
from sharpbit.graph.constants import computed
from sharpbit.graph.simplify import simplified
from sharpbit.graph.view import View, found
from sharpbit.modelfile import ModelFile
from sharpbit.modelfile.onnx_graph import OnnxGraph, Operator, Port

Array = NDArray[Any]
Value = View | Array
SIDES = (192, 320)  # height and width that a file is followed with, where it takes any: multiples of many numbers
CHANNELS = (1, 3, 4)


class UnknownOperator(ModelError):
    """A graph has an operator, or a use of one, that is not read."""


class NotRead(Exception):
    """Why an operator is not read; empty where it is just none that is known."""


@dataclass(frozen=True)
class Reading:
    """A file that was read.

    Attributes:
        graph: What it computes.
        input: Its input.
        layout: How its image lies in memory, `nchw` or `nhwc`.
        result_layout: The same of its result.
        fixed: Height and width, where it takes one size only.
        batch: How many images it takes at once.
    """

    graph: Graph
    input: Port
    layout: str
    result_layout: str
    fixed: tuple[int, int] | None
    batch: int


@dataclass
class Tracer:
    """What is known so far of the tensors of a file.

    Attributes:
        opset: The version of the operators.
        values: The tensors: views of maps of features, or numbers that are known.
        nodes: The nodes so far.
        weights: Their weights.
        shapes: The sides of each map, `(n, c, h, w)`.
        multiple: What the sides of an image must be multiples of, as far as reshapes tell.
    """

    opset: int
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Floats] = field(default_factory=dict)
    shapes: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    multiple: int = 1

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        settings: Mapping[str, Any] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> str:
        """A new node, whose result is a map of `shape`; its name."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(Node(name, op, tuple(inputs), settings or {}))
        self.weights |= {f"{name}.{key}": np.asarray(value, np.float32) for key, value in (weights or {}).items()}
        n, c, h, w = map(int, shape)
        if min(c, h, w) < 1:
            raise NotRead("it leaves nothing of an image")
        self.shapes[name] = (n, c, h, w)
        return name

    def view(self, value: str, layout: str = "nchw") -> View:
        """A map of features as a tensor."""
        return View.of(value, self.shapes[value], layout)

    def need(self, value: str, divisor: int) -> None:
        """Note that the sides of a map must be multiples of `divisor`."""
        ratio = Fraction(self.shapes[IMAGE][2], self.shapes[value][2])
        if ratio.denominator == 1 or ratio.numerator == 1:
            self.multiple = lcm(self.multiple, (divisor * ratio).numerator)

    def map_of(self, view: View) -> tuple[str, str]:
        """A tensor as a map: its name, and how the tensor lies in memory.

        Raises:
            NotRead: It is none.
        """
        if len(view.dims) == 2 and not view.base[2] and not view.base[3]:
            view = replace(view, dims=(*view.dims, (), ()))
        how = found(view)
        if how is None:
            raise NotRead("it takes numbers that are no map of features any more")
        value = view.value
        if how.unshuffle > 1:
            value = self._unshuffled(value, how.unshuffle)
        if how.index is not None:
            value = self.select(value, how.index)
        if how.shuffle > 1:
            n, c, h, w = self.shapes[value]
            factor = how.shuffle
            value = self.emit("shuffle", [value], (n, c // factor**2, h * factor, w * factor), {"factor": factor})
        return value, how.layout

    def _unshuffled(self, value: str, factor: int) -> str:
        n, c, h, w = self.shapes[value]
        return self.emit("unshuffle", [value], (n, c * factor**2, h // factor, w // factor), {"factor": factor})

    def select(self, value: str, index: Sequence[int]) -> str:
        """Channels of a map, by their numbers."""
        n, c, h, w = self.shapes[value]
        step = index[1] - index[0] if len(index) > 1 else 1
        if step > 0 and list(index) == list(range(index[0], index[-1] + 1, step)):
            if len(index) == c:
                return value
            settings: dict[str, Any] = {"start": index[0], "stop": index[-1] + 1, "step": step}
        else:
            settings = {"index": list(index)}
        return self.emit("select", [value], (n, len(index), h, w), settings)


def read(file: str | PathLike[str]) -> Reading:
    """An ONNX file as a graph.

    Args:
        file: The path of the file, or the file itself, already opened.

    Raises:
        UnknownOperator: An operator in it is not known; it is named, with the way out.
        ModelError: It is not a complete ONNX file, or no network of one image.
    """
    from sharpbit.graph.operators import RULES  # which need the tracer

    opened = ModelFile.of(file)
    source = opened.onnx_graph
    port, layout, sides = _input(source, opened.path)
    n, c, h, w = sides
    tracer = Tracer(source.opset, dict(source.constants))
    tracer.shapes[IMAGE] = (n, c, h, w)
    tracer.values[port.name] = tracer.view(IMAGE, layout)
    for operator in _needed(source):
        given = [tracer.values.get(name) if name else None for name in operator.inputs]
        try:
            made = _applied(tracer, operator, given, RULES)
        except NotRead as error:
            raise UnknownOperator(_sentence(opened, operator, str(error))) from None
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, ZeroDivisionError):
            raise UnknownOperator(_sentence(opened, operator, "it is used in a way that is not known")) from None
        tracer.values |= dict(zip(operator.outputs, made, strict=False))
    return _finished(tracer, opened, source, port, layout)


def _applied(
    tracer: Tracer, operator: Operator, given: Sequence[Value | None], rules: Mapping[str, Any]
) -> Sequence[Value]:
    views = [value for value in given if isinstance(value, View)]
    if not views:
        numbers = computed(operator, [value for value in given if not isinstance(value, View)])
        if numbers is None:
            raise NotRead("")
        return numbers
    if operator.kind == "Shape":
        sides = np.array(views[0].shape, np.int64)
        return [sides[operator.attributes.get("start", 0) : operator.attributes.get("end")]]
    rule = rules.get(operator.kind)
    if rule is None:
        raise NotRead("")
    out = rule(tracer, operator, *given)
    return out if isinstance(out, list) else [out]


def _sentence(file: ModelFile, operator: Operator, reason: str) -> str:
    why = f": {reason}" if reason else ""
    return (
        f"{file.name}: {operator.where} is none that sharpbit reads into a graph of its own{why}; the file runs as it"
        " is (upscale, evaluate and bench take it with --engine onnx), and cannot be quantized or exported here"
    )


def _input(source: OnnxGraph, path: Any) -> tuple[Port, str, tuple[int, int, int, int]]:
    """The image that goes in: its port, how it lies in memory, and its sides, chosen where they are free."""
    if len(source.inputs) != 1 or not source.outputs:
        names = ", ".join(port.name for port in source.inputs) or "nothing"
        raise ModelError(f"{path} takes {names}; expected is one image")
    port = source.inputs[0]
    shape = port.shape or (None,) * 4
    if len(shape) != 4:
        raise ModelError(f"{path} takes {port.name} of {len(shape)} dimensions; expected are four, those of an image")
    layout = "nhwc" if shape[1] not in CHANNELS and shape[3] in CHANNELS else "nchw"
    n, c, h, w = (shape[layout.index(axis)] for axis in "nchw")
    channels = 3 if c is None else c
    if channels not in CHANNELS:
        raise ModelError(f"{path} takes images of {channels} channels; expected are 1 (Y), 3 (RGB) or 4 (RGBA)")
    return port, layout, (n or 1, channels, h or SIDES[0], w or SIDES[1])


def _needed(source: OnnxGraph) -> list[Operator]:
    """The operators on which the first output depends, in order."""
    wanted, needed = {source.outputs[0].name}, list[Operator]()
    for operator in reversed(source.operators):
        if wanted & set(operator.outputs):
            wanted |= set(operator.inputs)
            needed.append(operator)
    return needed[::-1]


def _finished(tracer: Tracer, file: ModelFile, source: OnnxGraph, port: Port, layout: str) -> Reading:
    name = source.outputs[0].name
    result = tracer.values.get(name)
    if not isinstance(result, View):
        raise ModelError(f"{file.name} gives {name}, which does not depend on the image")
    try:
        value, result_layout = tracer.map_of(result)
    except NotRead:
        raise ModelError(f"{file.name} gives {name} of {list(result.shape)}; expected is one image") from None
    if value == IMAGE or tracer.nodes[-1].name != value:  # the last node gives the result
        tracer.emit("clip", [value], tracer.shapes[value], {"low": None, "high": None})
    graph = Graph(tuple(tracer.nodes), tracer.weights, tracer.shapes[IMAGE][1], tracer.multiple)
    shape = port.shape or (None,) * 4
    h, w = (shape[layout.index(axis)] for axis in "hw")
    fixed = tracer.shapes[IMAGE][2:] if h is not None or w is not None else None
    return Reading(simplified(graph), port, layout, result_layout, fixed, tracer.shapes[IMAGE][0])


def renamed(graph: Graph) -> Graph:
    """The same graph with nodes numbered in order."""
    names = {node.name: f"{node.op}_{number}" for number, node in enumerate(graph.nodes)} | {IMAGE: IMAGE}
    nodes = tuple(
        replace(node, name=names[node.name], inputs=tuple(names[name] for name in node.inputs)) for node in graph.nodes
    )
    weights = {re.sub(r"^\w+", lambda found: names[found[0]], key): value for key, value in graph.weights.items()}
    return replace(graph, nodes=nodes, weights=weights)
