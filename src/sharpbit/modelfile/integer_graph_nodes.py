"""The operators of an integer graph, and what a tensor is like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharpbit.modelfile.integer_graph_size import Size

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

SHUFFLE, UNSHUFFLE, NEAREST = "shuffle", "unshuffle", "nearest"
ZERO, REPLICATE, REFLECT = "constant", "replicate", "reflect"  # what lies around a tensor, in PyTorch's words


@dataclass(frozen=True)
class Term:
    """A tensor that is added, of as many channels as the result; of fewer, each counts for as many that follow.

    Attributes:
        tensor: its number.
        multiplier: `(outputs,)` float32, from a byte less its zero point, or from 1/256 of that where the tensor has 16
            bits, to the result; of any sign.
    """

    tensor: int
    multiplier: Floats


@dataclass(frozen=True)
class Convolution:
    """A convolution, and tensors that are added before it becomes bytes.

    Attributes:
        inputs: numbers of the tensors whose channels it reads, one behind the other (concatenation).
        weight: `(outputs, inputs / groups, k, k)` int8, from -127 to 127; k is 1 to 9.
        bias: `(outputs,)` int32. As outside of a tensor lie its zero points, the bias makes up for them everywhere.
        multiplier: `(outputs,)` float32, from sums of at least 0 to the result.
        negative: the same for negative sums: 0 for ReLU, the slope times `multiplier` for PReLU.
        zero: `(outputs,)` uint8, zero points of the result.
        groups: convolutions side by side, each of its share of the channels; depthwise where it is all of them.
        terms: what is added.
        wide: whether the result is kept in 16 bits.
        both: whether tensors in 16 bits are read with all of them; sums and the bias are in parts of 256 then.
        stride: pixels between neighbouring windows.
        padding: pixels around the tensor; None: as many as keep the size, where k is odd.
    """

    inputs: tuple[int, ...]
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: Floats
    negative: Floats
    zero: Bytes
    groups: int = 1
    terms: tuple[Term, ...] = ()
    wide: bool = False
    both: bool = False
    stride: int = 1
    padding: int | None = None

    @property
    def window(self) -> tuple[int, int, int]:
        """Side of the kernel, stride and padding."""
        side = self.weight.shape[-1]
        return side, self.stride, side // 2 if self.padding is None else self.padding


@dataclass(frozen=True)
class Sum:
    """Tensors added, and rounded once.

    Attributes:
        terms: at least one.
        zero: `(channels,)` uint8, zero points of the result.
        wide: whether the result is kept in 16 bits.
    """

    terms: tuple[Term, ...]
    zero: Bytes
    wide: bool = False


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
        inputs: two numbers; the second tensor may have a single channel, or a single pixel (`Mean`), which then counts
            for all.
        multiplier: `(channels,)` float32, from the product of bytes less their zero points to the result; the first
            tensor counts in parts of 256 where it has 16 bits, and so does the second where both are read.
        zero: `(channels,)` uint8, zero points of the result.
        wide: whether the result is kept in 16 bits.
        both: whether the second tensor, too, is read with 16 bits where it has them.
    """

    inputs: tuple[int, int]
    multiplier: Floats
    zero: Bytes
    wide: bool = False
    both: bool = False


@dataclass(frozen=True)
class Table:
    """Every byte replaced by another, such as by a sigmoid; in 16 bits, what lies between two entries is interpolated.

    Attributes:
        input: number of the tensor.
        values: `(channels, 256)` uint8; or `(channels, 258)` uint16 for the bytes -1 to 256, where the tensor is read
            with all its bits and the result is kept in 16.
        zero: `(channels,)` uint8, zero points of the result.
    """

    input: int
    values: Bytes | NDArray[np.uint16]
    zero: Bytes

    @property
    def wide(self) -> bool:
        """Whether the result is kept in 16 bits."""
        return self.values.dtype == np.uint16


@dataclass(frozen=True)
class Largest:
    """The largest byte of each channel in windows (max pooling); outside of the tensor there is none.

    Attributes:
        input: number of the tensor.
        side: 1 to 9.
        stride: pixels between neighbouring windows, 1 to 8.
        padding: pixels that windows reach beyond the tensor, at most half of their side.
    """

    input: int
    side: int
    stride: int
    padding: int

    @property
    def window(self) -> tuple[int, int, int]:
        """Side, stride and padding."""
        return self.side, self.stride, self.padding


@dataclass(frozen=True)
class Bilinear:
    """A tensor of another size by linear interpolation, with weights in parts of 256.

    Attributes:
        input: number of the tensor.
        factor: 1 to 8; 0: as large as `like`.
        like: number of a tensor; any where there is a factor.
        aligned: whether the pixels at corners lie on one another, and not the corners of the images.
        wide: whether the result is kept in 16 bits.
    """

    input: int
    factor: int
    like: int = 0
    aligned: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Pad:
    """A tensor with more pixels around it, or fewer; second bytes move along.

    Attributes:
        input: number of the tensor.
        before: pixels above and on the left, -64 to 64; negative: so many are taken away.
        after: pixels below and on the right.
        mode: what these are: `ZERO`, `REPLICATE` (the nearest pixel) or `REFLECT` (mirrored at the outermost pixel,
            and at most as far as the last one).
    """

    input: int
    before: int
    after: int
    mode: str = ZERO

    def places(self, side: int) -> NDArray[np.int64]:
        """The row of the tensor that each row is, where it has `side`; beyond 0 to `side` - 1 for zero points."""
        place = np.arange(-self.before, side + self.after)
        if self.mode == REFLECT:
            place = np.where(place >= side, 2 * (side - 1) - place, np.abs(place))
        return place if self.mode == ZERO else place.clip(0, side - 1)


@dataclass(frozen=True)
class Mean:
    """The mean of all pixels of each channel: a tensor of one pixel, which sums and products spread over others.

    Attributes:
        input: number of the tensor, which is read with all its bits.
        multiplier: `(channels,)` float32, from the mean in parts of 65536 of a byte to the result.
        zero: `(channels,)` uint8, zero points of the result.
        wide: whether the result is kept in 16 bits.
    """

    input: int
    multiplier: Floats
    zero: Bytes
    wide: bool = False


Node = Convolution | Sum | Rearrangement | Product | Table | Largest | Bilinear | Pad | Mean


@dataclass(frozen=True)
class Tensor:
    """What a tensor is like.

    Attributes:
        zero: `(channels,)` uint8, zero points.
        size: its side.
    """

    zero: Bytes
    size: Size

    @property
    def channels(self) -> int:
        """How many it has."""
        return len(self.zero)


def sources(node: Node) -> tuple[int, ...]:
    """Numbers of all tensors that a node reads."""
    if isinstance(node, Sum | Convolution):
        read = node.inputs if isinstance(node, Convolution) else ()
        return (*read, *(term.tensor for term in node.terms))
    if isinstance(node, Bilinear) and not node.factor:
        return (node.input, node.like)
    return node.inputs if isinstance(node, Product) else (node.input,)
