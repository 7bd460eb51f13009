"""A directed graph of operators on bytes: what it is and what its limits are, without any engine.

Tensor 0 is the image; node k makes tensor k + 1 of tensors with smaller numbers, the last one the result. In a channel
some byte stands for 0, its zero point. `sharpbit.modelfile.integer_graph_arithmetic` says what every node
computes, exactly, and `sharpbit.modelfile.integer_graph_payload` and docs/format.md how a graph is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import lcm

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

ARCHITECTURE = "integer_graph"  # in the header of a file

MAX_NODES = 1024
MAX_CHANNELS = 512  # of a tensor
MAX_INPUTS = 2048  # channels of all tensors that a convolution reads
MAX_TENSORS = 64  # that a convolution reads, or that are added
MAX_SCALE = 16
MAX_MULTIPLE, MAX_HALO = 64, 2047
MAX_SUM = (1 << 31) - 1  # that no sum of a convolution may pass, at 256 for every byte
MAX_MULTIPLIER = float(1 << 20)
KERNELS = (1, 3, 5)
SHUFFLE, UNSHUFFLE, NEAREST = "shuffle", "unshuffle", "nearest"


@dataclass(frozen=True)
class Term:
    """A tensor that is added, of as many channels as the result; of fewer, each counts for as many that follow.

    Attributes:
        tensor: its number.
        multiplier: `(outputs,)` float32, from a byte less its zero point to the result; of any sign.
    """

    tensor: int
    multiplier: Floats


@dataclass(frozen=True)
class Convolution:
    """A convolution of the size of its input, and tensors that are added before it becomes bytes.

    Attributes:
        inputs: numbers of the tensors whose channels it reads, one behind the other (concatenation).
        weight: `(outputs, inputs / groups, k, k)` int8, from -127 to 127; k is 1, 3 or 5.
        bias: `(outputs,)` int32. As outside of a tensor lie its zero points, the bias makes up for them everywhere.
        multiplier: `(outputs,)` float32, from sums of at least 0 to the result.
        negative: the same for negative sums: 0 for ReLU, the slope times `multiplier` for PReLU.
        zero: `(outputs,)` uint8, zero points of the result.
        groups: convolutions side by side, each of its share of the channels; depthwise where it is all of them.
        terms: what is added.
    """

    inputs: tuple[int, ...]
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: Floats
    negative: Floats
    zero: Bytes
    groups: int = 1
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True)
class Sum:
    """Tensors added, and rounded once.

    Attributes:
        terms: at least one.
        zero: `(channels,)` uint8, zero points of the result.
    """

    terms: tuple[Term, ...]
    zero: Bytes


@dataclass(frozen=True)
class Rearrangement:
    """Bytes that move: pixel shuffle, pixel unshuffle, or each pixel several times, in PyTorch's order of channels.

    Attributes:
        kind: `SHUFFLE`, `UNSHUFFLE` or `NEAREST`.
        input: number of the tensor. Channels that a shuffle puts side by side have one zero point.
        factor: 2 to 8.
    """

    kind: str
    input: int
    factor: int


@dataclass(frozen=True)
class Product:
    """Two tensors multiplied, such as features and their gate.

    Attributes:
        inputs: two numbers; the second tensor may have a single channel, which then counts for all.
        multiplier: `(channels,)` float32, from the product of bytes less their zero points to the result.
        zero: `(channels,)` uint8, zero points of the result.
    """

    inputs: tuple[int, int]
    multiplier: Floats
    zero: Bytes


@dataclass(frozen=True)
class Table:
    """Every byte replaced by another, such as by a sigmoid.

    Attributes:
        input: number of the tensor.
        values: `(channels, 256)` uint8.
        zero: `(channels,)` uint8, zero points of the result.
    """

    input: int
    values: Bytes
    zero: Bytes


Node = Convolution | Sum | Rearrangement | Product | Table


@dataclass(frozen=True)
class Tensor:
    """What a tensor is like.

    Attributes:
        zero: `(channels,)` uint8, zero points.
        level: its side for a side of the image of 1.
    """

    zero: Bytes
    level: Fraction

    @property
    def channels(self) -> int:
        """How many it has."""
        return len(self.zero)


@dataclass(frozen=True)
class IntegerGraph:
    """Nodes in an order in which they can be computed; the last gives the result, of 3 channels.

    Attributes:
        nodes: the operators.
        scale: upscaling factor, 1 to 16.
        outside: zero points of the image: what lies around it, `(3,)` uint8.
    """

    nodes: tuple[Node, ...]
    scale: int
    outside: Bytes

    def __post_init__(self) -> None:
        scale, count = self.scale, len(self.nodes)
        if not (1 <= scale <= MAX_SCALE and 1 <= count <= MAX_NODES and self.outside.shape == (3,)):
            raise ModelError(f"an integer graph upscales 1 to 16 times with 1 to 1024 nodes, not {scale} with {count}")
        made = self.tensors[-1].channels, self.tensors[-1].level
        if made != (3, Fraction(scale)):
            raise ModelError(f"the integer graph gives {made[0]} channels at x{made[1]}; expected are 3 at x{scale}")
        if self.multiple > MAX_MULTIPLE or self.halo > MAX_HALO:
            raise ModelError(f"the integer graph sees {self.halo} pixels, or takes multiples of {self.multiple}")

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The image, then what each node makes."""
        found = [Tensor(self.outside, Fraction(1))]
        for number, node in enumerate(self.nodes):
            found.append(_made(node, found, f"node {number} of the integer graph"))
        return tuple(found)

    @cached_property
    def multiple(self) -> int:
        """What sides of the image are filled up to a multiple of, with its last row and column."""
        return lcm(*(tensor.level.denominator for tensor in self.tensors))

    @property
    def macs(self) -> float:
        """Multiply-accumulate operations for one input pixel."""
        made = zip(self.nodes, self.tensors[1:], strict=True)
        return float(sum(n.weight.size * t.level**2 for n, t in made if isinstance(n, Convolution)))

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(n.weight.size + n.bias.size for n in self.nodes if isinstance(n, Convolution))

    @cached_property
    def halo(self) -> int:
        """Input pixels around a tile that its result depends on, where tiles begin at multiples of `multiple`."""
        needed = {len(self.nodes): (0, self.scale * self.multiple)}
        for number in range(len(self.nodes), 0, -1):
            if number in needed:
                for tensor, (low, high) in _reads(self.nodes[number - 1], *needed[number]):
                    before = needed.get(tensor, (low, high))
                    needed[tensor] = min(before[0], low), max(before[1], high)
        low, high = needed.get(0, (0, 0))
        return max(-low, high - self.multiple)


def _reads(node: Node, low: int, high: int) -> list[tuple[int, tuple[int, int]]]:
    """Each tensor that a node reads, and from where to where for its own pixels `low` to `high`."""
    if isinstance(node, Rearrangement):
        f = node.factor
        return [(node.input, (low * f, high * f) if node.kind == UNSHUFFLE else (low // f, -(-high // f)))]
    reach, read = (node.weight.shape[2] // 2, node.inputs) if isinstance(node, Convolution) else (0, ())
    return [(k, (low, high)) for k in sources(node)] + [(k, (low - reach, high + reach)) for k in read]


def sources(node: Node) -> tuple[int, ...]:
    """Numbers of all tensors that a node reads."""
    if isinstance(node, Sum | Convolution):
        read = node.inputs if isinstance(node, Convolution) else ()
        return (*read, *(term.tensor for term in node.terms))
    return node.inputs if isinstance(node, Product) else (node.input,)


def _made(node: Node, before: Sequence[Tensor], where: str) -> Tensor:
    """The tensor that a node makes; raises ModelError unless every engine can make it exactly."""
    if not all(0 <= number < len(before) for number in sources(node)):
        raise ModelError(f"{where} reads tensors {sources(node)}; there are 0 to {len(before) - 1}")
    if isinstance(node, Rearrangement):
        return _rearranged(node, before[node.input], where)
    read = [before[number] for number in sources(node)]
    if len({tensor.level for tensor in read}) != 1:
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
    elif isinstance(node, Table) and not read[0].channels == channels == len(node.values) == node.values.size // 256:
        raise ModelError(f"{where} has tables of {node.values.shape} for {read[0].channels} channels")
    terms = node.terms if isinstance(node, Convolution | Sum) else ()
    if len(terms) > MAX_TENSORS:
        raise ModelError(f"{where} adds {len(terms)} tensors; at most {MAX_TENSORS} are possible")
    for term in terms:
        _check_multipliers(term.multiplier, channels, where)
        if channels % before[term.tensor].channels:
            raise ModelError(f"{where} adds {before[term.tensor].channels} channels to {channels}")
    return Tensor(zero, read[0].level)


def _rearranged(node: Rearrangement, read: Tensor, where: str) -> Tensor:
    area = node.factor**2
    if node.kind not in (SHUFFLE, UNSHUFFLE, NEAREST) or not 2 <= node.factor <= 8:
        raise ModelError(f"{where} is a {node.kind} of {node.factor}; expected is one of 2 to 8")
    zero, level = read.zero, read.level * node.factor
    if node.kind == UNSHUFFLE:
        zero, level = np.repeat(zero, area), read.level / node.factor
    elif node.kind == SHUFFLE:
        zero = zero[::area]
        if not np.array_equal(np.repeat(zero, area), read.zero):
            raise ModelError(f"{where} shuffles {read.channels} channels, or zero points that differ, by {node.factor}")
    if len(zero) > MAX_CHANNELS or not Fraction(1, MAX_SCALE) <= level <= MAX_SCALE:
        raise ModelError(f"{where} makes {len(zero)} channels at {level} times the size of the image")
    return Tensor(zero, level)


def _check_convolution(node: Convolution, inputs: int, where: str) -> None:
    outputs, kernel, groups = len(node.zero), node.weight.shape[-1], node.groups
    if not 1 <= len(node.inputs) <= MAX_TENSORS or inputs > MAX_INPUTS or kernel not in KERNELS:
        raise ModelError(f"{where} reads {inputs} channels of {len(node.inputs)} tensors with a kernel of {kernel}")
    if not 1 <= groups <= inputs or inputs % groups or outputs % groups:
        raise ModelError(f"{where} has {groups} groups of {inputs} channels in and {outputs} out")
    if node.weight.shape != (outputs, inputs // groups, kernel, kernel) or node.bias.shape != (outputs,):
        raise ModelError(f"{where} has weights of {node.weight.shape} for {inputs} channels in and {outputs} out")
    if (node.weight.dtype.name, node.bias.dtype.name) != ("int8", "int32") or node.weight.min() < -127:
        raise ModelError(f"{where} has a weight of -128, or weights and biases of other types than int8 and int32")
    largest = 256 * np.abs(node.weight.astype(np.int64)).sum((1, 2, 3)) + np.abs(node.bias.astype(np.int64))
    if largest.max() > MAX_SUM:
        raise ModelError(f"{where} has weights and a bias whose sum may leave 32 bits")
    _check_multipliers(node.multiplier, outputs, where)
    _check_multipliers(node.negative, outputs, where)


def _check_multipliers(values: Floats, channels: int, where: str) -> None:
    fit = values.shape == (channels,) and values.dtype == np.float32
    if not (fit and np.isfinite(values).all() and np.abs(values).max() <= MAX_MULTIPLIER):
        what = f"{values.size} multipliers of {values.dtype} for {channels} channels"
        raise ModelError(f"{where} has {what}, or one beyond 2**20")
