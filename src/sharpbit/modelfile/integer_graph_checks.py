"""The limits of integer graphs, which every engine relies on, and what a node makes within them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from sharpbit.errors import ModelError
from sharpbit.modelfile.integer_graph_nodes import (
    NEAREST,
    REFLECT,
    REPLICATE,
    SHUFFLE,
    UNSHUFFLE,
    ZERO,
    Bilinear,
    Convolution,
    Floats,
    Largest,
    Mean,
    Node,
    Pad,
    Product,
    Rearrangement,
    Sum,
    Table,
    Tensor,
    sources,
)
from sharpbit.modelfile.integer_graph_size import Size

MAX_CHANNELS = 512  # of a tensor
MAX_INPUTS = 2048  # channels of all tensors that a convolution reads
MAX_TENSORS = 64  # that a convolution reads, or that are added
MAX_KERNEL, MAX_FACTOR = 9, 8  # of strides as well
MAX_OFFSET, MAX_ROOTS = 1 << 16, 16
MAX_PAD = 64  # pixels that are put around a tensor, or taken away
MAX_SUM = (1 << 31) - 1  # that no sum of a convolution may pass, at 256 for every byte
LARGEST_BOTH = 66048  # for both bytes, with room for how engines keep them
MAX_SCALE = 16
MAX_MULTIPLIER = float(1 << 20)


def made(node: Node, before: Sequence[Tensor], where: str) -> Tensor:
    """The tensor that a node makes; raises ModelError unless every engine can make it exactly."""
    if not all(0 <= number < len(before) for number in sources(node)):
        raise ModelError(f"{where} reads tensors {sources(node)}; there are 0 to {len(before) - 1}")
    if isinstance(node, Rearrangement | Bilinear | Largest | Pad):
        tensor = _moved(node, before, where)
        _check_size(tensor.size, where)
        return tensor
    read = [before[number] for number in sources(node)]
    if isinstance(node, Convolution):
        read = [before[number] for number in node.inputs]
    unlike = [tensor for tensor in read[1:] if tensor.size != read[0].size and not tensor.size.single]
    if not read or unlike or (isinstance(node, Convolution) and len({tensor.size for tensor in read}) > 1):
        raise ModelError(f"{where} reads tensors of different sizes, or none")
    zero, channels = node.zero, len(node.zero)
    if zero.shape != (channels,) or not 1 <= channels <= MAX_CHANNELS:
        raise ModelError(f"{where} makes {channels} channels; 1 to {MAX_CHANNELS} are possible")
    if isinstance(node, Convolution):
        _check_convolution(node, sum(before[number].channels for number in node.inputs), where)
    elif isinstance(node, Product):
        _check_multipliers(node.multiplier, channels, where)
        if (read[0].channels, read[1].channels) not in ((channels, channels), (channels, 1)):
            raise ModelError(f"{where} multiplies {read[0].channels} channels by {read[1].channels} to {channels}")
    elif isinstance(node, Mean):
        _check_multipliers(node.multiplier, channels, where)
        if read[0].channels != channels:
            raise ModelError(f"{where} is a mean of {read[0].channels} channels to {channels}")
        return Tensor(zero, Size(Fraction(0), 1))
    elif isinstance(node, Table) and not (
        read[0].channels == channels and node.values.shape == (channels, 258 if node.wide else 256)
    ):
        raise ModelError(f"{where} has tables of {node.values.shape} for {read[0].channels} channels")
    terms = node.terms if isinstance(node, Convolution | Sum) else ()
    if len(terms) > MAX_TENSORS:
        raise ModelError(f"{where} adds {len(terms)} tensors; at most {MAX_TENSORS} are possible")
    for term in terms:
        _check_multipliers(term.multiplier, channels, where)
        if channels % before[term.tensor].channels:
            raise ModelError(f"{where} adds {before[term.tensor].channels} channels to {channels}")
    size = read[0].size.windows(*node.window) if isinstance(node, Convolution) else read[0].size
    if any(before[term.tensor].size != size and not before[term.tensor].size.single for term in terms):
        raise ModelError(f"{where} reads tensors of different sizes")
    _check_size(size, where)
    return Tensor(zero, size)


def _moved(node: Rearrangement | Bilinear | Largest | Pad, before: Sequence[Tensor], where: str) -> Tensor:
    read = before[node.input]
    match node:
        case Largest():
            _check_window(node.window, where)
            return Tensor(read.zero, read.size.windows(*node.window))
        case Pad():
            sides = node.before, node.after
            if max(map(abs, sides)) > MAX_PAD or node.mode not in (ZERO, REPLICATE, REFLECT):
                raise ModelError(f"{where} pads by {sides} in the mode {node.mode}; at most {MAX_PAD} are possible")
            return Tensor(read.zero, read.size.padded(sum(sides)))
        case Bilinear(factor=factor):
            if not 0 <= factor <= MAX_FACTOR:
                raise ModelError(f"{where} interpolates by {factor}; 1 to {MAX_FACTOR} is possible")
            return Tensor(read.zero, read.size.times(factor) if factor else before[node.like].size)
    area = node.factor**2
    if node.kind not in (SHUFFLE, UNSHUFFLE, NEAREST) or not 2 <= node.factor <= MAX_FACTOR:
        raise ModelError(f"{where} is a {node.kind} of {node.factor}; expected is one of 2 to {MAX_FACTOR}")
    zero, size = read.zero, read.size.times(node.factor)
    if node.kind == UNSHUFFLE:
        smaller = read.size.over(node.factor)
        if smaller is None:
            raise ModelError(f"{where} unshuffles a tensor that may have any size")
        zero, size = np.repeat(zero, area), smaller
    elif node.kind == SHUFFLE:
        zero = zero[::area]
        if not np.array_equal(np.repeat(zero, area), read.zero):
            raise ModelError(f"{where} shuffles {read.channels} channels, or zero points that differ, by {node.factor}")
    if not 1 <= len(zero) <= MAX_CHANNELS:
        raise ModelError(f"{where} makes {len(zero)} channels; 1 to {MAX_CHANNELS} are possible")
    return Tensor(zero, size)


def _check_size(size: Size, where: str) -> None:
    small = abs(size.offset) <= MAX_OFFSET and len(size.roots) <= MAX_ROOTS
    if not (small and (size.single or Fraction(1, MAX_SCALE) <= size.level <= MAX_SCALE)):
        raise ModelError(f"{where} makes a tensor of {float(size.level):g} times the size of the image")


def _check_window(window: tuple[int, int, int], where: str) -> None:
    side, stride, padding = window
    if not (1 <= side <= MAX_KERNEL and 1 <= stride <= MAX_FACTOR and 0 <= padding <= side // 2):
        raise ModelError(f"{where} has windows of {side} at a stride of {stride}, with a padding of {padding}")


def _check_convolution(node: Convolution, inputs: int, where: str) -> None:
    outputs, kernel, groups = len(node.zero), node.weight.shape[-1], node.groups
    same = kernel % 2 == 1 or node.padding is not None
    if not 1 <= len(node.inputs) <= MAX_TENSORS or inputs > MAX_INPUTS or not 1 <= kernel <= MAX_KERNEL or not same:
        raise ModelError(f"{where} reads {inputs} channels of {len(node.inputs)} tensors with a kernel of {kernel}")
    _check_window(node.window, where)
    if not 1 <= groups <= inputs or inputs % groups or outputs % groups:
        raise ModelError(f"{where} has {groups} groups of {inputs} channels in and {outputs} out")
    if node.weight.shape != (outputs, inputs // groups, kernel, kernel) or node.bias.shape != (outputs,):
        raise ModelError(f"{where} has weights of {node.weight.shape} for {inputs} channels in and {outputs} out")
    if (node.weight.dtype.name, node.bias.dtype.name) != ("int8", "int32") or node.weight.min() < -127:
        raise ModelError(f"{where} has a weight of -128, or weights and biases of other types than int8 and int32")
    taps = np.abs(node.weight.astype(np.int64)).sum((1, 2, 3))
    largest = (LARGEST_BOTH if node.both else 256) * taps + np.abs(node.bias.astype(np.int64))
    if largest.max() > MAX_SUM:
        raise ModelError(f"{where} has weights and a bias whose sum may leave 32 bits")
    _check_multipliers(node.multiplier, outputs, where)
    _check_multipliers(node.negative, outputs, where)


def _check_multipliers(values: Floats, channels: int, where: str) -> None:
    fit = values.shape == (channels,) and values.dtype == np.float32
    if not (fit and np.isfinite(values).all() and np.abs(values).max() <= MAX_MULTIPLIER):
        what = f"{values.size} multipliers of {values.dtype} for {channels} channels"
        raise ModelError(f"{where} has {what}, or one beyond 2**20")
