"""A graph of known operators as an ONNX file, written with numpy alone: engines then run files of ncnn as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError
from sharpbit.graph import IMAGE, Graph, Node
from sharpbit.graph.geometry import channels
from sharpbit.modelfile.protobuf import message

OPSET, IR = 18, 8
RESULT = "result"
KINDS: Mapping[str, str] = {
    **{kind: kind.capitalize() for kind in ("sigmoid", "tanh", "exp", "sqrt", "abs", "log", "erf", "reciprocal")},
    **{kind: kind.capitalize() for kind in ("sin", "cos", "floor", "ceil", "round", "softplus", "softsign", "mish")},
    "hardswish": "HardSwish",
    "elu": "Elu",
}
PAIRS = {op: op.capitalize() for op in ("add", "sub", "mul", "div", "max", "min")}
_FLOAT, _WHOLE = 1, 7  # TensorProto.DataType
_ENDS = np.finfo(np.float32)

Array = NDArray[Any]


def onnx_of(graph: Graph) -> bytes:
    """The file: one float image `(1, channels, height, width)` in, and the result, of any size.

    Raises:
        ModelError: An operator has no form in ONNX; it is named.
    """
    writer = _Writer(graph)
    for node in graph.nodes:
        rule = _RULES.get(node.op)
        if rule is None:
            raise ModelError(f"{node.name} ({node.op}) has no form in ONNX")
        rule(writer, node)
    writer.add("Identity", [graph.output], RESULT)
    ports = [_port(IMAGE, graph.channels), _port(RESULT, channels(graph)[graph.output])]
    parts = [*((1, part) for part in writer.nodes), (2, b"network"), *((5, part) for part in writer.constants)]
    whole = message([*parts, (11, ports[0]), (12, ports[1])])
    return message([(1, IR), (2, b"sharpbit"), (7, whole), (8, message([(1, b""), (2, OPSET)]))])


class _Writer:
    """Nodes and constants, as they are written."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.channels = graph, channels(graph)
        self.nodes, self.constants = list[bytes](), list[bytes]()
        self._count = 0

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """An operator; the name of what comes out."""
        fields = [*((1, name.encode()) for name in inputs), (2, output.encode()), (4, kind.encode())]
        self.nodes.append(message([*fields, *((5, _attribute(name, value)) for name, value in attributes.items())]))
        return output

    def numbers(self, values: Array) -> str:
        """A constant; its name."""
        self._count += 1
        name, whole = f"constant_{self._count}", np.asarray(values).dtype.kind == "i"
        raw = np.ascontiguousarray(values, "<i8" if whole else "<f4")
        sides = [(1, side) for side in np.shape(values)]
        self.constants.append(
            message([*sides, (2, _WHOLE if whole else _FLOAT), (8, name.encode()), (9, raw.tobytes())])
        )
        return name

    def weight(self, node: Node, key: str) -> str:
        """What is learned at a node, as a constant."""
        return self.numbers(self.graph.weights[f"{node.name}.{key}"])


def _attribute(name: str, value: Any) -> bytes:
    """An AttributeProto of a number, a text, or whole numbers."""
    start: list[tuple[int, int | bytes | float]] = [(1, name.encode())]
    if isinstance(value, str):
        return message([*start, (4, value.encode()), (20, 3)])
    if isinstance(value, float):
        return message([*start, (2, value), (20, 1)])
    if isinstance(value, int):
        return message([*start, (3, value), (20, 2)])
    return message([*start, *((8, int(one)) for one in value), (20, 7)])


def _port(name: str, count: int) -> bytes:
    """A ValueInfoProto of a float image of any height and width."""
    sides = [message([(1, 1)]), message([(1, count)]), *(message([(2, f"{name}_{axis}".encode())]) for axis in "hw")]
    tensor = message([(1, _FLOAT), (2, message([(1, side) for side in sides]))])
    return message([(1, name.encode()), (2, message([(1, tensor)]))])


def _window(node: Node) -> dict[str, Any]:
    found = {"kernel_shape": node["kernel"], "strides": node["stride"], "pads": [*node["padding"]] * 2}
    return {**found, **({"dilations": node["dilation"]} if "dilation" in node.settings else {})}


def _conv(writer: _Writer, node: Node) -> None:
    inputs = [node.inputs[0], writer.weight(node, "weight"), *([writer.weight(node, "bias")] if node["bias"] else [])]
    more = {"output_padding": node["more"]} if node.op == "deconv" else {}
    kind = "ConvTranspose" if node.op == "deconv" else "Conv"
    writer.add(kind, inputs, node.name, group=node["groups"], **_window(node), **more)


def _affine(writer: _Writer, node: Node) -> None:
    factor, summand = (
        writer.numbers(writer.graph.weights[f"{node.name}.{key}"].reshape(1, -1, 1, 1)) for key in ("weight", "bias")
    )
    writer.add("Add", [writer.add("Mul", [*node.inputs, factor], f"{node.name}_times"), summand], node.name)


def _prelu(writer: _Writer, node: Node) -> None:
    slope = writer.numbers(writer.graph.weights[f"{node.name}.weight"].reshape(-1, 1, 1))
    writer.add("PRelu", [*node.inputs, slope], node.name)


def _clip(writer: _Writer, node: Node) -> None:
    ends = [
        writer.numbers(np.array(end if node[key] is None else node[key], np.float32))
        for key, end in (("low", _ENDS.min), ("high", _ENDS.max))
    ]
    writer.add("Clip", [*node.inputs, *ends], node.name)


def _function(writer: _Writer, node: Node) -> None:
    (value,), kind = node.inputs, node["kind"]
    if kind == "hardsigmoid":
        writer.add("HardSigmoid", [value], node.name, alpha=1 / 6, beta=0.5)
    elif kind == "gelu":
        ratio = writer.add("Mul", [value, writer.numbers(np.array(0.5**0.5, np.float32))], f"{node.name}_ratio")
        share = writer.add("Erf", [ratio], f"{node.name}_erf")
        more = writer.add("Add", [share, writer.numbers(np.array(1, np.float32))], f"{node.name}_more")
        half = writer.add("Mul", [value, writer.numbers(np.array(0.5, np.float32))], f"{node.name}_half")
        writer.add("Mul", [half, more], node.name)
    elif kind in KINDS:
        writer.add(KINDS[kind], [value], node.name)
    else:
        raise ModelError(f"{node.name} ({kind}) has no form in ONNX")


def _select(writer: _Writer, node: Node) -> None:
    if "index" in node.settings:
        index = writer.numbers(np.array(node["index"], np.int64))
        writer.add("Gather", [*node.inputs, index], node.name, axis=1)
        return
    ends = [writer.numbers(np.array([value], np.int64)) for value in (node["start"], node["stop"], 1, node["step"])]
    writer.add("Slice", [*node.inputs, *ends], node.name)


def _unshuffle(writer: _Writer, node: Node) -> None:
    """A convolution of each channel that takes one pixel of each window: channels in the order of PyTorch."""
    factor, count = node["factor"], writer.channels[node.inputs[0]]
    taps = np.eye(factor**2, dtype=np.float32).reshape(-1, 1, factor, factor)
    weight = writer.numbers(np.tile(taps, (count, 1, 1, 1)))
    sides = [factor, factor]
    writer.add("Conv", [*node.inputs, weight], node.name, group=count, kernel_shape=sides, strides=sides)


def _resize(writer: _Writer, node: Node) -> None:
    mode = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}[node["mode"]]
    place = "align_corners" if node["aligned"] else "half_pixel" if mode != "nearest" else "asymmetric"
    more: dict[str, Any] = {"coordinate_transformation_mode": place, "mode": mode}
    more |= {"nearest_mode": "floor"} if mode == "nearest" else {"cubic_coeff_a": -0.75} if mode == "cubic" else {}
    if len(node.inputs) > 1:
        front = writer.add("Shape", node.inputs[:1], f"{node.name}_front", start=0, end=2)
        back = writer.add("Shape", node.inputs[1:], f"{node.name}_back", start=2, end=4)
        sides = writer.add("Concat", [front, back], f"{node.name}_sides", axis=0)
        writer.add("Resize", [node.inputs[0], "", "", sides], node.name, **more)
        return
    factors = writer.numbers(np.array([1, 1, *node["factor"]], np.float32))
    writer.add("Resize", [node.inputs[0], "", factors], node.name, **more)


def _pool(writer: _Writer, node: Node) -> None:
    more = {"count_include_pad": 1} if node.op == "avgpool" else {}
    writer.add("MaxPool" if node.op == "maxpool" else "AveragePool", node.inputs, node.name, **_window(node), **more)


def _pad(writer: _Writer, node: Node) -> None:
    top, left, bottom, right = node["sides"]
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[node["mode"]]
    pads = writer.numbers(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    writer.add("Pad", [*node.inputs, pads], node.name, mode=mode)


def _crop(writer: _Writer, node: Node) -> None:
    top, left, bottom, right = node["sides"]
    most = np.iinfo(np.int64).max
    ends = [top, left], [-bottom or most, -right or most], [2, 3]
    writer.add("Slice", [*node.inputs, *(writer.numbers(np.array(end, np.int64)) for end in ends)], node.name)


def _plain(kind: str, **attributes: Any) -> Callable[[_Writer, Node], None]:
    def rule(writer: _Writer, node: Node) -> None:
        writer.add(kind, node.inputs, node.name, **attributes)

    return rule


_RULES: Mapping[str, Callable[[_Writer, Node], None]] = {
    **dict.fromkeys(("conv", "deconv"), _conv),
    "affine": _affine,
    "prelu": _prelu,
    "relu": _plain("Relu"),
    "leaky": lambda writer, node: _plain("LeakyRelu", alpha=float(node["slope"]))(writer, node),
    "clip": _clip,
    "function": _function,
    **{op: _plain(kind) for op, kind in PAIRS.items()},
    "concat": _plain("Concat", axis=1),
    "select": _select,
    "shuffle": lambda writer, node: _plain("DepthToSpace", blocksize=node["factor"], mode="CRD")(writer, node),
    "unshuffle": _unshuffle,
    "resize": _resize,
    **dict.fromkeys(("maxpool", "avgpool"), _pool),
    "mean": _plain("GlobalAveragePool"),
    "pad": _pad,
    "crop": _crop,
}
