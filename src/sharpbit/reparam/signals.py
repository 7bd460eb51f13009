"""What a network computes, as convolutions of signals: the algebra that `follow` applies and `chain` lays out.

A `Signal` is what comes out of a non-linear layer (or the image). Between two non-linear layers everything is a
`Value`: a sum of convolutions of signals, and a bias. The functions here are exact at the borders of the image;
where two convolutions in a row cannot be one, the first becomes a signal of its own, with a slope of one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sharpbit.errors import ReparameterizeError
from sharpbit.reparam import kernels
from sharpbit.reparam.kernels import Kernel


@dataclass(frozen=True, eq=False)
class Signal:
    """A value after a PReLU: slope 0 is a ReLU, slope 1 nothing at all.

    Attributes:
        value: signal before it; None for the image, which lies in `[0, 1]`.
        slope: slope of each channel, `(C,)`.
        level: number of layers between it and the image.
        clips: signal that this one is, clipped to `[0, 1]`; None where it is no such one.
    """

    value: Value | None
    slope: Tensor
    level: int = 0
    clips: Value | None = None

    @property
    def channels(self) -> int:
        """How many channels it has."""
        return len(self.slope)

    @property
    def positive(self) -> bool:
        """Whether it is never negative, so that a ReLU leaves it as it is."""
        return self.value is None or not self.slope.any()


@dataclass(frozen=True, eq=False)
class Value:
    """A sum of convolutions of signals.

    Attributes:
        terms: weight of each signal, `(C, channels, side, side)`.
        bias: `(C,)`.
        shuffle: the factor of the pixel shuffle that comes after, 1 for none.
    """

    terms: dict[Signal, Tensor]
    bias: Tensor
    shuffle: int = 1

    @property
    def side(self) -> int:
        """Height and width of the largest kernel."""
        return max((weight.shape[-1] for weight in self.terms.values()), default=1)

    @property
    def level(self) -> int:
        """Of the last signal that it reads."""
        return max((signal.level for signal in self.terms), default=0)


def image(channels: int = 3) -> Value:
    """What goes into a network."""
    return value_of(Signal(None, torch.zeros(channels, dtype=torch.float64)))


def value_of(signal: Signal) -> Value:
    """The signal itself."""
    weight = kernels.identity(signal.channels, signal.channels, 1).double()
    return Value({signal: weight}, torch.zeros_like(signal.slope))


def convolved(value: Value, kernel: Kernel) -> Value:
    """A convolution of a value."""
    if value.shuffle != 1:
        raise ReparameterizeError("a convolution after the pixel shuffle, at the size of the result,")
    if kernel.weight.shape[1] != len(value.bias):
        raise ReparameterizeError(f"a convolution of {kernel.weight.shape[1]} channels that gets {len(value.bias)}")
    if kernel.side > 1 and (value.side > 1 or value.bias.any()):
        value = value_of(_signal(value, torch.ones_like(value.bias)))
    nothing = torch.zeros_like(value.bias)
    terms = {
        signal: kernel.weight if _is_identity(weight) else kernels.sequence(Kernel(weight, nothing), kernel).weight
        for signal, weight in value.terms.items()
    }
    return Value(terms, kernel.bias + kernel.weight.sum((2, 3)) @ value.bias if value.bias.any() else kernel.bias)


def activated(value: Value, slope: Tensor) -> Value:
    """A PReLU of a value; slope 0 is a ReLU. Nothing is added where it changes nothing."""
    if len(slope) not in (1, len(value.bias)):  # after a pixel shuffle there are fewer channels
        raise ReparameterizeError(f"a PReLU of {len(slope)} slopes that gets {len(value.bias)} channels")
    slope = slope.double().expand(len(value.bias))
    signal = _same_as(value)
    if bool((slope == 1).all()) or (signal is not None and signal.positive):
        return value
    return replace(value_of(_signal(value, slope)), shuffle=value.shuffle)


def added(first: Value, second: Value) -> Value:
    """The sum of two values of the same size."""
    if first.shuffle != second.shuffle or len(first.bias) != len(second.bias):
        raise ReparameterizeError("a sum of two tensors of different sizes")
    terms = dict(first.terms)
    for signal, weight in second.terms.items():
        if signal in terms:
            nothing = torch.zeros_like(first.bias)
            weight = kernels.parallel(Kernel(terms[signal], nothing), Kernel(weight, nothing)).weight
        terms[signal] = weight
    return replace(first, terms=terms, bias=first.bias + second.bias)


def scaled(value: Value, factor: float, offset: float = 0.0) -> Value:
    """`factor * value + offset`."""
    terms = {signal: weight * factor for signal, weight in value.terms.items()}
    return replace(value, terms=terms, bias=value.bias * factor + offset)


def clipped(value: Value) -> Value:
    """A value clipped to `[0, 1]`: twice one minus it and a ReLU."""
    nothing = torch.zeros_like(value.bias)
    inner = activated(scaled(value, -1.0, 1.0), nothing)
    return activated(scaled(inner, -1.0, 1.0), nothing)


def unclipped(value: Value) -> Value:
    """The value of which this is the clipped one; itself, where it is not clipped."""
    if len(value.terms) != 1 or value.bias.any():
        return value
    ((signal, weight),) = value.terms.items()
    rows = weight[:, :, 0, 0]
    if signal.clips is None or value.side > 1 or not bool(((rows == 0) | (rows == 1)).all() & (rows.sum(1) == 1).all()):
        return value
    return replace(selected(signal.clips, rows.argmax(1)), shuffle=value.shuffle)


def selected(value: Value, channels: Tensor) -> Value:
    """Some channels, `channels` being their numbers."""
    if value.shuffle != 1:
        raise ReparameterizeError("a choice of channels after the pixel shuffle")
    terms = {signal: weight[channels] for signal, weight in value.terms.items()}
    return Value({signal: weight for signal, weight in terms.items() if weight.any()}, value.bias[channels])


def concatenated(values: list[Value]) -> Value:
    """Values one after the other."""
    if any(value.shuffle != 1 for value in values):
        raise ReparameterizeError("a concatenation after the pixel shuffle")
    terms = {}
    for signal in dict.fromkeys(signal for value in values for signal in value.terms):
        blanks = [torch.zeros(len(value.bias), signal.channels, 1, 1, dtype=torch.float64) for value in values]
        parts = [value.terms.get(signal, blank) for value, blank in zip(values, blanks, strict=True)]
        terms[signal] = kernels.beside(*(Kernel(part, part.new_zeros(len(part))) for part in parts)).weight
    return Value(terms, torch.cat([value.bias for value in values]))


def shuffled(value: Value, scale: int) -> Value:
    """A pixel shuffle; the convolutions are those before it."""
    if value.shuffle != 1:
        raise ReparameterizeError("a second pixel shuffle")
    return replace(value, shuffle=scale)


def _signal(value: Value, slope: Tensor) -> Signal:
    """The signal of a value; notes whether it is `ReLU(1 - ReLU(1 - y))`, which is `y` clipped to `[0, 1]`."""
    clips = None
    if len(value.terms) == 1 and bool((value.bias == 1).all()) and not slope.any():
        ((inner, weight),) = value.terms.items()
        if inner.value is not None and inner.positive and _is_identity(-weight):
            clips = scaled(inner.value, -1.0, 1.0)
    return Signal(replace(value, shuffle=1), slope, value.level + 1, clips)


def _same_as(value: Value) -> Signal | None:
    """The signal that the value is, if it is just one."""
    if len(value.terms) != 1 or value.bias.any():
        return None
    ((signal, weight),) = value.terms.items()
    return signal if _is_identity(weight) else None


def _is_identity(weight: Tensor) -> bool:
    rows, columns = weight.shape[:2]
    return rows == columns and weight.shape[-1] == 1 and torch.equal(weight[:, :, 0, 0], torch.eye(rows).to(weight))
