"""SwinIR: attention in shifted windows; by default the light form.

Source: "SwinIR: Image Restoration Using Swin Transformer", Liang et al., ICCV Workshops 2021;
`models/network_swinir.py` of JingyunLiang/SwinIR, whose names of tensors these are. Weights tell all sizes but `white`,
which is 255 in the networks against JPEG alone (those have windows of 7 pixels and no upsampling).

Windows lie at fixed places, so a tile's result is its part of the whole result only where the grids agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.arch._attention import Attention, merge, pad, split
from sharpbit.arch._craft_blocks import MLP, shifted_mask
from sharpbit.errors import UsageError
from sharpbit.nn import Linear, Rounding, Site, State, conv3, count, factors, mean_buffer, scale_by, scale_of

DIRECT, SHUFFLE, NEAREST, NONE = "pixelshuffledirect", "pixelshuffle", "nearest+conv", "none"
WIDTH = 64  # channels of the larger upsamplers
SLOPE, LAST_SLOPE = 0.01, 0.2


@dataclass(frozen=True)
class Config:
    """Sizes of a SwinIR.

    Attributes:
        scale: Upscaling factor.
        width: Channels.
        depths: Number of blocks in each group.
        heads: Number of heads of attention.
        window: Side of the windows in pixels.
        ratio: Hidden channels of the MLPs, in units of `width`.
        upsampler: `pixelshuffledirect` in the light networks, `pixelshuffle` in the classical ones, `nearest+conv` in
            those for real images, and `none` where the image keeps its size.
        three: Whether three thin convolutions end each group, as in the large network for real images; else one.
        white: The value of white inside.
    """

    scale: int
    width: int = 60
    depths: tuple[int, ...] = (6, 6, 6, 6)
    heads: int = 6
    window: int = 8
    ratio: int = 2
    upsampler: str = DIRECT
    three: bool = False
    white: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        if self.width % self.heads:
            raise UsageError(f"swinir has width {self.width}, which must be a multiple of its {self.heads} heads")
        fits = {DIRECT: self.scale >= 1, SHUFFLE: self.scale > 1, NEAREST: self.scale in (2, 4), NONE: self.scale == 1}
        if not fits.get(self.upsampler):
            known = "pixelshuffledirect, pixelshuffle (2, 3, 4, 8), nearest+conv (2, 4) and none (1)"
            raise UsageError(f"swinir upscales with {known}, not {self.scale} times with {self.upsampler!r}")


class WindowAttention(Attention):
    """Attention in square windows, with a bias for each distance of two pixels.

    Args:
        width: Channels.
        heads: Number of heads.
        window: Side of the windows.
        shift: How far the windows are moved, to the left and up.
    """

    index: Tensor

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("index", _distances(window), persistent=False)
        self.qkv, self.proj = Linear(width, 3 * width), Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """`(N, H, W, C)` to the same."""
        n, height, width = x.shape[:3]
        qkv = self.qkv(x)
        if self.shift:
            qkv = qkv.roll((-self.shift, -self.shift), (1, 2))
        windows = split(qkv, (self.window, self.window))
        shape = windows.shape
        tokens = windows.reshape(-1, self.window**2, 3, self.heads, x.shape[-1] // self.heads)
        q, k, v = tokens.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.relative_position_bias_table[self.index].permute(2, 0, 1)
        if self.shift:
            mask = shifted_mask(height, width, (self.window, self.window), x.device)
            bias = bias + mask.to(x.dtype).repeat(n, 1, 1, 1)
        out = super().forward(q, k, v, bias)
        out = merge(out.transpose(1, 2).reshape(*shape[:5], x.shape[-1]))
        if self.shift:
            out = out.roll((self.shift, self.shift), (1, 2))
        result: Tensor = self.proj(out)
        return result


class Block(nn.Module):
    """Attention and an MLP, each normalised before it is added."""

    def __init__(self, config: Config, shift: int) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, config.heads, config.window, shift)
        self.mlp = MLP(width, config.ratio * width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, C)` to the same."""
        x = x + self.attn(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class Group(nn.Module):
    """Blocks, a convolution, and a shortcut around both."""

    def __init__(self, config: Config, depth: int) -> None:
        super().__init__()
        self.residual_group = nn.Module()
        shifts = (config.window // 2 if number % 2 else 0 for number in range(depth))
        self.residual_group.blocks = nn.Sequential(*(Block(config, shift) for shift in shifts))
        self.conv = _ending(config)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, C)` to the same."""
        y = self.residual_group.blocks(x).permute(0, 3, 1, 2)  # type: ignore[operator]
        result: Tensor = x + self.conv(y).permute(0, 2, 3, 1)
        return result


class SwinIR(nn.Module):
    """The network. Images of any size; sides are continued by reflection to multiples of the window."""

    mean: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, scale, kind = config.width, config.scale, config.upsampler
        self.register_buffer("mean", mean_buffer(), persistent=False)
        self.conv_first = conv3(3, width)
        self.patch_embed = nn.Module()
        self.patch_embed.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(*(Group(config, depth) for depth in config.depths))
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = _ending(config)
        if kind in (SHUFFLE, NEAREST):
            self.conv_before_upsample = nn.Sequential(conv3(width, WIDTH), nn.LeakyReLU(SLOPE))
        if kind == DIRECT:
            self.upsample = nn.Sequential(conv3(width, 3 * scale**2), nn.PixelShuffle(scale))
        elif kind == SHUFFLE:
            steps = ((conv3(WIDTH, step**2 * WIDTH), nn.PixelShuffle(step)) for step in factors(scale))
            self.upsample = nn.Sequential(*(part for step in steps for part in step))
        elif kind == NEAREST:
            for number in range(scale // 2):
                self.add_module(f"conv_up{number + 1}", conv3(WIDTH, WIDTH))
            self.conv_hr = conv3(WIDTH, WIDTH)
        if kind != DIRECT:
            self.conv_last = conv3(width if kind == NONE else WIDTH, 3)
        self.output = Site()
        for module in self.modules():
            if isinstance(module, nn.Linear):  # as published
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        height, width = (side * self.config.scale for side in x.shape[2:])
        x = (pad(x, self.config.window, "reflect") - self.mean) * self.config.white
        first = self.conv_first(x)
        y = self.norm(self.layers(self.patch_embed.norm(first.permute(0, 2, 3, 1))))  # type: ignore[operator]
        y = self._upscaled(self.conv_after_body(y.permute(0, 3, 1, 2)) + first)
        if self.config.upsampler == NONE:
            y = y + x
        result: Tensor = self.output(y) / self.config.white + self.mean
        return result[..., :height, :width]

    def _upscaled(self, y: Tensor) -> Tensor:
        kind = self.config.upsampler
        if kind == SHUFFLE:
            y = self.upsample(self.conv_before_upsample(y))
        elif kind == NEAREST:
            y = self.conv_before_upsample(y)
            for number in range(self.config.scale // 2):
                conv = self.get_submodule(f"conv_up{number + 1}")
                y = F.leaky_relu(conv(F.interpolate(y, scale_factor=2, mode="nearest")), LAST_SLOPE)
            y = F.leaky_relu(self.conv_hr(y), LAST_SLOPE)
        out: Tensor = self.upsample(y) if kind == DIRECT else self.conv_last(y)
        return out


def _ending(config: Config) -> nn.Module:
    """What ends a group: one convolution, or three thin ones."""
    width = config.width
    if not config.three:
        return conv3(width, width)
    thin = width // 4
    slopes = nn.LeakyReLU(LAST_SLOPE), nn.LeakyReLU(LAST_SLOPE)
    return nn.Sequential(conv3(width, thin), slopes[0], nn.Conv2d(thin, thin, 1), slopes[1], conv3(thin, width))


def _distances(window: int) -> Tensor:
    """`(T, T)`: which row of the table of biases belongs to two pixels of a window."""
    place = torch.arange(window)
    apart = place[:, None] - place + window - 1
    both = apart[:, None, :, None] * (2 * window - 1) + apart[None, :, None, :]
    return both.reshape(window**2, window**2)


def _rename(state: State) -> State:
    """Without what is computed from the sizes."""
    return {key: value for key, value in state.items() if not key.endswith((".attn_mask", ".relative_position_index"))}


def _infer(state: State) -> Config | None:
    table = state.get("layers.0.residual_group.blocks.0.attn.relative_position_bias_table")
    if table is None or "patch_embed.norm.weight" not in state or state["conv_first.weight"].shape[1] != 3:
        return None
    groups = 0
    while f"layers.{groups}.residual_group.blocks.0.norm1.weight" in state:
        groups += 1
    depths = tuple(count(state, f"layers.{k}.residual_group.blocks.{{}}.norm1.weight") for k in range(groups))
    width, heads = len(state["norm.weight"]), table.shape[1]
    window = (round(len(table) ** 0.5) + 1) // 2
    ratio = len(state["layers.0.residual_group.blocks.0.mlp.fc1.bias"]) // width
    kind, scale = NONE, 1
    if "conv_up1.weight" in state:
        kind, scale = NEAREST, 4 if "conv_up2.weight" in state else 2
    elif "conv_before_upsample.0.weight" in state:
        kind, scale = SHUFFLE, scale_by(state, "upsample.{}.weight", 2, WIDTH)
    elif "upsample.0.weight" in state:
        kind, scale = DIRECT, scale_of(len(state["upsample.0.weight"])) or 0
    white = 255.0 if kind == NONE and window == 7 else 1.0
    three = "conv_after_body.0.weight" in state
    return Config(scale, width, depths, heads, window, ratio, kind, three, white) if scale else None


_BLOCKS = "layers.*.residual_group.blocks.*."
ARCH = Architecture(
    name="swinir",
    config=Config,
    build=SwinIR,
    infer=_infer,
    rename=_rename,
    sites=(
        *(f"{_BLOCKS}attn.{part}" for part in ("qkv", "q", "k", "attention", "v", "proj")),
        *(f"{_BLOCKS}mlp.{part}" for part in ("fc1", "fc2")),
        "layers.*.conv*",
        "conv_after_body*",
    ),
    rounding=Rounding(ends=("conv_first", "output"), maps=("conv_[abhlu]*", "upsample*")),
    small={"width": 16, "depths": (2,), "heads": 2, "window": 4},
    exceptions={"plain form": "SwinIR", "receptive field": "windows lie at fixed places"},
)
