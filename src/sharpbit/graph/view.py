"""What reshapes and transpositions make of a map of features, followed until it is one again.

A map has axes `n c h w`. Each is a row of atoms, at first one; a reshape splits atoms and joins them, a transposition
changes their order. When an operator needs a map again, what lies in place of each axis shows what was done: channels
in another order, a pixel shuffle or unshuffle, another layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

LAYOUTS = ("nchw", "nhwc")


@dataclass(frozen=True, eq=False)
class Atom:
    """A part of an axis; two atoms are the same only if they are one object."""

    axis: str
    size: int


Row = tuple[Atom, ...]


@dataclass(frozen=True)
class View:
    """A tensor that holds the numbers of one map of features.

    Attributes:
        value: The name of the map.
        base: The atoms of its axes, in the order `n c h w`.
        dims: The atoms of each dimension of the tensor.
    """

    value: str
    base: tuple[Row, Row, Row, Row]
    dims: tuple[Row, ...]

    @classmethod
    def of(cls, value: str, shape: Sequence[int], layout: str = "nchw") -> View:
        """A map of this shape (batch, channels, height, width), in memory as `layout` says."""
        base = tuple((Atom(axis, size),) if size != 1 else () for axis, size in zip("nchw", shape, strict=True))
        return cls(value, base, tuple(base["nchw".index(axis)] for axis in layout))  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, ...]:
        """The sides of the tensor."""
        return tuple(prod(atom.size for atom in row) for row in self.dims)

    @property
    def map_shape(self) -> tuple[int, int, int, int]:
        """The sides of the map."""
        n, c, h, w = (prod(atom.size for atom in row) for row in self.base)
        return n, c, h, w

    def transposed(self, order: Sequence[int]) -> View:
        """With the dimensions in another order."""
        return replace(self, dims=tuple(self.dims[place] for place in order))

    def reshaped(self, shape: Sequence[int]) -> View | None:
        """With other sides; None where an atom cannot be split so."""
        if prod(shape) != prod(self.shape):
            return None
        view, rest, dims = self, [atom for row in self.dims for atom in row], list[Row]()
        for side in shape:
            row, left = list[Atom](), side
            while left > 1:
                atom = rest.pop(0)
                if atom.size > left:
                    if atom.size % left:
                        return None
                    first, second = Atom(atom.axis, left), Atom(atom.axis, atom.size // left)
                    view, atom = view._split(atom, first, second), first
                    rest.insert(0, second)
                if left % atom.size:
                    return None
                left //= atom.size
                row.append(atom)
            dims.append(tuple(row))
        return replace(view, dims=tuple(dims))

    def _split(self, old: Atom, *new: Atom) -> View:
        base = tuple(tuple(part for atom in row for part in (new if atom is old else (atom,))) for row in self.base)
        return replace(self, base=base)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Found:
    """What a view is as a map of features.

    Attributes:
        layout: How it lies in memory, one of `LAYOUTS`.
        unshuffle: The factor of a pixel unshuffle that comes first; 1 where there is none.
        index: The order of channels after that; None where it stays.
        shuffle: The factor of a pixel shuffle that comes last; 1 where there is none.
    """

    layout: str
    unshuffle: int = 1
    index: tuple[int, ...] | None = None
    shuffle: int = 1


def found(view: View) -> Found | None:
    """What a tensor of four dimensions is as a map; None where it is none."""
    if len(view.dims) != 4:
        return None
    for layout in LAYOUTS:
        n, c, h, w = (view.dims[layout.index(axis)] for axis in "nchw")
        if n != view.base[0]:
            continue
        if (known := _shuffled(view, c, h, w) or _unshuffled(view, c, h, w)) is not None:
            unshuffle, rows, shuffle = known
            return Found(layout, unshuffle, _order(*rows), shuffle)
    return None


_Known = tuple[int, tuple[Row, Row], int]


def _shuffled(view: View, c: Row, h: Row, w: Row) -> _Known | None:
    """A map whose pixels stay where they are, or are joined by channels."""
    own, high, wide = view.base[1:]
    down, right = h[len(high) :], w[len(wide) :]
    if h[: len(high)] != high or w[: len(wide)] != wide or any(atom.axis != "c" for atom in (*c, *down, *right)):
        return None
    factor = prod(atom.size for atom in down)
    return (1, (own, (*c, *down, *right)), factor) if factor == prod(atom.size for atom in right) else None


def _unshuffled(view: View, c: Row, h: Row, w: Row) -> _Known | None:
    """A map whose pixels become channels."""
    own, high, wide = view.base[1:]
    down, right = high[len(h) :], wide[len(w) :]
    factor = prod(atom.size for atom in down)
    if high[: len(h)] != h or wide[: len(w)] != w or factor != prod(atom.size for atom in right):
        return None
    return (factor, ((*own, *down, *right), c), 1) if {*c} == {*own, *down, *right} else None


def _order(before: Row, after: Row) -> tuple[int, ...] | None:
    """The channels in their new order, each channel being a number whose digits are the atoms."""
    if before == after:
        return None
    weights, size = {}, 1
    for atom in reversed(before):
        weights[atom], size = size, size * atom.size
    order = [0]
    for atom in after:
        order = [number + digit * weights[atom] for number in order for digit in range(atom.size)]
    return tuple(order)
