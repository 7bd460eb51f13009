"""Kernels in another form: transposed convolutions as plain ones; dilated ones, and such as 1x3, with zeros."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def phases_of(weight: Tensor, factor: int, padding: int, groups: int) -> tuple[Tensor, int]:
    """The kernels of a transposed convolution that upscales exactly `factor` times, one for each place between pixels.

    Args:
        weight: `(inputs, outputs / groups, k, k)`.
        factor: Its stride.
        padding: Its padding.
        groups: Convolutions side by side.

    Returns:
        `(outputs * factor**2, inputs / groups, side, side)`, in the order of a pixel shuffle, and `side // 2`.
    """
    inputs, each, side, _ = weight.shape
    # A result at factor * q + phase takes tap k of the pixel q + (phase + padding - k) / factor.
    taps = {
        phase: [(k, (phase + padding - k) // factor) for k in range(side) if (phase + padding - k) % factor == 0]
        for phase in range(factor)
    }
    reach = max(abs(shift) for found in taps.values() for _, shift in found)
    width = 2 * reach + 1
    plain = torch.zeros(groups, each, factor, factor, inputs // groups, width, width, dtype=weight.dtype)
    own = weight.reshape(groups, inputs // groups, each, side, side).transpose(1, 2)
    for row, rows in taps.items():
        for column, columns in taps.items():
            for i, down in rows:
                for j, right in columns:
                    plain[:, :, row, column, :, reach + down, reach + right] = own[..., i, j]
    return plain.reshape(groups * each * factor**2, inputs // groups, width, width), reach


def square(weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> tuple[Tensor, Sequence[int]]:
    """A kernel such as 1x3 with zeros around it, and its padding, where it keeps the size; else what is given."""
    height, width = weight.shape[2:]
    side = max(height, width)
    same = height % 2 == width % 2 == 1 and tuple(padding) == (height // 2, width // 2) and {*stride} == {1}
    if height == width or not same:
        return weight, padding
    down, right = (side - height) // 2, (side - width) // 2
    return F.pad(weight, (right, right, down, down)), (side // 2, side // 2)


def spread(weight: Tensor, dilation: Sequence[int]) -> Tensor:
    """The kernel with zeros between its taps."""
    down, right = dilation
    if (down, right) == (1, 1):
        return weight
    outputs, inputs, height, width = weight.shape
    wide = torch.zeros(outputs, inputs, (height - 1) * down + 1, (width - 1) * right + 1, dtype=weight.dtype)
    wide[:, :, ::down, ::right] = weight
    return wide
