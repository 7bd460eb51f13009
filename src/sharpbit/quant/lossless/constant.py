"""Constant images that stay constant in integers, for chains that keep them so in float (`sharpbit.arch.carry`).

Where a kernel reads the image, its weights sum to zero, and in the last layer to one. Least squares, tuning and
rounding keep to these sums, the last layer's multiplier is the inverse of a whole number, and its bias cancels what the
features of a constant image add: then every colour comes out as it went in, at every pixel that sees no border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sharpbit.quant.lossless.least_squares import nearest

TAPS = 9  # of a 3x3 kernel
CLOSE = 1e-4  # how near sums of float weights are to what they should be, for the largest weight


@dataclass(frozen=True)
class Sums:
    """What the weights that read the image sum to.

    Attributes:
        channels: The channels of the layer's input that hold the image.
        wanted: `(out, 3)`, for each of these channels, in bytes per byte.
    """

    channels: tuple[int, ...]
    wanted: Tensor

    @property
    def columns(self) -> list[int]:
        """The columns of the kernel that read the image, by channel."""
        return [channel * TAPS + tap for channel in self.channels for tap in range(TAPS)]

    def fixed(self, kernel: Tensor) -> Tensor:
        """A kernel of zeros that has the sums, in its middle taps."""
        middle = torch.zeros_like(kernel)
        for number, channel in enumerate(self.channels):
            middle[:, channel * TAPS + TAPS // 2] = self.wanted[:, number].to(kernel)
        return middle

    def projection(self, kernel: Tensor) -> Tensor:
        """The matrix that takes the sums out of the rows of a kernel."""
        matrix = torch.eye(kernel.shape[1], dtype=kernel.dtype)
        for channel in self.channels:
            part = slice(channel * TAPS, (channel + 1) * TAPS)
            matrix[part, part] -= 1 / TAPS
        return matrix

    def nearest(self, kernel: Tensor, moments: Tensor, targets: Tensor) -> Tensor:
        """As `least_squares.nearest`, among the kernels that have the sums."""
        fixed, project = self.fixed(kernel), self.projection(kernel)
        free = nearest((kernel - fixed) @ project, project @ moments @ project, project @ (targets - moments @ fixed.T))
        return free @ project + fixed

    def steps(self, step: Tensor) -> Tensor:
        """Steps of the weights that are not smaller, and that go into one a whole number of times where it matters."""
        inverse = 1 / (1 / step).floor()
        return torch.where((self.wanted != 0).any(1), inverse, step)

    def whole(self, step: Tensor) -> Tensor:
        """What whole weights of such steps sum to, `(out, 3)`."""
        return (self.wanted.to(step) / step[:, None]).round()


def sums_of(layers: Sequence[tuple[Tensor, Tensor]], carriers: Sequence[tuple[int, ...]], scale: int) -> list[Sums]:
    """The sums of every layer, or nothing where the chain does not keep constant images constant by them.

    Args:
        layers: float weights and biases.
        carriers: the channels of every layer's output that hold the image; none after the last.
        scale: The factor of the pixel shuffle.
    """
    if not all(carriers[:-1]):
        return []
    found, channels = [], tuple(range(3))
    for number, (weight, bias) in enumerate(layers):
        wanted = torch.zeros(len(bias), 3, dtype=weight.dtype)
        if number == len(layers) - 1:
            wanted = torch.eye(3, dtype=weight.dtype).repeat_interleave(scale * scale, 0)
        carried = list(carriers[number])
        copies = torch.zeros(len(carried), *weight.shape[1:], dtype=weight.dtype)
        if carried:
            copies[range(3), list(channels), 1, 1] = 1
        others = [row for row in range(len(bias)) if row not in carried]
        apart = weight[others][:, list(channels)].sum((2, 3)) - wanted[others]
        same = torch.equal(weight[carried], copies) and not bool(bias[carried].any())
        if not same or float(apart.abs().max()) > CLOSE * max(1.0, float(weight.abs().max())):
            return []
        found.append(Sums(channels, wanted))
        channels = carriers[number]
    return found


def balanced(whole: Tensor, left: Tensor, wanted: Tensor, limit: int) -> Tensor:
    """Whole weights whose rows have the wanted sums: the ones that are rounded most move by one, then by one more.

    Args:
        whole: `(out, 9)`.
        left: what they were before they were rounded.
        wanted: `(out,)`.
        limit: The largest size of a weight.
    """
    whole = whole.clone()
    for _ in range(4):
        missing = wanted - whole.sum(1)
        direction = missing.sign()[:, None]
        gain = (left - whole) * direction
        gain[(whole * direction) >= limit] = -torch.inf
        order = gain.argsort(1, descending=True).argsort(1)  # the rank of each weight
        whole += direction * (order < missing.abs()[:, None])
    return whole
