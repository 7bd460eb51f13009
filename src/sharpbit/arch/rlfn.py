"""RLFN: blocks of three convolutions and a small attention over places, computed on a coarse grid.

Source: "Residual Local Feature Network for Efficient Super-Resolution", Kong et al., CVPR Workshops 2022, in the form
that won the runtime track of the challenge of that year (`models/team04_rlfn.py` of ofsoundof/NTIRE2022_ESR), whose
names of tensors `rename` knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.nn import Rounding, Site, State, conv, conv3, count, renamed, scale_of

SLOPE = 0.05
LEAST = 15  # pixels of a side on which the coarse grid has one point


@dataclass(frozen=True)
class Config:
    """Sizes of an RLFN.

    Attributes:
        scale: Upscaling factor.
        blocks: Number of blocks.
        width: Channels between blocks.
        inner: Channels within a block.
        attention: Channels of the attention.
    """

    scale: int
    blocks: int = 4
    width: int = 46
    inner: int = 48
    attention: int = 16


class Attention(nn.Module):
    """Multiplies features by numbers from 0 to 1, made of the features here and of their maximum in a wide window."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1, self.conv_f, self.conv4 = conv(width, inner, 1), conv(inner, inner, 1), conv(inner, width, 1)
        self.conv2, self.conv3 = nn.Conv2d(inner, inner, 3, 2), conv3(inner, inner)
        self.output = Site()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same; the edge of an image that is too small for the coarse grid goes on outside."""
        thin = self.conv1(x)
        coarse = F.max_pool2d(self.conv2(_enough(_enough(thin, 2), 3)), 7, 3)
        wide = F.interpolate(self.conv3(coarse), x.shape[2:], mode="bilinear", align_corners=False)
        result: Tensor = self.output(x * torch.sigmoid(self.conv4(wide + self.conv_f(thin))))
        return result


class Block(nn.Module):
    """Three convolutions, each with a leaky ReLU, the shortcut, a 1x1 convolution, and the attention."""

    def __init__(self, width: int, inner: int, attention: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv3(width, inner), conv3(inner, inner), conv3(inner, width)
        self.act = nn.LeakyReLU(SLOPE)
        self.mix, self.attention = conv(width, width, 1), Attention(width, attention)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        y = x
        for layer in (self.conv1, self.conv2, self.conv3):
            y = self.act(layer(y))
        result: Tensor = self.attention(self.mix(y + x))
        return result


class RLFN(nn.Module):
    """The blocks between one convolution in and one out, around them a shortcut, then a pixel shuffle.

    Inside, values go from 0 to 255.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.head = conv3(3, width)
        self.blocks = nn.Sequential(*(Block(width, config.inner, config.attention) for _ in range(config.blocks)))
        self.after = conv3(width, width)
        self.tail = conv3(width, 3 * config.scale**2)
        self.output = Site()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        x = self.head(x * 255)
        y = self.tail(self.after(self.blocks(x)) + x)
        result: Tensor = self.output(F.pixel_shuffle(y, self.config.scale)) / 255
        return result


def _enough(x: Tensor, axis: int) -> Tensor:
    """`x` with at least `LEAST` pixels along `axis`."""
    size = x.shape[axis]
    place = torch.arange(torch.sym_max(size, LEAST), device=x.device)  # type: ignore[no-untyped-call]
    return x.index_select(axis, torch.minimum(place, place.new_full((1,), size - 1)))


def _rename(state: State) -> State:
    rules = {rf"B{k}\.c{i}_r\.": f"blocks.{k - 1}.conv{i}." for k in range(1, 33) for i in (1, 2, 3)}
    for k in range(1, 33):
        rules |= {rf"B{k}\.c5\.": f"blocks.{k - 1}.mix.", rf"B{k}\.esa\.": f"blocks.{k - 1}.attention."}
    return renamed(state, {**rules, r"fea_conv\.": "head.", r"LR_conv\.": "after.", r"upsampler\.0\.": "tail."})


def _infer(state: State) -> Config | None:
    ours = _rename(state)
    first, thin = ours.get("blocks.0.conv1.weight"), ours.get("blocks.0.attention.conv_f.weight")
    if first is None or thin is None:
        return None
    scale = scale_of(len(ours["tail.weight"]))
    inner, width = first.shape[:2]
    return None if scale is None else Config(scale, count(ours, "blocks.{}.mix.weight"), width, inner, len(thin))


ARCH = Architecture(
    name="rlfn",
    config=Config,
    build=RLFN,
    infer=_infer,
    rename=_rename,
    rounding=Rounding(ends=("head", "output"), maps=("*",)),
    small={"blocks": 4, "width": 8, "inner": 10, "attention": 4},
    exceptions={
        "plain form": "attention",
        "receptive field": "the coarse grid lies at fixed places, and its step depends on the size of the image",
    },
)
