"""Kernels in another form: transposed convolutions and bicubic as plain ones; dilated ones, and 1x3, with zeros."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def phases_of(weight: Tensor, factor: int, padding: int, groups: int) -> tuple[Tensor, int]:
    """The kernels of a transposed convolution that upscales exactly `factor` times, one for each place between pixels.

    Args:
        weight: `(inputs, outputs / groups, k, k)`.
        factor: The stride of the convolution.
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


def centred(side: int, factor: int, padding: int, more: int) -> tuple[int, list[int], list[int]]:
    """A transposed convolution as one whose phases see as far on both sides.

    Args:
        side: The side of its kernel, in pixels.
        factor: The stride of the convolution.
        padding: Its padding.
        more: Rows that are added behind its result (`output_padding`).

    Returns:
        The padding of the other one, and pixels above, on the left, below and on the right: zeros around what it reads,
        and of its result; negative ones are taken away.
    """
    centre = (side - factor + 1) // 2
    above = centre - padding
    rows = [above, above, *[side - 2 * padding + more - factor - above] * 2]
    around = [max(0, -(-count // factor)) for count in rows]
    return centre, around, [count - factor * pixels for count, pixels in zip(rows, around, strict=True)]


def unshuffled(weight: Tensor, stride: int, padding: int) -> Tensor:
    """The kernel of a convolution with a stride for a tensor whose pixels are unshuffled by it.

    Args:
        weight: `(outputs, inputs / groups, k, k)`.
        stride: Its stride, by which the sides of the tensor can be divided.
        padding: Its padding.

    Returns:
        `(outputs, inputs / groups * stride**2, side, side)`, with the padding `side // 2`.
    """
    outputs, inputs, side, _ = weight.shape
    taps = [divmod(tap - padding, stride) for tap in range(side)]
    reach = max(abs(shift) for shift, _ in taps)
    width = 2 * reach + 1
    plain = torch.zeros(outputs, inputs, stride, stride, width, width, dtype=weight.dtype)
    for i, (down, row) in enumerate(taps):
        for j, (right, column) in enumerate(taps):
            plain[:, :, row, column, reach + down, reach + right] = weight[:, :, i, j]
    return plain.reshape(outputs, inputs * stride**2, width, width)


CUBIC_REACH = 2  # pixels on either side that bicubic upscaling by a whole factor sees
_CUBIC = -0.75  # of the cubic curve of PyTorch, OpenCV and ONNX


def cubic_phases(factor: int) -> Tensor:
    """The kernels of bicubic upscaling, `(factor**2, 1, 5, 5)` float64, in the order of a pixel shuffle."""
    side = torch.arange(-CUBIC_REACH, CUBIC_REACH + 1, dtype=torch.float64)
    places = (torch.arange(factor, dtype=torch.float64) + 0.5) / factor - 0.5
    apart = (places[:, None] - side).abs()
    near = (_CUBIC + 2) * apart**3 - (_CUBIC + 3) * apart**2 + 1
    far = _CUBIC * (apart**3 - 5 * apart**2 + 8 * apart - 4)
    rows = torch.where(apart <= 1, near, torch.where(apart < 2, far, 0.0))
    return torch.einsum("ai,bj->abij", rows, rows).reshape(-1, 1, *side.shape * 2)


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
