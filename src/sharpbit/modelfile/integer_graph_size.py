"""Sides of the tensors of an integer graph, as functions of the side of the image."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Size:
    """A side: a factor times another one, and an offset.

    Attributes:
        factor: What the side of the image, or of `root`, is multiplied by.
        offset: What is added.
        root: Another size, and what it is divided by, rounded down; None: the image.
    """

    factor: Fraction = Fraction(1)
    offset: int = 0
    root: tuple[Size, int] | None = None

    def of(self, side: int) -> int:
        """The side, where that of the filled up image is `side`."""
        base = side if self.root is None else self.root[0].of(side) // self.root[1]
        return int(base * self.factor) + self.offset

    def fits(self, side: int) -> bool:
        """Whether there is a pixel then."""
        return self.of(side) > 0 and (self.root is None or self.root[0].of(side) >= 0)

    @property
    def single(self) -> bool:
        """Whether that is one pixel of any image."""
        return self == Size(Fraction(0), 1)

    @property
    def level(self) -> Fraction:
        """The side for a side of the image of 1, about."""
        return self.factor * (1 if self.root is None else self.root[0].level / self.root[1])

    @property
    def roots(self) -> frozenset[tuple[Size, int]]:
        """All that is divided on the way."""
        return frozenset() if self.root is None else self.root[0].roots | {self.root}

    def times(self, factor: int) -> Size:
        """Of a tensor that is so many times as large."""
        return Size(self.factor * factor, self.offset * factor, self.root)

    def padded(self, pixels: int) -> Size:
        """Of a tensor with so many pixels more."""
        return Size(self.factor, self.offset + pixels, self.root)

    def over(self, factor: int) -> Size | None:
        """Of a tensor whose pixels are unshuffled; None where the side may be no multiple."""
        if self.root is not None or self.offset % factor:
            return None
        return Size(self.factor / factor, self.offset // factor)

    def windows(self, side: int, stride: int, padding: int) -> Size:
        """How many windows of a side, `stride` pixels apart, a tensor has with `padding` pixels around it."""
        last = self.padded(2 * padding - side)
        if stride == 1:
            return last.padded(1)
        return Size(Fraction(1), 1, (last, stride))
