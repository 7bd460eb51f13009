"""How an integer graph is stored in a native file (docs/format.md), written and read with every length checked."""

from __future__ import annotations

import struct
from dataclasses import replace
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from sharpbit import modelfile
from sharpbit.errors import ModelError
from sharpbit.modelfile import Header, ModelFile
from sharpbit.modelfile import integer_graph as ig
from sharpbit.modelfile.integer_graph import (
    ARCHITECTURE,
    Bilinear,
    Convolution,
    IntegerGraph,
    Largest,
    Mean,
    Node,
    Pad,
    Product,
    Rearrangement,
    Sum,
    Table,
    Term,
)
from sharpbit.modelfile.integer_graph_checks import MAX_CHANNELS, MAX_INPUTS, MAX_KERNEL, MAX_PAD, MAX_TENSORS

GRAPH = 1 << 16  # beside the scale in the first number: the payload of a chain has no such bit
CONVOLUTION, SUM, SHUFFLE, UNSHUFFLE, NEAREST, PRODUCT, TABLE, LARGEST, BILINEAR, PAD, MEAN = range(1, 12)
WIDE = 256  # beside the code of all but moves and the largest of a window: its result is kept in 16 bits
STEPPED = 512  # beside the code of a convolution: with a stride and a padding
BOTH = 1024  # beside the code of a convolution or a product: it reads both bytes
_MOVES = {SHUFFLE: ig.SHUFFLE, UNSHUFFLE: ig.UNSHUFFLE, NEAREST: ig.NEAREST}
_MODES = {1: ig.ZERO, 2: ig.REPLICATE, 3: ig.REFLECT}


def payload(graph: IntegerGraph) -> bytes:
    """The graph in the native format: what the engine reads."""
    outside = int.from_bytes(graph.outside.tobytes(), "little")
    parts = [_numbers(graph.scale | GRAPH, len(graph.nodes), outside)]
    for node in graph.nodes:
        parts += _stored(node)
    return b"".join(parts)


def from_payload(data: bytes, source: str) -> IntegerGraph:
    """Read the native format; `source` names the file in errors.

    Raises:
        ModelError: cut off, too long, or not such a graph.
    """
    reader = _Reader(data)
    try:
        first, count, outside = reader.numbers(3)
        if not first & GRAPH or not 1 <= count <= ig.MAX_NODES or outside >> 24:
            raise ValueError(f"{count} nodes")
        nodes = tuple(_read(reader) for _ in range(count))
        if reader.position != len(data):
            raise ValueError(f"{len(data) - reader.position} bytes too many")
    except ValueError as error:
        raise ModelError(f"{source}: its integer graph is damaged ({error}); get it again") from None
    try:
        return IntegerGraph(nodes, first & ~GRAPH, np.frombuffer(outside.to_bytes(3, "little"), np.uint8))
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None


def config(graph: IntegerGraph) -> dict[str, int]:
    """What the header of a file says of the graph's sizes."""
    return {"scale": graph.scale, "nodes": len(graph.nodes), "multiple": graph.multiple}


def native_file(graph: IntegerGraph, header: Header) -> tuple[Header, bytes]:
    """The header of this graph, with the name, history and licence of `header`, and all bytes of the file."""
    about = {
        "architecture": ARCHITECTURE,
        "config": config(graph),
        "scale": graph.scale,
        "receptive_field": None if graph.halo is None else 2 * graph.halo + 1,
        "parameters": graph.parameters,
        "precision": "int8",
        "range": (0.0, 255.0),
    }
    return modelfile.native(replace(header, **about), payload(graph))  # type: ignore[arg-type]


def read(file: str | PathLike[str]) -> tuple[IntegerGraph, Header]:
    """The graph in a `.sharpbit` file, and its header.

    Raises:
        ModelError: not such a file, damaged, or its header describes another graph.
    """
    file = ModelFile.of(file)
    header = file.verified
    if header is None or header.architecture != ARCHITECTURE or file.suffix != ".sharpbit":
        raise ModelError(f"{file.path} holds no integer graph; 'sharpbit quantize' makes one")
    graph = from_payload(file.payload, str(file.path))
    near = header.halo is not None and (graph.halo is None or header.halo < graph.halo)
    if near or header.scale != graph.scale or header.config != config(graph):
        raise ModelError(f"{file.path}: its header tells of another graph than the one that it holds; get it again")
    return graph, header


def _numbers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def _bytes(values: NDArray[np.generic], kind: str) -> bytes:
    return np.ascontiguousarray(values, kind).tobytes()


def _terms(terms: tuple[Term, ...]) -> list[bytes]:
    parts = [_numbers(len(terms))]
    for term in terms:
        parts += [_numbers(term.tensor), _bytes(term.multiplier, "<f4")]
    return parts


def _stored(node: Node) -> list[bytes]:
    if isinstance(node, Convolution):
        sizes = (len(node.inputs), len(node.zero), node.weight.shape[1], node.weight.shape[2], node.groups)
        values = [_bytes(node.weight, "<i1"), _bytes(node.bias, "<i4")]
        values += [_bytes(node.multiplier, "<f4"), _bytes(node.negative, "<f4"), _bytes(node.zero, "u1")]
        stepped = node.stride != 1 or node.padding is not None
        code = CONVOLUTION + WIDE * node.wide + STEPPED * stepped + BOTH * node.both
        steps = [node.stride, node.window[2] + 1] if stepped else []
        return [_numbers(code, *sizes, *steps), _numbers(*node.inputs), *values, *_terms(node.terms)]
    if isinstance(node, Sum):
        return [_numbers(SUM + WIDE * node.wide, len(node.zero)), _bytes(node.zero, "u1"), *_terms(node.terms)]
    if isinstance(node, Product):
        values = [_bytes(node.multiplier, "<f4"), _bytes(node.zero, "u1")]
        return [_numbers(PRODUCT + WIDE * node.wide + BOTH * node.both, *node.inputs, len(node.zero)), *values]
    if isinstance(node, Table):
        values = [_bytes(node.values, "<u2" if node.wide else "u1"), _bytes(node.zero, "u1")]
        return [_numbers(TABLE + WIDE * node.wide, node.input, len(node.zero)), *values]
    if isinstance(node, Largest):
        return [_numbers(LARGEST, node.input, node.side, node.stride, node.padding + 1)]
    if isinstance(node, Bilinear):
        code = BILINEAR + WIDE * node.wide
        return [_numbers(code, node.input, node.like, node.factor + 1, node.aligned + 1)]
    if isinstance(node, Pad):
        mode = next(code for code, mode in _MODES.items() if mode == node.mode)
        return [_numbers(PAD, node.input, *(pixels + MAX_PAD + 1 for pixels in (node.before, node.after)), mode)]
    if isinstance(node, Mean):
        values = [_bytes(node.multiplier, "<f4"), _bytes(node.zero, "u1")]
        return [_numbers(MEAN + WIDE * node.wide, node.input, len(node.zero)), *values]
    code = next(code for code, kind in _MOVES.items() if kind == node.kind)
    return [_numbers(code, node.input, node.factor)]


class _Reader:
    """Bytes that are taken one part after the other; ValueError where there are too few."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def array(self, count: int, kind: str) -> NDArray[np.generic]:
        values = np.frombuffer(self.data, kind, count, self.position)
        self.position += values.nbytes
        return values

    def numbers(self, count: int) -> list[int]:
        return [int(number) for number in self.array(count, "<u4")]

    def floats(self, count: int) -> NDArray[np.float32]:
        return self.array(count, "<f4")  # type: ignore[return-value]

    def bytes(self, count: int) -> NDArray[np.uint8]:
        return self.array(count, "u1")  # type: ignore[return-value]

    def limited(self, limit: int) -> int:
        """A number from 1 to `limit`."""
        (number,) = self.numbers(1)
        if not 1 <= number <= limit:
            raise ValueError(f"{number}, where 1 to {limit} is possible")
        return number


def _read(reader: _Reader) -> Node:
    (code,) = reader.numbers(1)
    if code in _MOVES:
        return Rearrangement(_MOVES[code], *reader.numbers(2))
    flags, wide = code & ~0xFF, bool(code & WIDE)
    if code - flags == CONVOLUTION and not flags & ~(WIDE | STEPPED | BOTH):
        return _read_convolution(reader, flags)
    if code in (SUM, SUM + WIDE):
        channels = reader.limited(MAX_CHANNELS)
        zero = reader.bytes(channels)
        return Sum(_read_terms(reader, channels), zero, wide)
    if code - flags == PRODUCT and not flags & ~(WIDE | BOTH):
        first, second = reader.numbers(2)
        channels = reader.limited(MAX_CHANNELS)
        return Product((first, second), reader.floats(channels), reader.bytes(channels), wide, bool(flags & BOTH))
    if code in (TABLE, TABLE + WIDE):
        (number,) = reader.numbers(1)
        channels = reader.limited(MAX_CHANNELS)
        values = reader.array(channels * 258, "<u2") if wide else reader.bytes(channels * 256)
        return Table(number, values.reshape(channels, -1), reader.bytes(channels))  # type: ignore[arg-type]
    if code == LARGEST:
        number, side, stride, padding = reader.numbers(4)
        return Largest(number, side, stride, padding - 1)
    if code in (BILINEAR, BILINEAR + WIDE):
        number, like, factor, aligned = reader.numbers(4)
        if aligned not in (1, 2):
            raise ValueError(f"corners of {aligned}")
        return Bilinear(number, factor - 1, like, aligned == 2, wide)
    if code in (MEAN, MEAN + WIDE):
        (number,) = reader.numbers(1)
        channels = reader.limited(MAX_CHANNELS)
        return Mean(number, reader.floats(channels), reader.bytes(channels), wide)
    if code == PAD:
        number, before, after, mode = reader.numbers(4)
        return Pad(number, before - MAX_PAD - 1, after - MAX_PAD - 1, _MODES.get(mode, f"{mode}"))
    raise ValueError(f"an operator {code}")


def _read_convolution(reader: _Reader, flags: int) -> Convolution:
    tensors, outputs, inputs, kernel, groups = (
        reader.limited(limit) for limit in (MAX_TENSORS, MAX_CHANNELS, MAX_INPUTS, MAX_KERNEL, MAX_INPUTS)
    )
    stride, padding = reader.numbers(2) if flags & STEPPED else (1, None)
    numbers = tuple(reader.numbers(tensors))
    weight = reader.array(outputs * inputs * kernel**2, "<i1").reshape(outputs, inputs, kernel, kernel)
    bias, multiplier, negative = reader.array(outputs, "<i4"), reader.floats(outputs), reader.floats(outputs)
    zero = reader.bytes(outputs)
    terms = _read_terms(reader, outputs)
    wide, both = bool(flags & WIDE), bool(flags & BOTH)
    pad = None if padding is None else padding - 1
    values = numbers, weight, bias, multiplier, negative, zero
    return Convolution(*values, groups, terms, wide, both, stride or 0, pad)  # type: ignore[arg-type]


def _read_terms(reader: _Reader, channels: int) -> tuple[Term, ...]:
    (count,) = reader.numbers(1)
    if count > MAX_TENSORS:
        raise ValueError(f"{count} terms")
    return tuple(Term(reader.numbers(1)[0], reader.floats(channels)) for _ in range(count))
