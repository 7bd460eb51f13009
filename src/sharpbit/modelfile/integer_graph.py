"""A directed graph of operators on bytes: what it is and what its limits are, without any engine.

Tensor 0 is the image; node k makes tensor k + 1 of tensors with smaller numbers, the last one the result. In a channel
some byte stands for 0, its zero point. `sharpbit.modelfile.integer_graph_arithmetic` says what every node
computes, exactly, and `sharpbit.modelfile.integer_graph_payload` and docs/format.md how a graph is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import lcm

from sharpbit.errors import ModelError
from sharpbit.modelfile.integer_graph_checks import MAX_SCALE, made
from sharpbit.modelfile.integer_graph_nodes import (
    NEAREST,
    REFLECT,
    REPLICATE,
    SHUFFLE,
    UNSHUFFLE,
    ZERO,
    Bilinear,
    Bytes,
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
    Term,
    sources,
)
from sharpbit.modelfile.integer_graph_size import Size

__all__ = [
    "ARCHITECTURE",
    "MAX_NODES",
    "MAX_SCALE",
    "NEAREST",
    "REFLECT",
    "REPLICATE",
    "SHUFFLE",
    "UNSHUFFLE",
    "ZERO",
    "Bilinear",
    "Bytes",
    "Convolution",
    "Floats",
    "IntegerGraph",
    "Largest",
    "Mean",
    "Node",
    "Pad",
    "Product",
    "Rearrangement",
    "Size",
    "Sum",
    "Table",
    "Tensor",
    "Term",
]

ARCHITECTURE = "integer_graph"  # in the header of a file

MAX_NODES = 1024
MAX_MULTIPLE, MAX_HALO, MAX_LEAST = 64, 2047, 256


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
        made = self.tensors[-1]
        if (made.channels, made.size) != (3, Size(Fraction(scale))):
            raise ModelError(
                f"the integer graph gives {made.channels} channels at x{made.size.level}; expected are 3 at x{scale}"
            )
        if self.multiple > MAX_MULTIPLE or (self.halo or 0) > MAX_HALO or self.least > MAX_LEAST:
            raise ModelError(f"the integer graph sees {self.halo} pixels, or takes multiples of {self.multiple}")

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The image, then what each node makes."""
        found = [Tensor(self.outside, Size())]
        for number, node in enumerate(self.nodes):
            found.append(made(node, found, f"node {number} of the integer graph"))
        return tuple(found)

    @cached_property
    def multiple(self) -> int:
        """What sides of the image are filled up to a multiple of, with its last row and column."""
        return lcm(*(tensor.size.factor.denominator for tensor in self.tensors))

    @cached_property
    def least(self) -> int:
        """What smaller sides of the image are filled up to, so that each tensor has a pixel."""
        sizes = {tensor.size for tensor in self.tensors}
        side = self.multiple
        while side <= MAX_LEAST and not all(size.fits(side) for size in sizes):
            side += self.multiple
        return side

    def filled(self, side: int) -> int:
        """What a side of the image is filled up to, with its last row or column."""
        return max(-(-side // self.multiple) * self.multiple, self.least)

    @property
    def anywhere(self) -> bool:
        """Whether parts of an image may begin anywhere, if at multiples of `multiple`."""
        return not any(
            (isinstance(node, Convolution | Largest) and node.stride > 1)
            or (isinstance(node, Bilinear) and (node.aligned or not node.factor))
            or isinstance(node, Mean)
            for node in self.nodes
        )

    @property
    def macs(self) -> float:
        """Multiply-accumulate operations for one input pixel."""
        made = zip(self.nodes, self.tensors[1:], strict=True)
        return float(sum(n.weight.size * t.size.level**2 for n, t in made if isinstance(n, Convolution)))

    @property
    def pairs(self) -> int:
        """Convolutions that have what rounding left of the weights of the one behind them, to which they are added."""
        behind = enumerate(zip(self.nodes, self.nodes[1:], strict=False), 1)
        return sum(
            isinstance(rest, Convolution)
            and isinstance(main, Convolution)
            and main.inputs == rest.inputs
            and main.weight.shape == rest.weight.shape
            and bool(main.terms)
            and main.terms[0].tensor == number
            for number, (rest, main) in behind
        )

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(n.weight.size + n.bias.size for n in self.nodes if isinstance(n, Convolution))

    @cached_property
    def halo(self) -> int | None:
        """Input pixels around a tile that its result depends on, where tiles begin at multiples of `multiple`.

        None where the result depends on where a tile begins.
        """
        if not self.anywhere:
            return None
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
    match node:
        case Rearrangement(kind=kind, factor=f):
            return [(node.input, (low * f, high * f) if kind == UNSHUFFLE else (low // f, -(-high // f)))]
        case Pad(before=before):
            return [(node.input, (low - before, high - before))]
        case Bilinear(factor=f):
            return [(node.input, ((2 * low + 1 - f) // (2 * f), (2 * high - 1 - f) // (2 * f) + 2))]
        case Convolution() | Largest():
            side, stride, padding = node.window
            span = low * stride - padding, (high - 1) * stride - padding + side
            read = node.inputs if isinstance(node, Convolution) else (node.input,)
            added = node.terms if isinstance(node, Convolution) else ()
            return [(k, span) for k in read] + [(term.tensor, (low, high)) for term in added]
        case _:
            return [(k, (low, high)) for k in sources(node)]
