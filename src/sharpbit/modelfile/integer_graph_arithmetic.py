"""What an integer graph computes, in numpy: the definition that every engine follows to the last bit.

Three rules. A convolution adds its bias and the products of bytes and weights in integers, rounds the sum to float32
and multiplies it by the multiplier of its sign. What is added is rounded to float32 after each step, in the order of
the terms. A result is rounded half to even, then its zero point is added, and 0 to 255 is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sharpbit.modelfile.integer_graph import (
    NEAREST,
    SHUFFLE,
    Bytes,
    Convolution,
    Floats,
    IntegerGraph,
    Node,
    Product,
    Rearrangement,
    Sum,
    Table,
    Term,
)


def run(graph: IntegerGraph, image: Bytes) -> Bytes:
    """What the graph makes of `(h, w, 3)` bytes: `(h * scale, w * scale, 3)`. The reference: exact, and slow."""
    return tensors(graph, image)[-1][: image.shape[0] * graph.scale, : image.shape[1] * graph.scale]


def tensors(graph: IntegerGraph, image: Bytes) -> list[Bytes]:
    """All tensors of `(h, w, 3)` bytes, `(h', w', channels)` each; the sides of the image are filled up at first."""
    bottom, right = (-side % graph.multiple for side in image.shape[:2])
    found: list[Bytes] = [np.pad(image, ((0, bottom), (0, right), (0, 0)), "edge")]
    for node in graph.nodes:
        found.append(compute(node, found, [tensor.zero for tensor in graph.tensors]))
    return found


def compute(node: Node, found: Sequence[Bytes], zeros: Sequence[Bytes]) -> Bytes:
    """The bytes that a node makes of the tensors before it, which have these zero points."""
    if isinstance(node, Convolution):
        total = sums(node, [found[k] for k in node.inputs], [zeros[k] for k in node.inputs])
        value = total.astype(np.float32) * np.where(total < 0, node.negative, node.multiplier)
        return rounded(_added(value, node.terms, found, zeros), node.zero)
    if isinstance(node, Sum):
        height, width = found[node.terms[0].tensor].shape[:2]
        nothing = np.zeros((height, width, len(node.zero)), np.float32)
        return rounded(_added(nothing, node.terms, found, zeros), node.zero)
    if isinstance(node, Product):
        first, second = (_signed(found[k], zeros[k]) for k in node.inputs)
        return rounded((first * second).astype(np.float32) * node.multiplier, node.zero)
    if isinstance(node, Table):
        return node.values[np.arange(len(node.values)), found[node.input]]
    return _rearranged(node, found[node.input])


def rounded(value: Floats, zero: Bytes) -> Bytes:
    """Bytes of float32 results."""
    return np.clip(np.rint(value).astype(np.float64) + zero, 0, 255).astype(np.uint8)


def sums(node: Convolution, read: Sequence[Bytes], zeros: Sequence[Bytes]) -> NDArray[np.int32]:
    """`(h, w, outputs)` int32, what a convolution adds up; outside of tensors lie their zero points."""
    x, around = np.concatenate(read, 2), np.concatenate(zeros)
    height, width = x.shape[:2]
    outputs, inputs, kernel, _ = node.weight.shape
    reach = kernel // 2
    padded = np.empty((height + 2 * reach, width + 2 * reach, len(around)), np.float64)  # all is below 2**53: exact
    padded[:] = around
    padded[reach : reach + height, reach : reach + width] = x
    total = np.broadcast_to(node.bias.astype(np.float64), (height, width, outputs)).copy()
    own = outputs // node.groups
    for group in range(node.groups):
        out, part = slice(group * own, (group + 1) * own), slice(group * inputs, (group + 1) * inputs)
        for row in range(kernel):
            for column in range(kernel):
                window = padded[row : row + height, column : column + width, part]
                total[..., out] += window @ node.weight[out, :, row, column].T.astype(np.float64)
    return total.astype(np.int32)


def _signed(x: Bytes, zero: Bytes) -> NDArray[np.int32]:
    return x.astype(np.int32) - zero


def _added(value: Floats, terms: Sequence[Term], found: Sequence[Bytes], zeros: Sequence[Bytes]) -> Floats:
    for term in terms:
        part = _signed(found[term.tensor], zeros[term.tensor]).astype(np.float32)
        part = np.repeat(part, value.shape[2] // part.shape[2], 2)
        value = value + part * term.multiplier
    return value


def _rearranged(node: Rearrangement, x: Bytes) -> Bytes:
    f, (height, width, channels) = node.factor, x.shape
    if node.kind == NEAREST:
        return x.repeat(f, 0).repeat(f, 1)
    if node.kind == SHUFFLE:
        pieces = x.reshape(height, width, channels // f**2, f, f).transpose(0, 3, 1, 4, 2)
        return pieces.reshape(height * f, width * f, channels // f**2)
    pieces = x.reshape(height // f, f, width // f, f, channels).transpose(0, 2, 4, 1, 3)
    return pieces.reshape(height // f, width // f, channels * f**2)


def operator(node: Node) -> str:
    """The name of a node's operator, for people."""
    return node.kind if isinstance(node, Rearrangement) else type(node).__name__.lower()
