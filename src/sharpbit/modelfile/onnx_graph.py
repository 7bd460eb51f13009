"""What an ONNX file holds, read without a package for it: operators in order, constants, inputs and outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError
from sharpbit.modelfile.protobuf import fields, varint, varints

Array = NDArray[Any]

TYPES: Mapping[int, str] = {  # numbers of TensorProto.DataType, and what numpy calls the types
    1: "<f4",
    2: "u1",
    3: "i1",
    4: "<u2",
    5: "<i2",
    6: "<i4",
    7: "<i8",
    9: "?",
    10: "<f2",
    11: "<f8",
    12: "<u4",
    13: "<u8",
}
_EXTERNAL = 1  # TensorProto.data_location


@dataclass(frozen=True)
class Operator:
    """A node of a graph.

    Attributes:
        kind: The name of the operator, such as `Conv`.
        name: The name of the node; empty in many files.
        inputs: The names of the tensors that go in; empty for one that is left out.
        outputs: The names of the tensors that come out.
        attributes: Its attributes: numbers, texts, arrays, tuples of them; None for a graph inside.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The operator in a sentence."""
        return f"the operator {self.kind} (node {self.name or self.outputs[0]})"


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: Its name.
        kind: The type of its numbers as numpy calls it; empty where it is none that is known.
        shape: Its sides; None for one that is free; None altogether where even their number is not said.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class OnnxGraph:
    """What an ONNX file says.

    Attributes:
        opset: The version of the operators.
        operators: The nodes, each after those that it needs.
        constants: The tensors that are stored, by name.
        inputs: What goes in, stored tensors not counted.
        outputs: What comes out.
    """

    opset: int
    operators: tuple[Operator, ...]
    constants: Mapping[str, Array]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def parsed(model: bytes, path: Path) -> OnnxGraph:
    """The graph of an ONNX file.

    Args:
        model: All bytes of the file.
        path: The path of the file, for errors, and for tensors that are stored beside it.

    Raises:
        ModelError: It is not a complete ONNX file, or a file of tensors beside it is missing.
    """
    try:
        return _graph(memoryview(model), path)
    except (ValueError, IndexError, KeyError, RecursionError) as error:
        raise ModelError(f"{path} is not a complete onnx file ({error}); get it again") from None


def operators(model: bytes, source: str) -> dict[str, int]:
    """How often each operator occurs in an ONNX file, branches included, most frequent first (NodeProto.op_type).

    Args:
        model: All bytes of the file.
        source: The path of the file, for errors.

    Raises:
        ModelError: not a complete ONNX file.
    """
    try:
        graphs = [content for number, _, content in fields(memoryview(model)) if number == 7]
        names = [name for graph in graphs for name in _kinds(graph)]
    except (ValueError, IndexError, UnicodeDecodeError, RecursionError):
        raise ModelError(f"{source} is not a complete onnx file; get it again") from None
    return dict(Counter(names).most_common())


def _kinds(graph: memoryview) -> Iterator[str]:
    for node in (content for number, _, content in fields(graph) if number == 1):
        for number, _, content in fields(node):
            if number == 4:
                yield bytes(content).decode()
            elif number == 5:  # AttributeProto
                for inner in (value for field, _, value in fields(content) if field == 6):
                    yield from _kinds(inner)


def _graph(data: memoryview, path: Path) -> OnnxGraph:
    opset, graphs = 1, []
    for number, _, content in fields(data):
        if number == 7:
            graphs.append(content)
        elif number == 8:
            entry = {key: value for key, _, value in fields(content)}
            if not bytes(entry.get(1, b"")) or bytes(entry[1]) == b"ai.onnx":
                opset = varint(entry[2], 0)[0]
    if len(graphs) != 1:
        raise ValueError(f"{len(graphs)} graphs")
    operators, constants = list[Operator](), dict[str, Array]()
    inputs, outputs = list[Port](), list[Port]()
    for number, _, content in fields(graphs[0]):
        if number == 1:
            operators.append(_operator(content, path))
        elif number == 5:
            name, values = tensor(content, path)
            constants[name] = values
        elif number in (11, 12):
            (inputs if number == 11 else outputs).append(_port(content))
    own = tuple(port for port in inputs if port.name not in constants)
    return OnnxGraph(opset, tuple(operators), constants, own, tuple(outputs))


def _operator(data: memoryview, path: Path) -> Operator:
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    attributes = {}
    for number, _, content in fields(data):
        if number in texts:
            texts[number].append(bytes(content).decode())
        elif number == 5:
            name, value = _attribute(content, path)
            attributes[name] = value
    name, kind = ("".join(texts[number][:1]) for number in (3, 4))
    return Operator(kind, name, tuple(texts[1]), tuple(texts[2]), attributes)


def _attribute(data: memoryview, path: Path) -> tuple[str, Any]:
    name = ""
    value: Any = None
    floats: list[float] = []
    whole: list[int] = []
    texts: list[str] = []
    kind = 0
    for number, _, content in fields(data):
        match number:
            case 1:
                name = bytes(content).decode()
            case 2:
                value = float(np.frombuffer(content, "<f4")[0])
            case 3:
                value = _signed(varint(content, 0)[0])
            case 4:
                value = bytes(content).decode(errors="replace")
            case 5:
                value = tensor(content, path)[1]
            case 7:
                floats += np.frombuffer(content, "<f4").tolist()
            case 8:
                whole += map(_signed, varints(content))
            case 9:
                texts.append(bytes(content).decode(errors="replace"))
            case 20:
                kind = varint(content, 0)[0]
    lists: dict[int, tuple[Any, ...]] = {6: tuple(floats), 7: tuple(whole), 8: tuple(texts)}
    return name, lists.get(kind, value) if kind else value if value is not None else tuple(whole or floats or texts)


def tensor(data: memoryview, path: Path) -> tuple[str, Array]:
    """The name of a stored tensor, and its numbers."""
    name, kind, shape, raw, beside, place = "", 0, list[int](), None, dict[str, str](), 0
    numbers: list[Array] = []
    for number, _, content in fields(data):
        match number:
            case 1:
                shape += varints(content)
            case 2:
                kind = varint(content, 0)[0]
            case 4:
                numbers.append(np.frombuffer(content, "<f4"))
            case 5 | 7 | 11:
                numbers.append(np.array([_signed(value) for value in varints(content)], np.int64))
            case 8:
                name = bytes(content).decode()
            case 9:
                raw = content
            case 10:
                numbers.append(np.frombuffer(content, "<f8"))
            case 13:
                pair = {key: bytes(value).decode() for key, _, value in fields(content)}
                beside[pair.get(1, "")] = pair.get(2, "")
            case 14:
                place = varint(content, 0)[0]
    if kind not in TYPES:
        return name, np.empty(0, object)  # of a type that is not read; whoever needs it sees that it is empty
    if place == _EXTERNAL:
        raw = _beside(beside, path)
    if raw is not None:
        values: Array = np.frombuffer(raw, TYPES[kind])
    else:
        joined = np.concatenate(numbers) if numbers else np.empty(0)
        half = TYPES[kind] == "<f2" and joined.dtype == np.int64  # float16 lies as its bits in whole numbers
        values = joined.astype("<u2").view("<f2") if half else joined.astype(TYPES[kind])
    return name, values.reshape(shape)


def _beside(entry: Mapping[str, str], path: Path) -> memoryview:
    """The bytes of a tensor in a file of its own, which lies beside the model."""
    location = Path(entry.get("location", ""))
    if location.is_absolute() or ".." in location.parts:
        raise ValueError(f"a tensor lies at {location}, outside of the folder of the file")
    file, start = path.parent / location, int(entry.get("offset", 0))
    try:
        with file.open("rb") as opened:
            opened.seek(start)
            return memoryview(opened.read(int(entry["length"])) if "length" in entry else opened.read())
    except OSError as error:
        raise ModelError(f"{path} has tensors in {file}, which cannot be read: {error.strerror}") from None


def _port(data: memoryview) -> Port:
    name, kind, shape = "", "", None
    for number, _, content in fields(data):
        if number == 1:
            name = bytes(content).decode()
        elif number == 2:
            for inner in (value for key, _, value in fields(content) if key == 1):  # TypeProto.tensor_type
                for key, _, value in fields(inner):
                    if key == 1:
                        kind = TYPES.get(varint(value, 0)[0], "")
                    elif key == 2:
                        shape = tuple(_side(side) for number, _, side in fields(value) if number == 1)
    return Port(name, kind, shape)


def _side(data: memoryview) -> int | None:
    sides = [varint(content, 0)[0] for number, _, content in fields(data) if number == 1]
    return sides[0] if sides and sides[0] > 0 else None


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
