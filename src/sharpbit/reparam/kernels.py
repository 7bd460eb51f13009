"""Kernel algebra: pure functions on convolution kernels.

A `Kernel` is the weight `(out, in, side, side)`, side odd, and the bias `(out,)` of a convolution with stride 1 that
keeps the size: zero padding of `side // 2`. Everything here is exact at the borders too.

Source of the rules: `scripts/validation/reparameterization.py` and the converters of ECNUSR/ETDS; for the branches of
ECBSR, Zhang et al., ACM MM 2021.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.errors import ReparameterizeError

Net = TypeVar("Net", bound=nn.Module)


class Kernel(NamedTuple):
    """Weight `(out, in, side, side)` and bias `(out,)`."""

    weight: Tensor
    bias: Tensor

    @property
    def side(self) -> int:
        """Height and width in taps."""
        return int(self.weight.shape[-1])


def of(conv: nn.Module) -> Kernel:
    """The kernel of a convolution, detached; groups and dilation become zeros in a dense, square kernel.

    Raises:
        ReparameterizeError: it changes the size of its input, or pads with something else than zeros.
    """
    assert isinstance(conv, nn.Conv2d)
    height, width = conv.kernel_size
    reach = [(size - 1) * step for size, step in zip(conv.kernel_size, conv.dilation, strict=True)]
    keeps = conv.padding in ("same", tuple(size // 2 for size in reach)) and not any(size % 2 for size in reach)
    if conv.stride != (1, 1) or not keeps or conv.padding_mode != "zeros":
        raise ReparameterizeError(
            f"a convolution {height}x{width} with stride {conv.stride}, padding {conv.padding} ({conv.padding_mode})"
            f" and dilation {conv.dilation} does not keep the size with zeros around the image"
        )
    weight = conv.weight.detach()
    side = max(reach) + 1
    spread = weight.new_zeros(*weight.shape[:2], side, side)
    top, left = ((side - 1 - size) // 2 for size in reach)
    spread[..., top : side - top : conv.dilation[0], left : side - left : conv.dilation[1]] = weight
    bias = weight.new_zeros(weight.shape[0]) if conv.bias is None else conv.bias.detach()
    return Kernel(_diagonal(spread.chunk(conv.groups)) if conv.groups > 1 else spread, bias)


def of_transposed(conv: nn.ConvTranspose2d) -> Kernel:
    """The convolution that, with a pixel shuffle after it, equals a transposed convolution.

    Output pixel `stride * i + a` reads input `i + d` through tap `a + padding - stride * d`.

    Raises:
        ReparameterizeError: it does not upscale by exactly its stride, or has groups or dilation.
    """
    (size, _), (stride, _), padding = conv.kernel_size, conv.stride, int(conv.padding[0])
    square = all(len(set(pair)) == 1 for pair in (conv.kernel_size, conv.stride, conv.padding, conv.output_padding))
    upscales = size + conv.output_padding[0] - 2 * padding == stride
    if not (square and upscales and conv.groups == 1 and conv.dilation == (1, 1)):
        raise ReparameterizeError("a transposed convolution that does not upscale by exactly its stride")
    taps = [
        (a, d, a + padding - stride * d)
        for a in range(stride)
        for d in range(-size, size + 1)
        if 0 <= a + padding - stride * d < size
    ]
    radius = max(abs(d) for _, d, _ in taps)
    source = conv.weight.detach()  # (in, out, size, size)
    inputs, outputs = source.shape[:2]
    weight = source.new_zeros(outputs, stride, stride, inputs, 2 * radius + 1, 2 * radius + 1)
    for a, down, row in taps:
        for b, right, column in taps:
            weight[:, a, b, :, radius + down, radius + right] = source[:, :, row, column].T
    bias = source.new_zeros(outputs) if conv.bias is None else conv.bias.detach()
    return Kernel(weight.flatten(0, 2), bias.repeat_interleave(stride * stride))


def sequence(first: Kernel, second: Kernel) -> Kernel:
    """`second` after `first`, one of them 1x1, where what surrounds the result of `first` is its bias.

    That surrounding is what a 1x1 convolution makes of zeros around its input, so padding with the bias is exact. For
    a second convolution that pads with zeros it is exact where `first` has no bias or `second` is 1x1.
    """
    assert min(first.side, second.side) == 1
    weight = torch.einsum("om...,mi...->oi...", second.weight, first.weight)
    return Kernel(weight, second.bias + second.weight.sum((2, 3)) @ first.bias)


def parallel(*parts: Kernel) -> Kernel:
    """Convolutions that read the same input, their outputs added; the shortcut around them is `identity`."""
    side = max(part.side for part in parts)
    return Kernel(sum_of([grown(p.weight, side) for p in parts]), sum_of([p.bias for p in parts]))


def beside(*parts: Kernel) -> Kernel:
    """Convolutions that read the same input, their outputs concatenated."""
    side = max(part.side for part in parts)
    return Kernel(torch.cat([grown(p.weight, side) for p in parts]), torch.cat([p.bias for p in parts]))


def joined(*parts: Kernel) -> Kernel:
    """Convolutions that read one piece of a concatenated input each, their outputs added."""
    side = max(part.side for part in parts)
    return Kernel(torch.cat([grown(p.weight, side) for p in parts], 1), sum_of([p.bias for p in parts]))


def fixed(taps: Tensor, scale: Tensor, bias: Tensor) -> Kernel:
    """A filter for each channel: `taps` `(C, 1, side, side)` times a trained `scale` `(C, 1, 1, 1)`."""
    return Kernel(_diagonal((scale * taps).unbind(0)), bias)


def zeros(inputs: int, outputs: int, side: int = 3) -> Kernel:
    """A convolution that gives zero whatever it reads."""
    return Kernel(torch.zeros(outputs, inputs, side, side), torch.zeros(outputs))


def identity(inputs: int, outputs: int, side: int = 3) -> Tensor:
    """The weight that copies channel i to channel i.

    A ReLU after it changes nothing where the channel is never negative, so such channels (the image, or what comes
    out of a ReLU) pass any number of layers beside others.
    """
    weight = torch.zeros(outputs, inputs, side, side)
    for i in range(min(inputs, outputs)):
        weight[i, i, side // 2, side // 2] = 1.0
    return weight


def repeat(inputs: int, times: int, outputs: int | None = None, side: int = 3) -> Tensor:
    """The weight that copies channel i to channels `i * times` up to `(i + 1) * times` (before a pixel shuffle:
    nearest-neighbour upsampling), for the first `outputs` channels, by default all.
    """
    return identity(inputs, outputs or inputs, side).repeat_interleave(times, 0)


def one_minus(kernel: Kernel) -> Kernel:
    """`1 - y` where `kernel` gives `y`. Twice, with a ReLU after each, it clips `y` to `[0, 1]`."""
    return Kernel(0 - kernel.weight, 1 - kernel.bias)  # not `-weight`, which would turn 0 into -0


def rectified(kernel: Kernel, slope: Tensor, after: Kernel) -> tuple[Kernel, Kernel]:
    """A convolution, a PReLU with `slope` `(C,)` and a convolution, as two convolutions with a ReLU between them.

    A channel `y` whose slope is not zero becomes the pair of `ReLU(y)` and `ReLU(-y)`: `PReLU(y)` is the first minus
    the slope times the second.
    """
    pair = slope != 0
    first = beside(kernel, Kernel(-kernel.weight[pair], -kernel.bias[pair]))
    other = after.weight[:, pair] * -slope[pair, None, None]
    return first, joined(after, Kernel(other, torch.zeros_like(after.bias)))


def shuffling(channels: int, scale: int) -> Tensor:
    """The weight `(channels * scale**2, 1, scale, scale)` with which a transposed convolution of stride `scale` and
    `channels` groups is a pixel shuffle.
    """
    taps = torch.eye(scale * scale).reshape(scale * scale, 1, scale, scale)
    return taps.repeat(channels, 1, 1, 1)


def grown(weight: Tensor, side: int) -> Tensor:
    """The same weight with zeros around its taps."""
    edge = (side - weight.shape[-1]) // 2
    return F.pad(weight, (edge, edge, edge, edge)) if edge else weight


def sum_of(tensors: list[Tensor]) -> Tensor:
    """Their sum, added in this order."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


@torch.no_grad()
def put(conv: nn.Module, weight: Tensor) -> None:
    """Give a convolution this weight and no bias."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    conv.weight.copy_(weight)
    conv.bias.zero_()


@torch.no_grad()
def fill(net: Net, layers: list[Kernel]) -> Net:
    """Copy `layers` into the convolutions of `net`, in the order in which it defines them."""
    convs = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for conv, kernel in zip(convs, layers, strict=True):
        assert conv.bias is not None
        assert conv.weight.shape == kernel.weight.shape
        conv.weight.copy_(kernel.weight)
        conv.bias.copy_(kernel.bias)
    return net


def _diagonal(blocks: tuple[Tensor, ...]) -> Tensor:
    """Weights `(o, i, side, side)`, or `(1, side, side)`, as blocks along the diagonal of one weight."""
    parts = [block if block.dim() == 4 else block[None] for block in blocks]
    rows, columns = sum(p.shape[0] for p in parts), sum(p.shape[1] for p in parts)
    weight = parts[0].new_zeros(rows, columns, *parts[0].shape[2:])
    row = column = 0
    for part in parts:
        weight[row : row + part.shape[0], column : column + part.shape[1]] = part
        row, column = row + part.shape[0], column + part.shape[1]
    return weight
