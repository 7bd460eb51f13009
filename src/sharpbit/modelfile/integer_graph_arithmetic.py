"""What an integer graph computes, in numpy: the definition that every engine follows to the last bit.

Three rules. A convolution adds its bias and the products of bytes and weights in integers, rounds the sum to float32
and multiplies it by the multiplier of its sign. What is added is rounded to float32 after each step, in the order of
the terms. A result is rounded half to even, then its zero point is added, and 0 to 255 is kept.

Tensors in 16 bits are such bytes, times 256, and second bytes that hold what rounding left, from 128 on for nothing.
What is added is read with both; convolutions, products and tables may do so, and moves take both along; all else reads
the first alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sharpbit.modelfile.integer_graph import (
    NEAREST,
    SHUFFLE,
    ZERO,
    Bilinear,
    Bytes,
    Convolution,
    Floats,
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
from sharpbit.modelfile.integer_layer import FINE, MIDDLE

Levels = NDArray[np.uint8] | NDArray[np.uint16]


def run(graph: IntegerGraph, image: Bytes) -> Bytes:
    """What the graph makes of `(h, w, 3)` bytes: `(h * scale, w * scale, 3)`. The reference: exact, and slow."""
    return first_bytes(tensors(graph, image)[-1][: image.shape[0] * graph.scale, : image.shape[1] * graph.scale])


def tensors(graph: IntegerGraph, image: Bytes) -> list[Levels]:
    """All tensors of `(h, w, 3)` bytes, `(h', w', channels)` each; the sides of the image are filled up at first."""
    bottom, right = (graph.filled(side) - side for side in image.shape[:2])
    found: list[Levels] = [np.pad(image, ((0, bottom), (0, right), (0, 0)), "edge")]
    for node in graph.nodes:
        found.append(compute(node, found, [tensor.zero for tensor in graph.tensors]))
    return found


def compute(node: Node, found: Sequence[Levels], zeros: Sequence[Bytes]) -> Levels:
    """What a node makes of the tensors before it, which have these zero points: uint8, or uint16 where it is wide."""
    if isinstance(node, Convolution):
        total = sums(node, [found[k] for k in node.inputs], [zeros[k] for k in node.inputs])
        value = total.astype(np.float32) * np.where(total < 0, node.negative, node.multiplier)
        return rounded(_added(value, node.terms, found, zeros), node.zero, node.wide)
    if isinstance(node, Sum):
        height, width = found[node.terms[0].tensor].shape[:2]
        nothing = np.zeros((height, width, len(node.zero)), np.float32)
        return rounded(_added(nothing, node.terms, found, zeros), node.zero, node.wide)
    if isinstance(node, Product):
        one, other = node.inputs
        second = _signed(found[other] if node.both else first_bytes(found[other]), zeros[other])
        product = _signed(found[one], zeros[one]).astype(np.int64) * second
        return rounded(product.astype(np.float32) * node.multiplier, node.zero, node.wide)
    if isinstance(node, Mean):
        return rounded(_mean(found[node.input], zeros[node.input]) * node.multiplier, node.zero, node.wide)
    if isinstance(node, Table):
        return _looked_up(node, found[node.input])
    if isinstance(node, Rearrangement):
        return _rearranged(node, found[node.input])
    if isinstance(node, Pad):
        return _padded(node, found[node.input], zeros[node.input])
    x = first_bytes(found[node.input])
    if isinstance(node, Largest):
        return _largest(node, x)
    if isinstance(node, Bilinear):
        side = [size * node.factor for size in x.shape[:2]] if node.factor else found[node.like].shape[:2]
        return _interpolated(node, x, *side)
    raise TypeError(f"no operator of integer graphs: {node}")


def rounded(value: Floats, zero: Bytes, wide: bool = False) -> Levels:
    """The levels of float32 results."""
    level = np.clip(np.rint(value).astype(np.float64) + zero, 0, 255)
    if not wide:
        return level.astype(np.uint8)
    left = value - (level - zero).astype(np.float32)
    fine = np.clip(np.rint(left * np.float32(FINE)).astype(np.float64) + MIDDLE, 0, 255)
    both: NDArray[np.uint16] = (FINE * level + fine).astype(np.uint16)
    return both


def first_bytes(x: Levels) -> Bytes:
    """What is read of a tensor where it is not added."""
    return (x >> 8).astype(np.uint8) if x.dtype == np.uint16 else x.astype(np.uint8)


def sums(node: Convolution, read: Sequence[Levels], zeros: Sequence[Bytes]) -> NDArray[np.int32]:
    """`(h, w, outputs)` int32, what a convolution adds up; outside of tensors lie their zero points."""
    x = np.concatenate([_read(one, node.both) for one in read], 2)
    around = np.concatenate(zeros).astype(np.float64) * (FINE if node.both else 1)
    outputs, inputs, kernel, _ = node.weight.shape
    stride, reach = node.window[1:]
    padded = np.empty((x.shape[0] + 2 * reach, x.shape[1] + 2 * reach, len(around)), np.float64)
    padded[:] = around  # all is below 2**53: exact
    padded[reach : reach + x.shape[0], reach : reach + x.shape[1]] = x
    height, width = ((side - kernel) // stride + 1 for side in padded.shape[:2])
    total = np.broadcast_to(node.bias.astype(np.float64), (height, width, outputs)).copy()
    own = outputs // node.groups
    for group in range(node.groups):
        out, part = slice(group * own, (group + 1) * own), slice(group * inputs, (group + 1) * inputs)
        for row in range(kernel):
            for column in range(kernel):
                window = padded[row::stride, column::stride, part][:height, :width]
                total[..., out] += window @ node.weight[out, :, row, column].T.astype(np.float64)
    return total.astype(np.int32)


def _read(x: Levels, both: bool) -> NDArray[np.int32]:
    """What a convolution reads; where it reads both bytes, in parts of 256."""
    if both and x.dtype == np.uint16:
        return x.astype(np.int32) - MIDDLE
    return first_bytes(x).astype(np.int32) * (FINE if both else 1)


def _signed(x: Levels, zero: Bytes) -> NDArray[np.int32]:
    if x.dtype == np.uint16:
        return x.astype(np.int32) - MIDDLE - FINE * zero.astype(np.int32)
    return x.astype(np.int32) - zero


def _added(value: Floats, terms: Sequence[Term], found: Sequence[Levels], zeros: Sequence[Bytes]) -> Floats:
    for term in terms:
        part = _signed(found[term.tensor], zeros[term.tensor]).astype(np.float32)
        part = np.repeat(part, value.shape[2] // part.shape[2], 2)
        value = value + part * term.multiplier
    return value


def _mean(x: Levels, zero: Bytes) -> Floats:
    """The mean of all pixels in parts of 65536 of a byte, rounded to the nearest, a half up: below 2**24, so exact."""
    signed, pixels = _signed(x, zero).astype(np.int64), x.shape[0] * x.shape[1]
    parts = FINE if x.dtype == np.uint16 else FINE * FINE
    mean: Floats = ((2 * parts * signed.sum((0, 1), keepdims=True) + pixels) // (2 * pixels)).astype(np.float32)
    return mean


def _looked_up(node: Table, x: Levels) -> Levels:
    channels = np.arange(len(node.values))
    if not node.wide:
        narrow: Bytes = node.values[channels, first_bytes(x)].astype(np.uint8)
        return narrow
    place = (x.astype(np.int32) - MIDDLE if x.dtype == np.uint16 else x.astype(np.int32) * FINE) + FINE
    at, weight = place // FINE, place % FINE
    low, high = (node.values[channels, at + k].astype(np.int32) for k in (0, 1))
    between: NDArray[np.uint16] = ((low * (FINE - weight) + high * weight + MIDDLE) >> 8).astype(np.uint16)
    return between


def _rearranged(node: Rearrangement, x: Levels) -> Levels:
    f, (height, width, channels) = node.factor, x.shape
    if node.kind == NEAREST:
        return x.repeat(f, 0).repeat(f, 1)
    if node.kind == SHUFFLE:
        pieces = x.reshape(height, width, channels // f**2, f, f).transpose(0, 3, 1, 4, 2)
        return pieces.reshape(height * f, width * f, channels // f**2)
    pieces = x.reshape(height // f, f, width // f, f, channels).transpose(0, 2, 4, 1, 3)
    return pieces.reshape(height // f, width // f, channels * f**2)


def _padded(node: Pad, x: Levels, zero: Bytes) -> Levels:
    rows, columns = (node.places(side) for side in x.shape[:2])
    padded: Levels = x[rows.clip(0, x.shape[0] - 1)][:, columns.clip(0, x.shape[1] - 1)]
    if node.mode == ZERO:
        outside = (rows < 0) | (rows >= x.shape[0])
        padded[outside] = padded[:, (columns < 0) | (columns >= x.shape[1])] = (
            zero.astype(x.dtype) * FINE + MIDDLE if x.dtype == np.uint16 else zero
        )
    return padded


def _largest(node: Largest, x: Bytes) -> Bytes:
    side, stride, padding = node.window
    padded = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    height, width = ((size - side) // stride + 1 for size in padded.shape[:2])
    found = np.zeros((height, width, x.shape[2]), np.uint8)
    for row in range(side):
        for column in range(side):
            found = np.maximum(found, padded[row::stride, column::stride][:height, :width])
    return found


def places(side: int, made: int, aligned: bool) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Between which pixels of `side` each of `made` lies, and how far from the first, in parts of 256."""
    pixel = np.arange(made, dtype=np.int64)
    parts = max(made - 1, 1) if aligned else 2 * made
    at = pixel * (side - 1) if aligned else np.maximum((2 * pixel + 1) * side - made, 0)
    first = np.minimum(at // parts, side - 1)
    return first, np.minimum(first + 1, side - 1), (at % parts * 512 + parts) // (2 * parts)


def _interpolated(node: Bilinear, x: Bytes, height: int, width: int) -> Levels:
    above, below, lower = places(x.shape[0], height, node.aligned)
    left, right, weight = places(x.shape[1], width, node.aligned)
    across = x[:, left].astype(np.int64) * (FINE - weight)[:, None] + x[:, right].astype(np.int64) * weight[:, None]
    level = (across[above] * (FINE - lower)[:, None, None] + across[below] * lower[:, None, None]).astype(np.int64)
    narrow: Bytes = ((level + (1 << 15)) >> 16).astype(np.uint8)
    both: NDArray[np.uint16] = (((level + MIDDLE) >> 8) + MIDDLE).astype(np.uint16)
    return both if node.wide else narrow


def operator(node: Node) -> str:
    """The name of a node's operator, for people."""
    return node.kind if isinstance(node, Rearrangement) else type(node).__name__.lower()
