"""What a float graph does, in the steps of an integer graph (`sharpbit.modelfile.integer_graph`), still in float."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.modelfile import integer_graph as ig


@dataclass(frozen=True)
class Plus:
    """A tensor that is added, times a factor.

    Attributes:
        tensor: The number of the tensor.
        factor: `(outputs,)` float64.
        repeat: How often each of its channels stands behind itself.
    """

    tensor: int
    factor: Tensor
    repeat: int = 1

    def of(self, values: list[Tensor]) -> Tensor:
        """What is added, where tensors have these values."""
        x = values[self.tensor]
        x = x.repeat_interleave(self.repeat, 1) if self.repeat > 1 else x
        return x * self.factor.float()[:, None, None]


@dataclass
class Convolve:
    """A convolution with a slope on either side of 0, and tensors added to it.

    Attributes:
        inputs: The tensors that it reads, one behind the other.
        weight: `(outputs, inputs / groups, k, k)` float64.
        bias: `(outputs,)` float64.
        below: `(outputs,)` float64: the slope for negative sums.
        groups: Convolutions side by side.
        plus: What is added after the slope.
        stride: Pixels between neighbouring windows.
        padding: Pixels around the tensors; None: as many as keep the size.
        grid: `(outputs,)` float64: the steps of weights for bytes that are read, where these are given; all weights
            are rounded to the nearest then.
    """

    inputs: list[int]
    weight: Tensor
    bias: Tensor
    below: Tensor
    groups: int
    plus: list[Plus]
    stride: int = 1
    padding: int | None = None
    grid: Tensor | None = None

    @property
    def around(self) -> int:
        """Pixels around the tensors."""
        return self.weight.shape[2] // 2 if self.padding is None else self.padding

    def sums(self, values: list[Tensor]) -> Tensor:
        """Before the slope."""
        x = torch.cat([values[number] for number in self.inputs], 1)
        weight, bias = self.weight.float(), self.bias.float()
        return F.conv2d(x, weight, bias, self.stride, self.around, groups=self.groups)

    def run(self, values: list[Tensor], added: list[Tensor] | None = None) -> Tensor:
        """The result; `added` are the tensors that are added, where these have other values."""
        return self.finished(self.sums(values), added or values)

    def finished(self, sums: Tensor, added: list[Tensor]) -> Tensor:
        """The result for these sums."""
        out = F.prelu(sums, self.below.float())
        for plus in self.plus:
            out = out + plus.of(added)
        return out


@dataclass
class Add:
    """Tensors added."""

    plus: list[Plus]

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        total = self.plus[0].of(values)
        for plus in self.plus[1:]:
            total = total + plus.of(values)
        return total


@dataclass
class Move:
    """A pixel shuffle, its inverse, or nearest upsampling; see `Rearrangement`."""

    kind: str
    tensor: int
    factor: int

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        x = values[self.tensor]
        if self.kind == "shuffle":
            return F.pixel_shuffle(x, self.factor)
        if self.kind == "unshuffle":
            return F.pixel_unshuffle(x, self.factor)
        return x.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)


@dataclass
class Pool:
    """The largest value of a window."""

    tensor: int
    side: int
    stride: int
    padding: int

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        return F.max_pool2d(values[self.tensor], self.side, self.stride, self.padding)


@dataclass
class Pad:
    """More pixels around a tensor, or fewer; see `sharpbit.modelfile.integer_graph.Pad`."""

    tensor: int
    before: int
    after: int
    mode: str

    @property
    def node(self) -> ig.Pad:
        """The same in an integer graph."""
        return ig.Pad(self.tensor, self.before, self.after, self.mode)

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        x = values[self.tensor]
        if self.mode == ig.ZERO:
            return F.pad(x, (self.before, self.after) * 2)
        rows, columns = (torch.from_numpy(self.node.places(side)) for side in x.shape[2:])
        return x[:, :, rows[:, None], columns]


@dataclass
class Interpolate:
    """Bilinear interpolation by a factor, or to the size of a tensor where that is 0."""

    tensor: int
    factor: int
    like: int
    aligned: bool

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        x = values[self.tensor]
        high, wide = (side * self.factor for side in x.shape[2:]) if self.factor else values[self.like].shape[2:]
        return F.interpolate(x, (high, wide), mode="bilinear", align_corners=self.aligned)


@dataclass
class Average:
    """The mean of all pixels of each channel, one pixel."""

    tensor: int

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        return values[self.tensor].mean((2, 3), keepdim=True)


@dataclass
class Multiply:
    """Two tensors multiplied; the second may have one channel, or one pixel."""

    first: int
    second: int

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        return values[self.first] * values[self.second]


@dataclass
class Apply:
    """A function of each value, `(N, C, h, w)` to the same."""

    tensor: int
    function: Callable[[Tensor], Tensor]

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        return self.function(values[self.tensor])

    def gated(self, x: Tensor) -> Tensor:
        """What the function gives, times what it is a function of, such as SiLU of a sigmoid."""
        return x * self.function(x)


Step = Convolve | Add | Move | Pool | Pad | Interpolate | Average | Multiply | Apply


def read_by(step: Step) -> list[int]:
    """The tensors that a step reads."""
    if isinstance(step, Convolve):
        return [*step.inputs, *(plus.tensor for plus in step.plus)]
    if isinstance(step, Add):
        return [plus.tensor for plus in step.plus]
    if isinstance(step, Interpolate) and not step.factor:
        return [step.tensor, step.like]
    return [step.first, step.second] if isinstance(step, Multiply) else [step.tensor]
