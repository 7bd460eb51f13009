"""ESRT: a small network of convolutions at two resolutions, and a transformer whose tokens are 3x3 patches.

Source: "Transformer for Single Image Super-Resolution", Lu et al., CVPR Workshops 2022; `model/esrt.py` of
luissen/ESRT, whose names of tensors these are. A quarter of all pixels attends to itself at a time. Images with odd
sides are continued by one mirrored pixel, so that there are four quarters; the published code gives up to three last
pixels an attention of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.arch._attention import Attention, pad
from sharpbit.errors import UsageError
from sharpbit.nn import Rounding, Site, State, conv, conv3, count, factors, scale_by

HEADS = 8
REDUCTION = 16  # of channels in the attention between channels
TIMES = 5  # that the module for low frequencies runs, one after the other
PARTS = 4  # of the pixels, each of which attends to itself
TAPS = 9  # pixels of a token


@dataclass(frozen=True)
class Config:
    """Sizes of an ESRT.

    Attributes:
        scale: Upscaling factor.
        width: Channels; a multiple of 16.
        blocks: Number of pairs of a backbone and a transformer.
    """

    scale: int
    width: int = 32
    blocks: int = 1

    def __post_init__(self) -> None:
        if self.width % REDUCTION:
            raise UsageError(f"the width of an esrt is a multiple of {REDUCTION}, not {self.width}")


class Scale(nn.Module):
    """A trained factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        return x * self.scale


class Rectified(nn.Module):
    """A convolution without bias, and a ReLU."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs, side, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in, H, W)` to `(N, out, H, W)`."""
        return F.relu(self.conv(x))


class ChannelGate(nn.Module):
    """A factor for each channel, by the means of all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        thin = width // REDUCTION
        self.conv_du = nn.Sequential(conv(width, thin, 1), nn.ReLU(), conv(thin, width, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        y: Tensor = x * self.conv_du(x.mean((2, 3), keepdim=True))
        return y


class Residual(nn.Module):
    """Two convolutions with a PReLU between them, weighed against the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.relu, self.conv1 = conv3(width, width // 2), nn.PReLU(width // 2), conv3(width // 2, width)
        self.weight1, self.weight2 = Scale(), Scale()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        y: Tensor = self.weight1(x) + self.weight2(self.conv1(self.relu(self.conv(x))))
        return y


class Unit(nn.Module):
    """Adaptive residual feature block: two residuals side by side, a gate, and a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer1, self.layer2 = Residual(width), Residual(width)
        self.layer4, self.alise = Rectified(width, width, 3), Rectified(2 * width, width, 1)
        self.atten = ChannelGate(width)
        self.weight1, self.weight2, self.weight3, self.weight4, self.weight5 = (Scale() for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same; `weight1` is published, and never used."""
        first = self.layer1(x)
        both = torch.cat([self.weight2(self.layer2(first)), self.weight3(first)], 1)
        y: Tensor = self.weight4(x) + self.weight5(self.layer4(self.atten(self.alise(both))))
        return y


class Preserving(nn.Module):
    """High preserving block: low frequencies at half the resolution, high ones beside them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder, self.decoder_low, self.decoder_high, self.alise = (Unit(width) for _ in range(4))
        self.alise2, self.att = Rectified(2 * width, width, 1), ChannelGate(width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same; sides are even."""
        size = x.shape[2:]
        whole = self.encoder(x)
        low = F.avg_pool2d(whole, 2)
        high = self.decoder_high(whole - F.interpolate(low, size=size, mode="bilinear", align_corners=True))
        for _ in range(TIMES):
            low = self.decoder_low(low)
        low = F.interpolate(low, size=size, mode="bilinear", align_corners=True)
        y: Tensor = self.alise(self.att(self.alise2(torch.cat([low, high], 1)))) + x
        return y


class QuarterAttention(Attention):
    """Attention among the pixels of each quarter of an image, in half as many channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.reduce, self.qkv = nn.Linear(width, half, bias=False), nn.Linear(half, 3 * half, bias=False)
        self.proj = nn.Linear(half, width)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """`(N, T, C)` to the same; T is a multiple of 4."""
        n, tokens, width = x.shape
        each = width // 2 // HEADS
        parts = self.qkv(self.reduce(x)).reshape(n, PARTS, tokens // PARTS, 3, HEADS, each)
        q, k, v = parts.permute(3, 0, 1, 4, 2, 5).flatten(1, 2).unbind(0)  # of five dimensions no kernel is fused
        out = super().forward(q * 0.5**0.5, k, v)  # published: the root of the channels before they were halved
        y: Tensor = self.proj(out.transpose(1, 2).reshape(n, tokens, width // 2))
        return y


class TokenMLP(nn.Module):
    """Two linear layers with a ReLU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, width // 4), nn.Linear(width // 4, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, C)` to the same."""
        y: Tensor = self.fc2(F.relu(self.fc1(x)))
        return y


class Transformer(nn.Module):
    """Attention and an MLP over tokens, each the 3x3 pixels around a place; patches that overlap are added up."""

    kernel: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = TAPS * width
        self.atten, self.mlp = QuarterAttention(inner), TokenMLP(inner)
        self.norm1, self.norm2 = nn.LayerNorm(inner), nn.LayerNorm(inner)
        self.register_buffer("kernel", torch.eye(TAPS).reshape(TAPS, 1, 3, 3).repeat(width, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        n, width, rows, columns = x.shape
        tokens = F.conv2d(x, self.kernel, padding=1, groups=width).flatten(2).transpose(1, 2)
        tokens = tokens + self.atten(self.norm1(tokens))
        tokens = tokens + self.mlp(self.norm2(tokens))
        patches = tokens.transpose(1, 2).reshape(n, TAPS * width, rows, columns)
        return F.conv_transpose2d(patches, self.kernel, padding=1, groups=width)


class Pair(nn.Module):
    """Three preserving blocks, and a transformer over what all of them made."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder1, self.encoder2, self.encoder3 = (Preserving(width) for _ in range(3))
        self.reduce, self.alise = conv3(3 * width, width), conv3(width, width)
        self.attention = Transformer(width)
        self.weight1, self.weight2 = Scale(), Scale()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same; sides are even."""
        first = self.encoder1(x)
        second = self.encoder2(first)
        both = torch.cat([first, second, self.encoder3(second)], 1)
        y: Tensor = self.weight1(x) + self.weight2(self.alise(self.attention(self.reduce(both))))
        return y


class ESRT(nn.Module):
    """The network. Images of any size; each pixel sees a quarter of the image or more."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, scale = config.width, config.scale
        self.head = nn.Sequential(conv3(3, width))
        self.body = nn.Sequential(*(Pair(width) for _ in range(config.blocks)))
        self.reduce = conv3(config.blocks * width, width)
        self.tail = nn.Sequential(_shuffles(width, scale), conv3(width, 3))
        self.up = nn.Sequential(_shuffles(width, scale), Rectified(width, 3, 3))
        self.output = Site()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        height, width = (side * self.config.scale for side in x.shape[2:])
        first = self.head(pad(x, 2, "reflect"))
        y, seen = first, []
        for part in self.body:
            y = part(y)
            seen.append(y)
        result: Tensor = self.output(self.up(first) + self.tail(self.reduce(torch.cat(seen, 1))))
        return result[..., :height, :width]


def _shuffles(width: int, scale: int) -> nn.Sequential:
    steps = ((conv3(width, step**2 * width), nn.PixelShuffle(step)) for step in factors(scale))
    return nn.Sequential(*(part for step in steps for part in step))


def _infer(state: State) -> Config | None:
    keys = ("head.0.weight", "body.0.encoder1.decoder_low.layer1.conv1.weight", "up.1.conv.weight", "tail.0.0.weight")
    if not all(key in state for key in keys):
        return None
    width = len(state["head.0.weight"])
    scale = scale_by(state, "tail.0.{}.weight", 2, width)
    return Config(scale, width, count(state, "body.{}.attention.norm1.weight")) if scale > 1 else None


_UNITS, _TOKENS = "body.*.encoder*.*.", "body.*.attention."
ARCH = Architecture(
    name="esrt",
    config=Config,
    build=ESRT,
    infer=_infer,
    # the gates of channels look at one pixel, and hardly cost: they stay float
    sites=(
        *(f"{_UNITS}{part}" for part in ("layer*.conv", "layer*.conv1", "alise.conv")),
        *(f"{_TOKENS}atten.{part}" for part in ("reduce", "qkv", "q", "k", "attention", "v", "proj")),
        *(f"{_TOKENS}mlp.{part}" for part in ("fc1", "fc2")),
        "body.[0-9].reduce",
        "body.[0-9].alise",
    ),
    rounding=Rounding(
        ends=("head.0", "output"),
        maps=("body.*.encoder*.conv*", "body.[0-9].reduce", "body.[0-9].alise", "reduce", "tail.*", "up.*"),
        left=("*.conv_du.*",),
    ),
    small={"width": 16},
    exceptions={"plain form": "ESRT", "receptive field": "attention sees a quarter of the image"},
)
