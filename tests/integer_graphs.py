"""Random integer graphs for tests: every operator, widths that are no multiples of anything, several sizes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from sharpbit.modelfile.integer_graph import (
    NEAREST,
    REFLECT,
    REPLICATE,
    SHUFFLE,
    UNSHUFFLE,
    ZERO,
    Bilinear,
    Convolution,
    IntegerGraph,
    Largest,
    Mean,
    Node,
    Pad,
    Product,
    Rearrangement,
    Size,
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
        self.tensors = [Tensor(self.outside, Size())]

    def _add(self, node: Node, zero: np.ndarray, size: Size) -> int:
        self.nodes.append(node)
        self.tensors.append(Tensor(zero, size))
        return len(self.nodes)

    def _zero(self, channels: int, equal: int = 1) -> np.ndarray:
        return self.rng.integers(0, 256, channels // equal, np.uint8).repeat(equal)

    def _gain(self, channels: int, gain: float) -> np.ndarray:
        values = self.rng.uniform(0.5, 1.5, channels) * gain
        if self.extreme:
            values = 2.0 ** self.rng.integers(-30, 21, channels) * self.rng.choice([-1, 1], channels)
        return values.astype(np.float32)

    def _parts(self, number: int) -> int:
        node = self.nodes[number - 1] if number else None
        return (
            self._parts(node.input) if isinstance(node, Rearrangement | Pad) else 256 if getattr(node, "wide", 0) else 1
        )

    def terms(self, numbers: tuple[int, ...], channels: int) -> tuple[Term, ...]:
        gains = [0.6 * self.rng.choice([-1, 1]) / self._parts(k) for k in numbers]
        return tuple(Term(k, self._gain(channels, gain)) for k, gain in zip(numbers, gains, strict=True))

    def conv(
        self, inputs, outputs, kernel=3, *, groups=1, adds=(), equal=1, wide=False, both=False, stride=1, padding=None
    ) -> int:
        inputs = (inputs,) if isinstance(inputs, int) else tuple(inputs)
        channels = sum(self.tensors[k].channels for k in inputs) // groups
        weight = self.rng.integers(-127, 128, (outputs, channels, kernel, kernel)).astype(np.int8)
        unit = 66048 if both else 256
        if both:
            weight //= max(1, int(np.abs(weight.astype(int)).sum((1, 2, 3)).max()) // 30000 + 1)
        largest = (1 << 31) - 1 - unit * np.abs(weight.astype(np.int64)).sum((1, 2, 3))
        limit = largest if self.extreme else np.minimum(largest, 20000 * unit // 256)
        bias = (limit * self.rng.uniform(-1, 1, outputs)).astype(np.int32)
        multiplier = self._gain(outputs, 1 / (kernel * channels**0.5 * (80 * unit // 256)))
        negative = (multiplier * self.rng.uniform(-1, 1, outputs)).astype(np.float32)
        zero = self._zero(outputs, equal)
        terms = self.terms(adds, outputs)
        node = Convolution(inputs, weight, bias, multiplier, negative, zero, groups, terms, wide, both, stride, padding)
        return self._add(node, zero, self.tensors[inputs[0]].size.windows(*node.window))

    def sum(self, numbers, channels=None, *, wide=False) -> int:
        channels = channels or self.tensors[numbers[0]].channels
        zero = self._zero(channels)
        return self._add(Sum(self.terms(numbers, channels), zero, wide), zero, self.tensors[numbers[0]].size)

    def move(self, kind: str, number: int, factor: int) -> int:
        zero, size = self.tensors[number].zero, self.tensors[number].size
        if kind == SHUFFLE:
            zero = zero[:: factor**2]
        if kind == UNSHUFFLE:
            zero = zero.repeat(factor**2)
        size = size.over(factor) if kind == UNSHUFFLE else size.times(factor)
        return self._add(Rearrangement(kind, number, factor), zero, size)

    def largest(self, number: int, side: int, stride: int, padding: int = 0) -> int:
        node = Largest(number, side, stride, padding)
        return self._add(node, self.tensors[number].zero, self.tensors[number].size.windows(*node.window))

    def mean(self, number: int, *, wide=False) -> int:
        zero = self._zero(self.tensors[number].channels)
        node = Mean(number, self._gain(len(zero), 1 / 65536), zero, wide)
        return self._add(node, zero, Size(Fraction(0), 1))

    def pad(self, number: int, before: int, after: int, mode: str) -> int:
        size = self.tensors[number].size.padded(before + after)
        return self._add(Pad(number, before, after, mode), self.tensors[number].zero, size)

    def bilinear(self, number: int, factor: int = 0, like: int = 0, **facts) -> int:
        size = self.tensors[number].size.times(factor) if factor else self.tensors[like].size
        return self._add(Bilinear(number, factor, like, **facts), self.tensors[number].zero, size)

    def product(self, first: int, second: int, *, wide=False, both=False) -> int:
        zero = self._zero(self.tensors[first].channels)
        parts = self._parts(first) * (self._parts(second) if both else 1)
        node = Product((first, second), self._gain(len(zero), 1 / 120 / parts), zero, wide, both)
        return self._add(node, zero, self.tensors[first].size)

    def table(self, number: int, *, wide=False) -> int:
        channels = self.tensors[number].channels
        zero = self._zero(channels)
        values = self.rng.integers(0, 256, (channels, 256), np.uint8)
        if wide:
            values = self.rng.integers(0, 1 << 16, (channels, 258)).astype(np.uint16)
        return self._add(Table(number, values, zero), zero, self.tensors[number].size)

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


def trunk(seed=0, extreme=False, width=21):
    """Sums in 16 bits, of bytes and of one another, of fewer channels, shuffled and added before a shuffle."""
    make = Maker(seed, extreme=extreme)
    x = first = make.conv(0, width, wide=True)
    for _ in range(2):
        x = make.conv(make.conv(x, width), width, adds=(x, first), wide=True)
    x = make.sum((x, first), wide=True)
    narrow = make.conv(x, 6, 1, adds=(0,), wide=True)
    x = make.conv(x, 48, adds=(narrow,), equal=4, wide=True)
    x = make.move(SHUFFLE, x, 2)
    y = make.sum((x, make.move(NEAREST, make.conv(first, 12, 1), 2)), wide=True)
    make.conv(y, 3)
    return make.graph(2)


def coarse(seed=0, extreme=False):
    """Strides, the largest of a window, sizes that are rounded down, linear interpolation, padding of several sizes."""
    make = Maker(seed, extreme=extreme)
    x = make.conv(0, 19)
    thin = make.conv(x, 6, 1)
    y = make.largest(make.conv(thin, 6, 3, stride=2, padding=0), 5, 3)
    y = make.bilinear(make.conv(y, 6), like=thin, wide=True)
    gate = make.table(make.conv(make.sum((y, thin)), 19, 1))
    x = make.conv(make.product(x, gate), 20, 4, padding=1)
    x = make.conv(make.largest(x, 2, 1, 1), 21, 2, padding=0)
    x = make.bilinear(make.conv(x, 12, 4, padding=2, groups=3), 2, aligned=True)
    x = make.conv(x, 12, 9)
    y = make.bilinear(make.conv(x, 70, 3, stride=2, padding=1), like=x)
    make.conv((x, y, make.bilinear(0, 2)), 3, 7)
    return make.graph(2)


def fine(seed=0, extreme=False):
    """Convolutions that read both bytes, beside tensors that have one, of several sizes and strides."""
    make = Maker(seed, extreme=extreme)
    x = make.conv(0, 22, wide=True)
    y = make.conv((x, 0), 70, both=True)
    y = make.conv((y, x), 22, 1, adds=(x,), wide=True, both=True)
    z = make.bilinear(make.conv(y, 9, 7, stride=3, padding=2, both=True), like=y, wide=True)
    y = make.sum((y, make.conv((z, y), 22, 5, both=True, adds=(y,), wide=True)), wide=True)
    y = make.product(make.product(y, x, wide=True), make.conv((y, x), 1, 1))
    x = make.conv((x, z), 12, both=True, equal=4, wide=True)
    x = make.conv(make.move(UNSHUFFLE, make.move(SHUFFLE, x, 2), 2), 12, 1, both=True, wide=True)
    x = make.conv(make.conv(make.move(NEAREST, x, 2), 16, 2, stride=2, padding=0, both=True), 4)
    make.conv((y, z, make.bilinear(x, like=y, wide=True)), 3, both=True, adds=(0,))
    return make.graph(1)


def smooth(seed=0, extreme=False):
    """Tables and products in 16 bits, of tensors that have them and of others, with gates of one channel."""
    make = Maker(seed, extreme=extreme)
    x = make.conv(0, 18, wide=True)
    y = make.table(x, wide=True)
    y = make.product(x, y, wide=True, both=True)
    gate = make.table(make.conv(y, 1, 1, both=True), wide=True)
    y = make.product(make.product(y, gate, both=True), make.table(make.conv(y, 18, 1), wide=True), both=True)
    y = make.table(make.sum((y, x), wide=True))
    make.conv((y, make.table(0, wide=True)), 3, both=True, adds=(0,))
    return make.graph(1)


def edges(seed=0, extreme=False):
    """Pixels around tensors of one and of two bytes, in every mode, more than there are, and fewer."""
    make = Maker(seed, extreme=extreme)
    x = make.conv(make.pad(0, 3, 1, REFLECT), 18, 5, padding=0, wide=True)
    y = make.conv(make.pad(x, 2, 2, REPLICATE), 34, 5, padding=0, both=True)
    y = make.conv(make.pad(y, 9, 8, ZERO), 12, 2, padding=0)
    y = make.pad(make.conv(make.pad(y, 20, 0, REFLECT), 18, padding=0), -26, -8, ZERO)
    x = make.sum((y, make.pad(x, -1, 1, REFLECT)), wide=True)
    x = make.conv(make.pad(x, 1, 0, ZERO), 12, adds=(make.pad(0, 0, 1, REPLICATE),), equal=4, wide=True)
    make.pad(make.move(SHUFFLE, x, 2), -2, 0, REPLICATE)
    return make.graph(2)


def attentive(seed=0, extreme=False):
    """Means of all pixels, of one and of two bytes, with what is done to one pixel, spread by products and sums."""
    make = Maker(seed, extreme=extreme)
    x = make.conv(0, 19, wide=True)
    gate = make.table(make.conv(make.conv(make.mean(x, wide=True), 5, 1), 19, both=True), wide=True)
    x = make.product(x, gate, wide=True, both=True)
    y = make.conv(x, 19, adds=(make.mean(x),))
    y = make.sum((x, y, make.mean(make.largest(y, 3, 2, 1), wide=True)), wide=True)
    one = make.conv(make.mean(y), 1, 1, wide=True)
    y = make.product(y, make.sum((one, make.mean(make.conv(y, 1, 1)))))
    x = make.conv((x, y), 12, adds=(make.conv(make.mean(0), 4, 1, wide=True),), equal=4)
    make.move(SHUFFLE, x, 2)
    return make.graph(2)


GRAPHS = {
    "plain": plain,
    "residual": residual,
    "dense": dense,
    "gated": gated,
    "wide": wide,
    "trunk": trunk,
    "coarse": coarse,
    "fine": fine,
    "smooth": smooth,
    "edges": edges,
    "attentive": attentive,
}
