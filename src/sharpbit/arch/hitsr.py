"""HiT-SR: windows that grow from block to block, and correlations without softmax in place of attention.

Source: "HiT-SR: Hierarchical Transformer for Efficient Image Super-Resolution", Zhang et al., ECCV 2024 (HiT-SRF),
whose names of tensors these are. Windows are not shifted. Trained means of squares stand for the pixels of large ones.

The windows reach over the whole of an LR image, and their grid begins at its corner, so tiles are not exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.arch._attention import merge, pad, split
from sharpbit.arch._position import Position
from sharpbit.errors import UsageError
from sharpbit.nn import Rounding, Site, State, conv3, count, scale_of

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, in RGB


@dataclass(frozen=True)
class Config:
    """Sizes of a HiT-SR.

    Attributes:
        scale: upscaling factor.
        width: channels.
        groups: number of groups.
        windows: side of the windows of each block of a group, in pixels.
        base: side of the map of values that larger windows are projected to.
        heads: number of heads of the spatial correlation.
        ratio: hidden channels of the MLPs, in units of `width`.
    """

    scale: int
    width: int = 60
    groups: int = 4
    windows: tuple[int, ...] = (4, 8, 16, 32, 48, 64)
    base: int = 8
    heads: int = 6
    ratio: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "windows", tuple(self.windows))
        if self.width % (2 * self.heads):
            raise UsageError(f"hitsr has width {self.width}, which must be a multiple of twice its {self.heads} heads")


class DFE(nn.Module):
    """Dual feature extraction: the product of a bottleneck of convolutions and a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        thin = width // 5
        self.conv = nn.Sequential(
            nn.Conv2d(width, thin, 1),
            nn.LeakyReLU(0.2),
            conv3(thin, thin),
            nn.LeakyReLU(0.2),
            nn.Conv2d(thin, width, 1),
        )
        self.linear = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H, W)`."""
        result: Tensor = self.conv(x) * self.linear(x)
        return result


class Correlation(nn.Module):
    """Spatial and channel self-correlation in windows, side by side."""

    def __init__(self, width: int, heads: int, window: int, base: int) -> None:
        super().__init__()
        self.heads, self.window, self.base = heads, window, min(base, window)
        self.qv = DFE(width)
        self.proj = nn.Linear(width, width)
        self.spatial_linear = nn.Linear((window // self.base) ** 2, 1)
        self.pos = Position(max(width // 16, 1), heads)
        self.query, self.key, self.correlation, self.value = Site(), Site(), Site(), Site()
        self.query_c, self.key_c, self.correlation_c, self.value_c = Site(), Site(), Site(), Site()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, C)` to `(N, H, W, C)`; sides are multiples of the window."""
        n, height, width, c = x.shape
        side, tokens = self.window, self.window**2
        qv = self.qv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).reshape(n, height, width, 2, c // 2)
        windows = split(qv, (side, side))  # N, rows, columns, h, w, 2, C / 2
        shape = (*windows.shape[:5], c // 2)
        q, v = windows.reshape(-1, tokens, 2, c // 2).unbind(2)
        spatial, channel = self._spatial(q, v), self._channel(q, v)
        both = torch.cat((spatial.reshape(shape), channel.reshape(shape)), -1)
        result: Tensor = self.proj(merge(both))
        return result

    def _spatial(self, q: Tensor, v: Tensor) -> Tensor:
        """`(B, T, C / 2)` each: pixels against the averages of small squares."""
        count, tokens, c = q.shape
        q, v = (part.reshape(count, tokens, self.heads, -1).transpose(1, 2) for part in (q, v))
        v = self._squares(v)
        weight = self.query(q) @ self.key(v).transpose(-2, -1) / q.shape[-1] + self._bias()
        out: Tensor = self.correlation(weight) @ self.value(v)
        return out.transpose(1, 2).reshape(count, tokens, c)

    def _squares(self, v: Tensor) -> Tensor:
        """`(B, heads, T, d)` to `(B, heads, base * base, d)`, by a trained mean of each square."""
        times = self.window // self.base
        v = v.reshape(*v.shape[:2], self.base, times, self.base, times, v.shape[-1])
        v = v.permute(0, 1, 2, 4, 6, 3, 5).reshape(*v.shape[:2], self.base**2, v.shape[-1], times**2)
        result: Tensor = self.spatial_linear(v)
        return result[..., 0]

    def _bias(self) -> Tensor:
        """`(heads, T, base * base)`: that of single pixels, averaged over each square."""
        side, times = self.window, self.window // self.base
        like = next(self.pos.parameters())  # a frozen layer has no weight
        places = torch.arange(1 - side, side, device=like.device, dtype=like.dtype)
        offsets = torch.stack(torch.meshgrid(places, places, indexing="ij"), -1)
        table = F.avg_pool2d(self.pos(offsets).permute(2, 0, 1), times, 1)  # at the offset of a square's last pixel
        pixels, squares = (torch.arange(0, side, step, device=like.device) for step in (1, times))
        place = pixels[:, None] - squares - times + side
        bias = table[:, place][..., place]  # heads, row, row of squares, column, column of squares
        result: Tensor = bias.transpose(2, 3).reshape(self.heads, side**2, self.base**2)
        return result

    def _channel(self, q: Tensor, v: Tensor) -> Tensor:
        """`(B, T, C / 2)` each: channels against channels, over the pixels of the window."""
        weight = self.query_c(q).transpose(1, 2) @ self.key_c(v) / q.shape[1]
        result: Tensor = self.value_c(v) @ self.correlation_c(weight).transpose(1, 2)
        return result


class Depthwise(nn.Module):
    """A depthwise 5x5 convolution and GELU, under the name that it has in published files."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Sequential(nn.Conv2d(width, width, 5, padding=2, groups=width), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, C)` to `(N, H, W, C)`."""
        result: Tensor = self.depthwise_conv(x.permute(0, 3, 1, 2))
        return result.permute(0, 2, 3, 1)


class ConvFFN(nn.Module):
    """An MLP with a depthwise convolution in its middle."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.dwconv, self.fc2 = nn.Linear(width, hidden), Depthwise(hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, C)` to `(N, H, W, C)`."""
        x = F.gelu(self.fc1(x))
        result: Tensor = self.fc2(x + self.dwconv(x))
        return result


class Block(nn.Module):
    """Correlations and an MLP, each normalised before it is added."""

    def __init__(self, config: Config, window: int) -> None:
        super().__init__()
        width, self.window = config.width, window
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.correlation = Correlation(width, config.heads, window, config.base)
        self.mlp = ConvFFN(width, config.ratio * width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, C)` to `(N, H, W, C)`."""
        y = pad(x.permute(0, 3, 1, 2), 2 * self.window, "reflect").permute(0, 2, 3, 1)
        y = self.correlation(y)
        x = x + self.norm1(y[:, : x.shape[1], : x.shape[2]])
        result: Tensor = x + self.norm2(self.mlp(x))
        return result


class Blocks(nn.Module):
    """The blocks of a group, under the name that they have in published files."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(config, window) for window in config.windows))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, C)` to `(N, H, W, C)`."""
        result: Tensor = self.blocks(x)
        return result


class Group(nn.Module):
    """Blocks with windows of all sizes, a convolution, and a shortcut around them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.residual_group = Blocks(config)
        self.conv = conv3(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, C)` to `(N, H, W, C)`."""
        y = self.conv(self.residual_group(x).permute(0, 3, 1, 2))
        result: Tensor = x + y.permute(0, 2, 3, 1)
        return result


class HiTSR(nn.Module):
    """The network. Images of any size; each block pads to twice its own window."""

    mean: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.conv_first = conv3(3, width)
        self.patch_embed = nn.Module()
        self.patch_embed.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(*(Group(config) for _ in range(config.groups)))
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = conv3(width, width)
        self.upsample = nn.Sequential(conv3(width, 3 * config.scale**2), nn.PixelShuffle(config.scale))
        self.output = Site()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        first = self.conv_first(x - self.mean)
        y = self.norm(self.layers(self.patch_embed.norm(first.permute(0, 2, 3, 1))))  # type: ignore[operator]
        y = self.conv_after_body(y.permute(0, 3, 1, 2)) + first
        result: Tensor = self.output(self.upsample(y)) + self.mean
        return result


def _infer(state: State) -> Config | None:
    blocks = "layers.0.residual_group.blocks.{}.correlation."
    keys = ("conv_first.weight", "upsample.0.bias", "patch_embed.norm.weight")
    depth = count(state, f"{blocks}spatial_linear.weight")
    if not depth or not all(key in state for key in keys):
        return None
    scale, width = scale_of(len(state["upsample.0.bias"])), len(state["conv_first.weight"])
    # Squares of one pixel come in windows of the base size, and in smaller ones, which weights do not tell apart:
    # the published network has one of half that size first.
    base = Config.base
    times = [int(state[f"{blocks.format(k)}spatial_linear.weight"].shape[1] ** 0.5) for k in range(depth)]
    windows = tuple(base * k for k in times)
    if times[:2] == [1, 1]:
        windows = (base // 2, *windows[1:])
    heads = len(state[f"{blocks.format(0)}pos.pos3.2.bias"])
    ratio = len(state["layers.0.residual_group.blocks.0.mlp.fc1.bias"]) // width
    groups = count(state, "layers.{}.conv.weight")
    return None if scale is None else Config(scale, width, groups, windows, base, heads, ratio)


_BLOCKS = "layers.*.residual_group.blocks.*."
ARCH = Architecture(
    name="hitsr",
    config=Config,
    build=HiTSR,
    infer=_infer,
    # The bias of the positions and the mean over squares do not depend on the image, or hardly cost: they stay float.
    sites=(
        *(f"{_BLOCKS}correlation.{part}" for part in ("qv.conv.*", "qv.linear", "proj")),
        *(f"{_BLOCKS}correlation.{part}" for part in ("query", "key", "correlation", "value")),
        *(f"{_BLOCKS}correlation.{part}_c" for part in ("query", "key", "correlation", "value")),
        *(f"{_BLOCKS}mlp.{part}" for part in ("fc1", "dwconv.depthwise_conv.0", "fc2")),
        "layers.*.conv",
        "conv_after_body",
    ),
    rounding=Rounding(
        ends=("conv_first", "output"),
        maps=("conv_after_body", "upsample.0"),
        left=("*.pos.*", "*.spatial_linear"),
    ),
    small={"width": 24, "groups": 1, "windows": (4, 8, 16), "heads": 2},
    exceptions={"plain form": "HiTSR", "receptive field": "windows lie at fixed places"},
)
