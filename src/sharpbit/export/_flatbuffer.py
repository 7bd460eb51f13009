"""A graph of TensorFlow Lite as it grows: tensors, constants and operators, packed by the schema that LiteRT brings."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 16  # bytes, of constants, as the schema asks for
IDENTIFIER = b"TFL3"
VERSION = 3
SIZE = (360, 640)  # height and width that a file names; both are open


class Graph:
    """One graph from an image to an image, `(1, height, width, channels)`, height and width open.

    Args:
        schema: `ai_edge_litert.schema_py_generated`.
    """

    def __init__(self, schema: ModuleType) -> None:
        self.schema = schema
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]
        self._operators: list[Any] = []
        self._codes: list[tuple[int, int]] = []

    def image(self, name: str, channels: int, kind: str, factor: int = 1, grid: Any = None) -> int:
        """An activation of the type `kind` (`FLOAT32`, `INT8`), `factor` times as large as the input."""
        shape = [1, *(side * factor for side in SIZE), channels]
        return self._tensor(name, shape, kind, 0, grid, [1, -1, -1, channels])

    def constant(self, name: str, values: NDArray[Any], grid: Any = None) -> int:
        """A constant, in its own type."""
        kinds = {np.dtype("float32"): "FLOAT32", np.dtype("int32"): "INT32", np.dtype("int8"): "INT8"}
        return self._tensor(name, list(values.shape), kinds[values.dtype], self._buffer(values.tobytes()), grid)

    def operator(self, name: str, version: int, inputs: list[int], output: int, kind: str = "", **options: Any) -> int:
        """An operator of that version; `kind` and `options` are those of the schema. Returns its output."""
        code = (int(getattr(self.schema.BuiltinOperator, name)), version)
        if code not in self._codes:
            self._codes.append(code)
        found = self.schema.OperatorT()
        found.opcodeIndex, found.inputs, found.outputs = self._codes.index(code), inputs, [output]
        if kind:
            found.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)
            found.builtinOptions = getattr(self.schema, f"{kind}T")()
            for key, value in options.items():
                setattr(found.builtinOptions, key, value)
        self._operators.append(found)
        return output

    def grid(self, scale: NDArray[np.float32], zero: int = 0, axis: int = 0) -> Any:
        """How integers stand for numbers: `(q - zero) * scale`, one scale or one for each index along `axis`."""
        found = self.schema.QuantizationParametersT()
        found.scale, found.zeroPoint = scale, np.full(len(scale), zero, np.int64)
        found.quantizedDimension = axis
        return found

    def packed(self, image: int, result: int, about: dict[str, str]) -> bytes:
        """The file: a graph from `image` to `result`, with texts by name beside it."""
        graph, model = self.schema.SubGraphT(), self.schema.ModelT()
        graph.name, graph.tensors, graph.operators = "network", self._tensors, self._operators
        graph.inputs, graph.outputs = [image], [result]
        model.version, model.description, model.subgraphs = VERSION, "sharpbit", [graph]
        model.operatorCodes = [self._code(*code) for code in self._codes]
        kept = len(self._buffers)
        model.metadata = [self._about(name, text) for name, text in about.items()]
        model.buffers = self._buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        del self._buffers[kept:]
        return bytes(builder.Output())

    def _code(self, number: int, version: int) -> Any:
        found = self.schema.OperatorCodeT()
        found.builtinCode, found.version = number, version
        found.deprecatedBuiltinCode = min(number, 127)
        return found

    def _about(self, name: str, text: str) -> Any:
        found = self.schema.MetadataT()
        found.name, found.buffer = name, self._buffer(text.encode())
        return found

    def _tensor(
        self, name: str, shape: list[int], kind: str, buffer: int, grid: Any, signature: list[int] | None = None
    ) -> int:
        found = self.schema.TensorT()
        found.name, found.shape, found.buffer, found.hasRank = name, shape, buffer, True
        found.type = getattr(self.schema.TensorType, kind)
        found.quantization, found.shapeSignature = grid, signature
        self._tensors.append(found)
        return len(self._tensors) - 1

    def _buffer(self, data: bytes) -> int:
        found = self.schema.BufferT()
        found.Pack = lambda builder: _aligned(builder, data, self.schema)
        self._buffers.append(found)
        return len(self._buffers) - 1


def _aligned(builder: flatbuffers.Builder, data: bytes, schema: ModuleType) -> int:
    """A buffer whose data begin at a multiple of 16 bytes; the schema's own class begins anywhere."""
    builder.StartVector(1, len(data), ALIGNMENT)
    builder.head -= len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    vector = builder.EndVector()
    schema.BufferStart(builder)
    schema.BufferAddData(builder, vector)
    end: int = schema.BufferEnd(builder)
    return end
