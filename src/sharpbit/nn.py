"""Layers and small tools that more than one network shares."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = Mapping[str, Tensor]


def conv(inputs: int, outputs: int, side: int) -> nn.Conv2d:
    """A convolution that keeps the size: stride 1, zero padding, with bias; `side` is odd."""
    return nn.Conv2d(inputs, outputs, side, padding=side // 2)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution, stride 1, zero padding 1, with bias."""
    return conv(inputs, outputs, 3)


def anchored(y: Tensor, x: Tensor, scale: int) -> Tensor:
    """`y` `(N, C * scale**2, H, W)` plus `x` `(N, C, H, W)`, each channel of it repeated.

    After a pixel shuffle that is a sum with `x` enlarged by nearest neighbours.
    """
    return y + x.repeat_interleave(scale * scale, dim=1)


def byte_layer(x: Tensor, weight: Tensor, bias: Tensor, multiplier: Tensor) -> Tensor:
    """One layer of an integer chain (`sharpbit.integer`), exactly: whole numbers from 0 to 255 in and out.

    Args:
        x: `(N, C, H, W)` of a float type.
        weight: `(out, C, 3, 3)` int8, from -127.
        bias: `(out,)` int32.
        multiplier: `(out,)` float32.
    """
    largest = 255 * 127 * weight[0].numel()  # of a sum of products; float32 holds whole numbers up to 2**24
    kind = torch.float32 if largest < 2**24 else torch.float64
    total = F.conv2d(x.to(kind), weight.to(kind), padding=1).double() + bias.double()[:, None, None]
    return torch.round(total.float() * multiplier.float()[:, None, None]).clamp(0, 255)


def count(state: State, pattern: str) -> int:
    """How many keys of `state` are `pattern` with a running number from 0 in place of `{}`."""
    number = 0
    while pattern.format(number) in state:
        number += 1
    return number


def scale_of(rows: int, channels: int = 3) -> int | None:
    """The upscaling factor of a last convolution with `rows` outputs before the pixel shuffle, if there is one."""
    scale = round((rows / channels) ** 0.5)
    return scale if scale * scale * channels == rows else None


@torch.no_grad()
def response_to_grey(net: nn.Module, scale: int, side: int = 25) -> float:
    """The mean colour of the middle of what `net` makes of a flat picture of 0.5, of `side` pixels.

    It tells apart networks whose weights have the same names and shapes: a trained one gives about 0.5.
    """
    middle = slice(side // 2 * scale, (side // 2 + 1) * scale)
    return float(net(torch.full((1, 3, side, side), 0.5))[..., middle, middle].mean())


def receptive_field(net: nn.Module, scale: int, limit: int = 129) -> int | None:
    """The side in input pixels of the square that one output pixel can see; odd, because the square is centred.

    Found by marking one input pixel with NaN, which no layer can hide, and looking where it comes out.

    Args:
        net: maps `(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`.
        scale: the upscaling factor.
        limit: give up beyond this side.

    Returns:
        None where a pixel reaches the edge of a `limit` sized picture: the network sees everything.
    """
    like = next(net.parameters(), torch.zeros(()))
    picture = torch.full((1, 3, limit, limit), 0.5, dtype=like.dtype, device=like.device)
    centre = limit // 2
    picture[..., centre, centre] = torch.nan
    training = net.training
    try:
        with torch.no_grad():
            seen = torch.isnan(net.eval()(picture))[0].any(0)
    finally:
        net.train(training)
    rows, columns = seen.any(1).nonzero() // scale - centre, seen.any(0).nonzero() // scale - centre
    radius = int(max(rows.abs().max(), columns.abs().max()))
    return None if radius >= centre else 2 * radius + 1
