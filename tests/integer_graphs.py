"""Random integer graphs for tests: every operator, widths that are no multiples of anything, several sizes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from sharpbit.modelfile.integer_graph import (
    NEAREST,
    SHUFFLE,
    UNSHUFFLE,
    Convolution,
    IntegerGraph,
    Node,
    Product,
    Rearrangement,
    Sum,
    Table,
    Tensor,
    Term,
)


class Maker:
    """Nodes that are added one by one, each with random numbers that leave bytes neither black nor white."""

    def __init__(self, seed: int = 0, *, extreme: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.extreme = extreme
        self.outside = self.rng.integers(0, 256, 3, np.uint8)
        self.nodes: list[Node] = []
        self.tensors = [Tensor(self.outside, Fraction(1))]

    def _add(self, node: Node, zero: np.ndarray, level: Fraction) -> int:
        self.nodes.append(node)
        self.tensors.append(Tensor(zero, level))
        return len(self.nodes)

    def _zero(self, channels: int, equal: int = 1) -> np.ndarray:
        return self.rng.integers(0, 256, channels // equal, np.uint8).repeat(equal)

    def _gain(self, channels: int, gain: float) -> np.ndarray:
        values = self.rng.uniform(0.5, 1.5, channels) * gain
        if self.extreme:
            values = 2.0 ** self.rng.integers(-30, 21, channels) * self.rng.choice([-1, 1], channels)
        return values.astype(np.float32)

    def terms(self, numbers: tuple[int, ...], channels: int) -> tuple[Term, ...]:
        return tuple(Term(k, self._gain(channels, 0.6 * self.rng.choice([-1, 1]))) for k in numbers)

    def conv(self, inputs, outputs, kernel=3, *, groups=1, adds=(), equal=1) -> int:
        inputs = (inputs,) if isinstance(inputs, int) else tuple(inputs)
        channels = sum(self.tensors[k].channels for k in inputs) // groups
        weight = self.rng.integers(-127, 128, (outputs, channels, kernel, kernel)).astype(np.int8)
        largest = (1 << 31) - 1 - 256 * np.abs(weight.astype(np.int64)).sum((1, 2, 3))
        limit = largest if self.extreme else np.minimum(largest, 20000)
        bias = (limit * self.rng.uniform(-1, 1, outputs)).astype(np.int32)
        multiplier = self._gain(outputs, 1 / (kernel * channels**0.5 * 80))
        negative = (multiplier * self.rng.uniform(-1, 1, outputs)).astype(np.float32)
        zero = self._zero(outputs, equal)
        node = Convolution(inputs, weight, bias, multiplier, negative, zero, groups, self.terms(adds, outputs))
        return self._add(node, zero, self.tensors[inputs[0]].level)

    def sum(self, numbers, channels=None) -> int:
        channels = channels or self.tensors[numbers[0]].channels
        zero = self._zero(channels)
        return self._add(Sum(self.terms(numbers, channels), zero), zero, self.tensors[numbers[0]].level)

    def move(self, kind: str, number: int, factor: int) -> int:
        zero, level = self.tensors[number].zero, self.tensors[number].level
        if kind == SHUFFLE:
            zero = zero[:: factor**2]
        if kind == UNSHUFFLE:
            zero = zero.repeat(factor**2)
        level = level / factor if kind == UNSHUFFLE else level * factor
        return self._add(Rearrangement(kind, number, factor), zero, level)

    def product(self, first: int, second: int) -> int:
        zero = self._zero(self.tensors[first].channels)
        node = Product((first, second), self._gain(len(zero), 1 / 120), zero)
        return self._add(node, zero, self.tensors[first].level)

    def table(self, number: int) -> int:
        channels = self.tensors[number].channels
        zero = self._zero(channels)
        values = self.rng.integers(0, 256, (channels, 256), np.uint8)
        return self._add(Table(number, values, zero), zero, self.tensors[number].level)

    def graph(self, scale: int) -> IntegerGraph:
        return IntegerGraph(tuple(self.nodes), scale, self.outside)


def plain(seed=0, extreme=False):
    """Convolutions of odd widths, the image added before the shuffle."""
    make = Maker(seed, extreme=extreme)
    x = make.conv(make.conv(make.conv(0, 20), 33, 1), 64)
    x = make.conv(x, 12, adds=(0,), equal=4)
    make.move(SHUFFLE, x, 2)
    return make.graph(2)


def residual(seed=0, extreme=False, width=24, blocks=2):
    """Blocks with skips, a long skip, an inner shuffle, then a convolution at the large size."""
    make = Maker(seed, extreme=extreme)
    x = first = make.conv(0, width)
    for _ in range(blocks):
        x = make.conv(make.conv(x, width), width, adds=(x,))
    x = make.conv(x, width, adds=(first,))
    x = make.move(SHUFFLE, make.conv(x, 4 * width, equal=4), 2)
    make.conv(x, 3)
    return make.graph(2)


def dense(seed=0, extreme=False, width=20, growth=12):
    """Concatenations of everything before, two sums, pixels that are doubled inside, a fixed unshuffle at the start."""
    make = Maker(seed, extreme=extreme)
    x = first = make.conv(make.move(UNSHUFFLE, 0, 2), width)
    for _ in range(2):
        parts = [x]
        for _ in range(2):
            parts.append(make.conv(parts, growth))
        x = make.conv(parts, width, adds=(x,))
    x = make.conv(x, width, adds=(first, x))
    for _ in range(2):
        x = make.conv(make.move(NEAREST, x, 2), width)
    make.conv(x, 3)
    return make.graph(2)


def gated(seed=0, extreme=False):
    """Tables, products, groups, 5x5, sums of three."""
    make = Maker(seed, extreme=extreme)
    x = first = make.conv(0, 18, 5)
    y = make.table(make.conv(x, 18, 3, groups=18))
    x = make.product(make.conv(y, 18, 1, groups=2), y)
    gate = make.table(make.conv(x, 1, 1))
    x = make.sum((x, first, make.product(x, gate)))
    x = make.conv((x, 0), 27, 5, groups=3, adds=(0,), equal=9)
    make.move(SHUFFLE, x, 3)
    return make.graph(3)


def wide(seed=0, extreme=False):
    """More channels than one pass of a kernel takes."""
    make = Maker(seed, extreme=extreme)
    x = make.conv(0, 80)
    y = make.conv(x, 160, 1)
    x = make.conv((x, y), 130)
    make.conv((y, x, 0), 3, adds=(0,))
    return make.graph(1)


GRAPHS = {"plain": plain, "residual": residual, "dense": dense, "gated": gated, "wide": wide}
