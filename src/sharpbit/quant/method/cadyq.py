"""CADyQ: PAMS with a choice of widths for each layer and patch, made by a small trained layer.

Source: "CADyQ: Content-Aware Dynamic Quantization for Image Super-Resolution", Hong et al., ECCV 2022;
`model/cadyq.py` and `trainer.py` of Cheeun/CADyQ. The paper calls the selector an MLP; in the code it has one layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sharpbit.quant.adaptive import Context, Selector, spent
from sharpbit.quant.core import Method
from sharpbit.quant.method import pams

WEIGHT = 1e-4  # of the bit loss
GROWTH = 1e-6  # by which it grows in every epoch


class BitSelector(Selector):
    """A linear layer on the gradient of the image and the deviation of each channel of the tensor.

    It starts at the last option.

    Args:
        features: channels of the tensor.
        options: how many there are.
        gradient: what the gradient of the image in `[0, 1]` is multiplied by: 1000, for CARN 1.
    """

    def __init__(self, features: int, options: int, *, gradient: float = 1000.0) -> None:
        super().__init__()
        self.gradient = gradient
        self.linear = nn.Linear(features + 2, options)
        nn.init.ones_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.linear.bias.data[-1] = 1.0

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """See `Selector`."""
        patches = context.patches
        assert context.now.gradient is not None
        if x.dim() == 3:  # windows of pixels of channels
            deviation = x.detach().reshape(patches, -1, x.shape[-1]).std(1)
        else:
            deviation = x.detach().flatten(2).std(2)
        return torch.softmax(self.linear(torch.cat([self.gradient * context.now.gradient, deviation], 1)), 1)


def stage(net: nn.Module, epoch: int) -> None:
    """As in PAMS; besides, the weight of the bit loss grows."""
    pams.stage(net, epoch)
    for part in net.modules():
        if isinstance(part, Context):
            part.bit_weight = WEIGHT + GROWTH * epoch


def loss(net: nn.Module) -> Tensor:
    """The bit loss: the shares of all layers and patches, summed, with the weight of the epoch."""
    context = next((part for part in net.modules() if isinstance(part, Context)), None)
    if context is None:
        return torch.zeros((), device=next(net.parameters()).device)
    return context.bit_weight * torch.stack([choice.share for choice in spent(net)]).sum()


METHOD = Method(act=pams.MaxScale, weight=pams.MaxAbs, loss=loss, stage=stage, selector=BitSelector)
