"""Rounding with error compensation (GPTQ): weights not yet rounded make up the error of each weight that is rounded.

Source: "GPTQ", Frantar et al., ICLR 2023, section 3, without its blocks. Here the bias counts as the last weight; it is
not rounded, and so it compensates the remaining error of the mean. Layers are rounded in the order in which they run,
and the moments of a layer's inputs are taken from the rounded layers before it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.quant.grid import FLOAT, Fixed
from sharpbit.quant.layers import QuantConv2d, QuantLinear
from sharpbit.quant.ptq.input_range import search_input_range
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress

RIDGE = 0.01  # share of the mean square of all inputs that is added to that of each
PLACES = 1 << 13  # places of the images that moments are made of


@torch.no_grad()
def round_with_compensation(net: nn.Module, images: Tensor, progress: Progress | None = None) -> int:
    """Round the weights of a calibrated network with error compensation, in place; how many layers were rounded.

    Before that the clipping range of each layer's input is searched (`sharpbit.quant.ptq.input_range`). Grouped
    convolutions have too few weights for each result to compensate errors; their weights stay as they are.

    Args:
        net: quantized and calibrated.
        images: `(N, 3, H, W)` in `[0, 1]`.
        progress: called with 1 after each layer.
    """

    def hook(part: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(part, QuantConv2d | QuantLinear)
        search_input_range(part, args[0])
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


__getattr__ = old_names(__name__, {"compensate": "round_with_compensation"})
