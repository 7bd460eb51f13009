"""Kernel algebra: pure functions on convolution kernels.

A `Kernel` is the weight `(out, in, 3, 3)` and bias `(out,)` of a 3x3 convolution with zero padding 1. Everything here
is exact at the borders too, because no function moves a tap off the grid or needs other padding.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class Kernel(NamedTuple):
    """Weight `(out, in, 3, 3)` and bias `(out,)`."""

    weight: Tensor
    bias: Tensor


def of(conv: nn.Module) -> Kernel:
    """The kernel of a convolution, detached."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    return Kernel(conv.weight.detach(), conv.bias.detach())


def beside(*parts: Kernel) -> Kernel:
    """Convolutions that read the same input, their outputs concatenated."""
    return Kernel(torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts]))


def joined(*parts: Kernel) -> Kernel:
    """Convolutions that read one piece of a concatenated input each, their outputs added."""
    return Kernel(torch.cat([p.weight for p in parts], 1), torch.stack([p.bias for p in parts]).sum(0))


def zeros(inputs: int, outputs: int) -> Kernel:
    """A convolution that gives zero whatever it reads."""
    return Kernel(torch.zeros(outputs, inputs, 3, 3), torch.zeros(outputs))


def identity(inputs: int, outputs: int) -> Tensor:
    """The weight that copies channel i to channel i."""
    weight = torch.zeros(outputs, inputs, 3, 3)
    for i in range(min(inputs, outputs)):
        weight[i, i, 1, 1] = 1.0
    return weight


def repeat(inputs: int, times: int) -> Tensor:
    """The weight that copies channel i to channels `i * times` up to `(i + 1) * times` (before a pixel shuffle:
    nearest-neighbour upsampling).
    """
    return identity(inputs, inputs).repeat_interleave(times, 0)


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
    return net.to(layers[0].weight.device)
