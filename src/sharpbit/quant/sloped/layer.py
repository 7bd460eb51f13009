"""One layer with slopes from float to integers, and what the integers make of the calibration images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.modelfile.integer_chain import MAX_BIAS, Slopes, Wide
from sharpbit.modelfile.integer_chain import Layer as IntegerLayer
from sharpbit.modelfile.integer_layer import FINE, MIDDLE
from sharpbit.quant.lossless.least_squares import windows
from sharpbit.quant.lossless.rounding import LIMIT, compensated, steps_of
from sharpbit.quant.lossless.stage import TOP

LEAST = 1e-3  # the smallest range of a channel, as a share of the largest one
LARGEST = 2000 * LIMIT  # the weight of a wide channel, in steps of the other weights of its output
CENTRE = 4  # of the nine weights of a kernel


@dataclass(frozen=True)
class Range:
    """How bytes stand for the values of each channel of a tensor: `value = (byte - zero) * step`.

    Attributes:
        step: `(C,)` float64.
        zero: `(C,)` whole numbers from 0 to 255.
    """

    step: Tensor
    zero: Tensor


@dataclass(frozen=True)
class Bytes:
    """Activations in integers, less their zero points, in float32.

    Attributes:
        level: `(N, C, h, w)`.
        fine: `(N, wide channels, h, w)`, from -128 to 127 parts of 256 of a level.
    """

    level: Tensor
    fine: Tensor

    @staticmethod
    def of_image(image: Tensor) -> Bytes:
        """`(N, 3, h, w)` bytes."""
        return Bytes(image, image[:, :0])


def ranges(values: Tensor) -> Range:
    """The bytes of the values `(N, C, h, w)` of each channel, from its smallest to its largest one, and zero."""
    rows = values.transpose(0, 1).flatten(1).double()
    low, high = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
    step = ((high - low) / TOP).clamp(min=max(float((high - low).max()) / TOP * LEAST, 1e-9))
    return Range(step, (-low / step).round().clamp(0, TOP))


def of_result(outputs: int) -> Range:
    """The bytes of the result."""
    return Range(torch.full((outputs,), 1 / TOP, dtype=torch.float64), torch.zeros(outputs, dtype=torch.float64))


def rounded(
    weight: Tensor,
    bias: Tensor,
    slope: Tensor,
    sums: Tensor,
    x: Bytes,
    places: tuple[Tensor, Tensor, Tensor],
    before: Range,
    after: Range,
    wide: int | None,
) -> IntegerLayer:
    """The layer with weights rounded one after the other, each error made up by those that follow.

    Args:
        weight: `(outputs, inputs, 3, 3)` float64.
        bias: `(outputs,)`.
        slope: `(outputs,)`, what negative sums are multiplied by.
        sums: `(N, outputs, h, w)`, what the float network has.
        x: What the integers have.
        places: Pixels that rounding looks at (`places_of`).
        before: Bytes of the inputs.
        after: Bytes of the outputs.
        wide: Number of outputs that are kept in 16 bits; None: the chain has no such channels.
    """
    kernel = torch.cat([(weight * before.step[:, None, None]).flatten(1), bias[:, None] / TOP], 1) / after.step[:, None]
    inputs = windows(x.level, places)
    kernel[:, -1] += (sums[places[0], :, places[1], places[2]].double() / after.step - inputs @ kernel.T).mean(0) / TOP
    # The channel itself, of the same pixel, where it is wide: that weight is no byte, and the others may be finer.
    own = torch.arange(x.fine.shape[1])
    limits = torch.full_like(kernel, LIMIT)
    limits[own, 9 * own + CENTRE] = LARGEST
    step = torch.maximum(steps_of(kernel * (limits == LIMIT)), kernel[:, :-1].abs().amax(1) / LARGEST)
    whole = compensated(kernel, step, inputs.T @ inputs / len(inputs), limits=limits)
    passed = (whole[own, 9 * own + CENTRE] / FINE).round()
    whole[own, 9 * own + CENTRE] = (whole[own, 9 * own + CENTRE] - FINE * passed).clamp(-LIMIT, LIMIT)
    taps = whole[:, :-1].reshape(weight.shape)
    zero = taps.sum((2, 3)) @ before.zero
    zero[own] += FINE * passed * before.zero[own]
    bias = (whole[:, -1] * TOP - zero).round().clamp_(-MAX_BIAS, MAX_BIAS)
    return IntegerLayer(
        taps.to(torch.int8).numpy(),
        bias.to(torch.int32).numpy(),
        step.float().numpy(),
        Slopes((step * slope).float().numpy(), after.zero.to(torch.uint8).numpy()),
        None if wide is None else Wide(wide, passed.to(torch.int32).numpy()),
    )


def run_layer(x: Bytes, layer: IntegerLayer, before: Tensor, added: Tensor | None = None) -> Bytes:
    """What an integer layer makes of bytes less the zero points `before`: its bytes less its own.

    `added` are bytes that take the place of its zero points; they are not taken off again.
    """
    assert layer.slopes is not None
    weight, bias, multiplier, negative, shift = (
        torch.from_numpy(part.copy())
        for part in (layer.weight, layer.bias, layer.multiplier, layer.slopes.negative, layer.slopes.zero)
    )
    passed = torch.from_numpy(layer.wide.weight.copy()) if layer.wide is not None else torch.zeros(0)
    own, count = len(passed), layer.wide.count if layer.wide is not None else 0
    start = bias.double() + weight.double().sum((2, 3)) @ before
    start[:own] += FINE * passed * before[:own]
    total = F.conv2d(x.level, weight.float(), start.float(), padding=1)
    if own:
        total[:, :own] += passed.float()[:, None, None] * (FINE * x.level[:, :own] + x.fine)
    product = torch.where(total < 0, total * negative[:, None, None], total * multiplier[:, None, None])
    if added is not None:
        return Bytes((product.round_() + added).clamp_(0, TOP), x.fine[:, :0])
    zero = shift.float()[:, None, None]
    level = product.round().add_(zero).clamp_(0, TOP).sub_(zero)
    fine = ((product[:, :count] - level[:, :count]) * FINE).round_().clamp_(-MIDDLE, MIDDLE - 1)
    return Bytes(level, fine)
