"""Layers and small tools that more than one network shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.errors import ModelError, UsageError

State = Mapping[str, Tensor]

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # mean colour of the training images, which EDSR, CARN and ELAN subtract


class Site(nn.Identity):
    """A name for a tensor, for whoever wants to round it, read it or meter it; free, and gone after an export.

    A network puts one in front of each operand of a matrix product (`self.at_q(q) @ self.at_k(k).mT`) and wherever a
    tensor matters that no convolution or linear layer takes as its input, such as the two sides of an addition. One
    site stands for one place: a site that is called twice in a forward has one range for both.
    """

    @property
    def separable(self) -> bool:
        """Whether parts of the tensor may pass one after the other: nobody looks at the whole of it."""
        return not any(part._forward_hooks or part._forward_pre_hooks for part in self.modules())


class Constrained(nn.Module):
    """A network whose weights keep to conditions of which an optimizer knows nothing."""

    def project(self) -> None:
        """Bring the weights back to the conditions, after each step of an optimizer."""

    def settle(self) -> None:
        """Do what is needed once, when the training has ended."""


@dataclass(frozen=True)
class Rounding:
    """What quantizing a network after training rounds: the input and the weight of every layer, and every site.

    All fields are globs over names of `Conv2d`, `Linear` and `Site` modules.

    Attributes:
        ends: whose inputs are the image that comes in and the one that goes out; they have 8 bits at least.
        maps: whose inputs are maps of features of the convolutional path, in which frequencies mean something. The
            inputs of `ends` are of that kind too. All others are tokens, products and the like.
        left: what stays in float.

    Source: the rule in Adaptive Dual Clipping, read out of `basicsr/archs/craft_q_arch.py` of
    AVC2-UESTC/Frequency-Inspired-Optimization-for-EfficientSR.
    """

    ends: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def conv(inputs: int, outputs: int, side: int, *, bias: bool = True, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size: stride 1, zero padding; `side` is odd."""
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=bias, groups=groups)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution, stride 1, zero padding 1, with bias."""
    return conv(inputs, outputs, 3)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, of maps `(N, H, W, C)` on a CPU by the kernel for convolutions, which is up to three times as fast.

    `F.linear` calls MKL, which has nothing good for short rows on other makers' processors. 1x1 convolutions go to
    oneDNN, on one thread only from 16 images on (`use_mkldnn` in `aten/src/ATen/native/Convolution.cpp` of PyTorch):
    so each row of the map is an image of its own. In memory nothing moves.
    """
    if x.dim() != 4 or x.device.type != "cpu" or x.dtype != torch.float32 or not _ONEDNN:
        return F.linear(x, weight, bias)
    n, height, width, channels = x.shape
    if torch.compiler.is_exporting() or n * height < 16:
        return F.linear(x, weight, bias)
    rows = x.reshape(n * height, 1, width, channels).permute(0, 3, 1, 2)
    y = F.conv2d(rows, weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).reshape(n, height, width, -1)


_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Linear(nn.Linear):
    """A linear layer, computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """`(..., C)` to `(..., O)`."""
        return linear(x, self.weight, self.bias)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution, computed by `linear`: in channels-last memory that is quicker, and copies nothing."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def anchored(y: Tensor, x: Tensor, scale: int) -> Tensor:
    """`y` `(N, C * scale**2, H, W)` plus `x` `(N, C, H, W)`, each channel of it repeated.

    After a pixel shuffle that is a sum with `x` upscaled by nearest neighbours.
    """
    return y + x.repeat_interleave(scale * scale, dim=1)


def byte_layer(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    *,
    negative: Tensor | None = None,
    zero: Tensor | None = None,
    around: Tensor | None = None,
) -> Tensor:
    """One layer of an integer chain (`sharpbit.modelfile.integer_chain`), exactly, from 0 to 255 in and out.

    Args:
        x: `(N, C, H, W)` of a float type.
        weight: `(out, C, 3, 3)` int8, from -127.
        bias: `(out,)` int32.
        multiplier: `(out,)` float32.
        negative: `(out,)` float32, multiplies negative sums; None: `multiplier` does.
        zero: Bytes that are added to the rounded products, `(out,)` or those of an image `(N, out, H, W)`; None: 0.
        around: `(C,)` bytes that lie outside of the image; None: 0.
    """
    return levels(scaled(byte_sums(x, weight, bias, around), multiplier, negative), zero)


def byte_sums(x: Tensor, weight: Tensor, bias: Tensor, around: Tensor | None) -> Tensor:
    """The sums of `byte_layer`, before they are multiplied, in float64."""
    largest = 255 * 127 * weight[0].numel()  # of a sum of products; float32 holds whole numbers up to 2**24
    kind = torch.float32 if largest < 2**24 else torch.float64
    inner, total = x.to(kind), bias.double()[:, None, None]
    if around is not None:
        inner = inner - around.to(kind)[:, None, None]
        total = total + (weight.double().sum((2, 3)) @ around.double())[:, None, None]
    return F.conv2d(inner, weight.to(kind), padding=1).double() + total


def scaled(total: Tensor, multiplier: Tensor, negative: Tensor | None) -> Tensor:
    """The sums times what they are multiplied by, in float32."""
    product = total.float() * multiplier.float()[:, None, None]
    if negative is None:
        return product
    return torch.where(total < 0, total.float() * negative.float()[:, None, None], product)


def levels(product: Tensor, zero: Tensor | None) -> Tensor:
    """The bytes of what `scaled` gives."""
    rounded = torch.round(product)
    if zero is not None:
        rounded = rounded + (zero if zero.dim() == 4 else zero[:, None, None]).float()
    return rounded.clamp(0, 255)


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


def factors(scale: int) -> tuple[int, ...]:
    """The pixel shuffles, one after the other, by which EDSR and its kin upscale `scale` times.

    Raises:
        UsageError: a scale that is neither 3 nor a power of 2.
    """
    if scale == 3:
        return (3,)
    if scale < 2 or scale & (scale - 1):
        raise UsageError(f"this network upscales 2, 3, 4 or 8 times, not {scale}")
    return (2,) * (scale.bit_length() - 1)


def scale_by(state: State, pattern: str, step: int, width: int) -> int:
    """The upscaling factor of such pixel shuffles.

    Args:
        state: weights.
        pattern: key of the convolutions before them, with `{}` for their numbers 0, `step`, `2 * step`...
        step: distance of these numbers.
        width: channels after each.
    """
    scale, number = 1, 0
    while (key := pattern.format(number)) in state:
        scale *= scale_of(state[key].shape[0], width) or 1
        number += step
    return scale


def mean_buffer(mean: tuple[float, float, float] = DIV2K_MEAN) -> Tensor:
    """A mean colour, `(1, 3, 1, 1)`, RGB in `[0, 1]`."""
    return torch.tensor(mean).view(1, 3, 1, 1)


def with_mean(state: State, suffix: str = "", white: float = 255.0) -> dict[str, Tensor]:
    """`state` with the published pair of frozen layers `sub_mean` and `add_mean` replaced by the tensor `mean`.

    Args:
        state: published weights.
        suffix: end of the layers' names, such as `.shifter`.
        white: the network's own value of white.

    Raises:
        ModelError: the two do not undo each other, or do more than add.
    """
    ours = {key: value for key, value in state.items() if not key.startswith(("sub_mean.", "add_mean."))}
    before, after = f"sub_mean{suffix}", f"add_mean{suffix}"
    if f"{after}.bias" not in state:
        return ours
    unit = torch.eye(3).view(3, 3, 1, 1)
    weights = [state[f"{name}.weight"].float() for name in (before, after)]
    shift = state[f"{after}.bias"].float()
    if not all(torch.allclose(weight, unit) for weight in weights) or not torch.allclose(
        shift, -state[f"{before}.bias"].float()
    ):
        raise ModelError(f"{before} and {after} of these weights are no shift by a mean colour and back")
    return {**ours, "mean": (shift / white).view(1, 3, 1, 1)}


def renamed(state: State, rules: Mapping[str, str]) -> dict[str, Tensor]:
    """`state` with the beginning of each key replaced by the first rule (pattern to replacement) that matches it."""
    ours = {}
    for key, value in state.items():
        rule = next((rule for rule in rules.items() if re.match(rule[0], key)), None)
        ours[re.sub(f"^{rule[0]}", rule[1], key) if rule else key] = value
    return ours


@torch.no_grad()
def upscaled_grey(net: nn.Module, scale: int, side: int = 25) -> Tensor:
    """What `net` makes of the middle pixel of a flat image of 0.5, of `side` pixels: `(3, scale, scale)`.

    A trained network gives about 0.5. That tells networks apart whose weights have the same names and shapes.
    """
    middle = slice(side // 2 * scale, (side // 2 + 1) * scale)
    image: Tensor = net(torch.full((1, 3, side, side), 0.5))
    return image[0, :, middle, middle]


def response_to_grey(net: nn.Module, scale: int, side: int = 25) -> float:
    """The mean of `upscaled_grey`."""
    return float(upscaled_grey(net, scale, side).mean())


def receptive_field(net: nn.Module, scale: int, limit: int = 129, short: int = 25) -> int | None:
    """The side in input pixels of the square that one output pixel can see; odd, because the square is centred.

    A network with a property `receptive_field` knows it. Of others it is found by marking one input pixel with NaN,
    which no layer can hide, and looking how far it comes out along a strip, a tall and a wide one (a square would cost
    five times as much, and gigabytes where each pixel sees all others); twice, because a network with windows at fixed
    places does not see equally far from everywhere.

    Args:
        net: maps `(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`.
        scale: the upscaling factor.
        limit: length of the strips, and so the side from which on it gives up.
        short: width of the strips in pixels.

    Returns:
        None where a pixel reaches the end of a strip, or reaches differently from its neighbour: no halo makes tiles
        exact.
    """
    if isinstance(getattr(type(net), "receptive_field", None), property):
        seen_by_itself: int | None = net.receptive_field  # type: ignore[assignment]
        return seen_by_itself
    like = next(net.parameters(), torch.zeros(()))
    centre, middle = limit // 2, short // 2
    training = net.training
    reach: list[list[int]] = [[], []]
    try:
        for tall in (True, False):
            image = torch.full((2, 3, limit, short), 0.5, dtype=like.dtype, device=like.device)
            for k in range(2):
                image[k, :, centre + k, middle + k] = torch.nan
            with torch.no_grad():
                seen = torch.isnan(net.eval()(image if tall else image.mT.contiguous())).any(1)
            for k in range(2):
                line = seen[k].any(1 if tall else 0).nonzero()[[0, -1], 0]
                reach[k] += [int(end) // scale - centre - k for end in line]
            if max(map(abs, reach[0])) >= centre or reach[0] != reach[1]:
                return None
    finally:
        net.train(training)
    return 2 * max(map(abs, reach[0])) + 1
