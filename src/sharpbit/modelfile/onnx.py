"""What an ONNX file holds, read without a package for it: its tensors and its operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sharpbit.errors import ModelError
from sharpbit.modelfile.protobuf import fields, varint, varints


@dataclass(frozen=True)
class Initializer:
    """A tensor of an ONNX file: its number in TensorProto.DataType, its shape, its bytes (little endian)."""

    kind: int
    shape: tuple[int, ...]
    data: bytes


def initializers(model: bytes, source: str) -> dict[str, Initializer]:
    """The tensors of an ONNX file by name, those with raw data (GraphProto.initializer).

    Args:
        model: All bytes of the file.
        source: The path of the file, for errors.

    Raises:
        ModelError: not a complete ONNX file.
    """
    found = {}
    try:
        graphs = [content for number, _, content in fields(memoryview(model)) if number == 7]
        for tensor in (tensor for graph in graphs for number, _, tensor in fields(graph) if number == 5):
            name, kind, shape, data = "", 0, [], b""
            for number, _, content in fields(tensor):
                match number:
                    case 1:
                        shape += varints(content)
                    case 2:
                        kind = varint(content, 0)[0]
                    case 8:
                        name = bytes(content).decode()
                    case 9:
                        data = bytes(content)
            found[name] = Initializer(kind, tuple(shape), data)
    except (ValueError, IndexError):
        raise ModelError(f"{source} is not a complete onnx file; get it again") from None
    return found


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
        names = [name for graph in graphs for name in _operators(graph)]
    except (ValueError, IndexError, UnicodeDecodeError, RecursionError):
        raise ModelError(f"{source} is not a complete onnx file; get it again") from None
    return dict(Counter(names).most_common())


def _operators(graph: memoryview) -> Iterator[str]:
    for node in (content for number, _, content in fields(graph) if number == 1):
        for number, _, content in fields(node):
            if number == 4:
                yield bytes(content).decode()
            elif number == 5:  # AttributeProto
                for inner in (value for field, _, value in fields(content) if field == 6):
                    yield from _operators(inner)
