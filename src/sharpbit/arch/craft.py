"""CRAFT: windows of attention for the low frequencies, a branch of convolutions for the high ones.

Source: "Feature Modulation Transformer: Cross-Refinement of Global Representation via High-Frequency Prior for Image
Super-Resolution", Li et al., ICCV 2023; `basicsr/archs/craft_arch.py` of
AVC2-UESTC/Frequency-Inspired-Optimization-for-EfficientSR, whose names of tensors these are.

Attention between channels and normalising look at the whole image, so a tile's result is not its part of the whole
result; `evidence/craft_tiles.py` measures by how much.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sharpbit.arch import Architecture
from sharpbit.arch._attention import PADDINGS, pad
from sharpbit.arch._craft_blocks import HFB, HFERB, SRWAB, LayerNorm
from sharpbit.arch._craft_names import CLIPPED
from sharpbit.arch._position import offsets
from sharpbit.errors import UsageError
from sharpbit.nn import Rounding, Site, State, conv3, count, scale_of

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, in RGB


@dataclass(frozen=True)
class Config:
    """Sizes of a CRAFT.

    Attributes:
        scale: upscaling factor.
        width: channels.
        depths: for each group, how often two window blocks and the two others follow one another.
        heads: number of heads of attention, half of them for each shape of window; one number, or one for each group.
        split: short and long side of the windows.
        ratio: hidden channels of the MLPs, in units of `width`.
        mask: whether attention in shifted windows stops where the image was wound around; the published quantized
            networks and the older code have no mask, the newer code has.
        padding: `mirror` as in published inference, or `reflect`, which adds nothing to sizes that fit (see `pad`).
    """

    scale: int
    width: int = 48
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: int | tuple[int, ...] = 6
    split: tuple[int, int] = (4, 16)
    ratio: int = 2
    mask: bool = False
    padding: str = "mirror"

    def __post_init__(self) -> None:
        for name in ("depths", "split"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.heads, list):  # as files have it
            object.__setattr__(self, "heads", tuple(self.heads))
        if any(self.width % heads or heads % 2 for heads in self.each) or len(self.each) != len(self.depths):
            raise UsageError(
                f"craft has width {self.width} and heads {self.heads}; the heads must be even, divide the width, and"
                f" are one number or one for each of the {len(self.depths)} groups"
            )
        if self.padding not in PADDINGS:
            raise UsageError(f"craft can pad by {' or '.join(PADDINGS)}, not by {self.padding!r}")

    @property
    def each(self) -> tuple[int, ...]:
        """Heads of each group."""
        return self.heads if isinstance(self.heads, tuple) else (self.heads,) * len(self.depths)


class CRFB(nn.Module):
    """Cross-refinement fusion blocks: window attention and convolutions side by side, joined, several times."""

    def __init__(self, config: Config, depth: int, heads: int) -> None:
        super().__init__()
        width = config.width
        self.srwa_blocks = nn.ModuleList(
            SRWAB(width, heads, config.split, config.ratio, shift=k % 2 == 1, mask=config.mask)
            for k in range(2 * depth)
        )
        self.hfer_blocks = nn.ModuleList(HFERB(width) for _ in range(depth))
        self.hf_blocks = nn.ModuleList(HFB(width, heads) for _ in range(depth))

    def forward(self, x: Tensor, offsets: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H, W)`; for `offsets` see `SRWAB`."""
        for k, (branch, join) in enumerate(zip(self.hfer_blocks, self.hf_blocks, strict=True)):
            low = x
            for block in self.srwa_blocks[2 * k : 2 * k + 2]:
                low = block(low, offsets)
            x = join(low, branch(x))
        return x


class RCRFG(nn.Module):
    """A group: `CRFB`, a convolution, and a shortcut around both."""

    def __init__(self, config: Config, depth: int, heads: int) -> None:
        super().__init__()
        self.residual_group = CRFB(config, depth, heads)
        self.conv = conv3(config.width, config.width)

    def forward(self, x: Tensor, offsets: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H, W)`; for `offsets` see `SRWAB`."""
        result: Tensor = x + self.conv(self.residual_group(x, offsets))
        return result


class CRAFT(nn.Module):
    """The network. Images of any size; sides are padded to multiples of the windows' long side."""

    mean: Tensor
    biases_h: Tensor
    biases_v: Tensor
    relative_position_index_h: Tensor
    relative_position_index_v: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        for name, window in (("h", config.split), ("v", config.split[::-1])):
            table, index = offsets(*window)
            self.register_buffer(f"biases_{name}", table)
            self.register_buffer(f"relative_position_index_{name}", index)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.conv_first = conv3(3, width)
        self.layers = nn.ModuleList(RCRFG(config, *sizes) for sizes in zip(config.depths, config.each, strict=True))
        self.norm = LayerNorm(width)
        self.conv_after_body = conv3(width, width)
        self.upsample = nn.Sequential(conv3(width, 3 * config.scale**2), nn.PixelShuffle(config.scale))
        self.output = Site()
        for module in self.modules():
            if isinstance(module, nn.Linear):  # as published
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        height, width = (side * self.config.scale for side in x.shape[2:])
        tables = (
            (self.biases_h, self.relative_position_index_h),
            (self.biases_v, self.relative_position_index_v),
        )
        x = pad(x, max(self.config.split), self.config.padding) - self.mean
        first = self.conv_first(x.contiguous(memory_format=torch.channels_last))
        y = first
        for layer in self.layers:
            y = layer(y, tables)
        y = self.conv_after_body(self.norm(y)) + first
        result: Tensor = self.output(self.upsample(y)) + self.mean
        return result[..., :height, :width]


def _infer(state: State) -> Config | None:
    group, block = "layers.{}.conv.weight", "layers.0.residual_group.srwa_blocks.0."
    temperature = state.get("layers.0.residual_group.hf_blocks.0.attn.temperature")
    keys = ("conv_first.weight", "upsample.0.bias", "relative_position_index_h", "biases_h", f"{block}mlp.fc1.bias")
    if temperature is None or not all(key in state for key in keys):
        return None
    width, scale = len(state["conv_first.weight"]), scale_of(len(state["upsample.0.bias"]))
    if scale is None:
        return None
    depths = tuple(
        count(state, f"layers.{k}.residual_group.hf_blocks.{{}}.attn.temperature") for k in range(count(state, group))
    )
    each = tuple(len(state[f"layers.{k}.residual_group.hf_blocks.0.attn.temperature"]) for k in range(len(depths)))
    heads = each[0] if len(set(each)) == 1 else each
    tokens, table = len(state["relative_position_index_h"]), len(state["biases_h"])
    both = (4 * tokens + 1 - table) // 2  # tokens = a * b, table = (2 a - 1) * (2 b - 1), both = a + b
    split = next(((a, both - a) for a in range(1, both // 2 + 1) if a * (both - a) == tokens), None)
    if split is None:
        return None
    return Config(scale, width, depths, heads, split, len(state[f"{block}mlp.fc1.bias"]) // width)


_GROUP = "layers.*.residual_group."
ARCH = Architecture(
    name="craft",
    config=Config,
    build=CRAFT,
    infer=_infer,
    # the MLPs of the positions are left out: they never run
    sites=(
        *(f"{_GROUP}srwa_blocks.*.{part}" for part in ("qkv", "get_v", "proj", "mlp.fc1", "mlp.fc2")),
        *(f"{_GROUP}srwa_blocks.*.attns.*.{part}" for part in ("q", "k", "attention", "v")),
        *(f"{_GROUP}hfer_blocks.*.{part}" for part in ("peaks", "fc", "conv", "last_fc")),
        *(f"{_GROUP}hf_blocks.*.attn.{part}" for part in ("q", "q_dwconv", "kv", "kv_dwconv", "project_out")),
        *(f"{_GROUP}hf_blocks.*.attn.{part}" for part in ("query", "key", "attention", "value")),
        *(f"{_GROUP}hf_blocks.*.ffn.{part}" for part in ("project_in", "dwconv", "project_out")),
        "layers.*.conv",
        "conv_after_body",
    ),
    # Published are 440 activations and 303 weights; 96 and 128 of them lie in the MLPs of the positions, which stay
    # float: their result is the same for every image, and in every published network without effect.
    rounding=Rounding(
        ends=("conv_first", "output"),
        maps=(
            "conv_after_body",
            "upsample.0",
            *(f"{_GROUP}hfer_blocks.*.{part}" for part in ("peaks", "fc", "conv", "last_fc")),
        ),
        left=("*.pos.*",),
    ),
    clipped=CLIPPED,
    wrapper="params",
    small={"width": 16, "depths": (1,), "heads": 2},
    exceptions={"plain form": "CRAFT", "receptive field": "attention between channels sees the whole image"},
)
