"""Compensated rounding: what rounding one weight does to a layer's result is made up by the weights after it.

Source: "GPTQ", Frantar et al., ICLR 2023, section 3 (without its blocks); here the bias is the last weight, which is
not rounded and so takes up what is left of the mean. The moments are those of the rounded inputs that the layer will
get, from layers that were done before it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.quant.grid import FLOAT, Fixed
from sharpbit.quant.layers import QuantConv2d, QuantLinear
from sharpbit.quant.ptq.input_range import widen

RIDGE = 0.01  # share of the mean square of all inputs that is added to that of each
PLACES = 1 << 13  # places of the images that moments are made of


@torch.no_grad()
def compensate(net: nn.Module, images: Tensor, progress: Callable[[int], object] | None = None) -> int:
    """Round the weights of a calibrated network so, in place, one layer after another; how many layers were done.

    Before that the bounds of each layer's input are chosen by its result (`sharpbit.quant.ptq.input_range`). Grouped
    convolutions have too few weights a result for making up, and keep theirs.

    Args:
        net: quantized and calibrated.
        images: `(N, 3, H, W)` in `[0, 1]`.
        progress: called with 1 after each layer.
    """

    def hook(part: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(part, QuantConv2d | QuantLinear)
        widen(part, args[0])
        if getattr(part, "groups", 1) == 1:
            _round(part, args[0])
        if progress:
            progress(1)

    layers = [
        part
        for part in net.modules()
        if isinstance(part, QuantConv2d | QuantLinear) and isinstance(part.kernel, Fixed) and part.kernel.bits != FLOAT
    ]
    handles = [part.register_forward_pre_hook(hook) for part in layers]
    try:
        net.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return len(layers)


def _round(part: QuantConv2d | QuantLinear, x: Tensor) -> None:
    inputs = _inputs(part, part.act(x)).double()
    kernel = part.weight.flatten(1).double()
    if part.bias is not None:
        inputs = torch.cat((inputs, torch.ones(len(inputs), 1).to(inputs)), 1)
        kernel = torch.cat((kernel, part.bias[:, None].double()), 1)
    moments = inputs.T @ inputs / len(inputs)
    moments.diagonal().add_(RIDGE * moments.diagonal().mean())
    upper = torch.linalg.cholesky(torch.linalg.inv(moments), upper=True)
    lo, hi, step, *_ = part.kernel.range(part.weight, part.kernel.bits)  # type: ignore[operator]
    lo, hi, step = (value.double() for value in (lo, hi, step))
    number = part.weight[0].numel()
    for column in range(number):
        whole = torch.minimum(torch.maximum((kernel[:, column] / step).round() * step, lo), hi)
        error = (kernel[:, column] - whole) / upper[column, column]
        kernel[:, column] = whole
        kernel[:, column + 1 :] -= error[:, None] * upper[column, column + 1 :]
    part.weight.copy_(kernel[:, :number].reshape(part.weight.shape))
    if part.bias is not None:
        part.bias.copy_(kernel[:, -1])


def _inputs(part: QuantConv2d | QuantLinear, x: Tensor) -> Tensor:
    """`(P, n)`: what is multiplied with a row of weights, at some places."""
    if isinstance(part, QuantLinear):
        rows = x.reshape(-1, x.shape[-1])
    else:
        columns = F.unfold(x, part.kernel_size, part.dilation, part.padding, part.stride)  # type: ignore[arg-type]
        rows = columns.transpose(1, 2).reshape(-1, columns.shape[1])
    return rows[:: max(1, len(rows) // PLACES)]
