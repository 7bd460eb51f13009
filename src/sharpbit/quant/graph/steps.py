"""What a float graph does, in the steps of an integer graph (`sharpbit.modelfile.integer_graph`), still in float."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


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
    """

    inputs: list[int]
    weight: Tensor
    bias: Tensor
    below: Tensor
    groups: int
    plus: list[Plus]

    def sums(self, values: list[Tensor]) -> Tensor:
        """Before the slope."""
        x = torch.cat([values[number] for number in self.inputs], 1)
        padding = self.weight.shape[2] // 2
        return F.conv2d(x, self.weight.float(), self.bias.float(), padding=padding, groups=self.groups)

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        out = F.prelu(self.sums(values), self.below.float())
        for plus in self.plus:
            out = out + plus.of(values)
        return out


@dataclass
class Add:
    """Tensors added."""

    plus: list[Plus]

    def run(self, values: list[Tensor]) -> Tensor:
        """The result."""
        return torch.stack([plus.of(values) for plus in self.plus]).sum(0)


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
class Multiply:
    """Two tensors multiplied; the second may have one channel."""

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


Step = Convolve | Add | Move | Multiply | Apply


def read_by(step: Step) -> list[int]:
    """The tensors that a step reads."""
    if isinstance(step, Convolve):
        return [*step.inputs, *(plus.tensor for plus in step.plus)]
    if isinstance(step, Add):
        return [plus.tensor for plus in step.plus]
    return [step.first, step.second] if isinstance(step, Multiply) else [step.tensor]
