"""Which quantizers meet in a product: what a network costs, whatever their widths are to be."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sharpbit.cost.bitops import count
from sharpbit.cost.macs import INPUT
from sharpbit.quant.core import quantizers
from sharpbit.quant.grid import FLOAT, Grid, Range

Product = tuple[int, str | None, str | None]


class _Anywhere(Range):
    """A range that need not be calibrated, for tensors without values."""

    def forward(self, x: Tensor, bits: int) -> Grid:
        zero = torch.zeros((), device=x.device)
        return Grid(zero, zero, zero + 1)


def products(net: nn.Module, size: tuple[int, int] = INPUT) -> tuple[Product, ...]:
    """Of each convolution and matrix product: MACs, and the names of the quantizers of both operands.

    None stands for an operand that nobody rounds. Where rounded tensors were put together, it is the quantizer of the
    last of them.

    Args:
        net: quantized; it need not be calibrated.
        size: height and width of the image that goes in.
    """
    net = copy.deepcopy(net)
    names = {}
    for number, (name, fixed) in enumerate(quantizers(net), FLOAT + 1):
        names[number] = name
        fixed.range, fixed.bits = _Anywhere(), number  # the meter tells the width of an operand: here, whose it is
    return tuple(
        (layer.macs, names.get(int(layer.act)), names.get(int(layer.weight))) for layer in count(net, size).layers
    )
