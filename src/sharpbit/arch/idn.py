"""IDN: blocks that split their channels, distil one part further and keep the other; added to a bicubic upscaling.

Source: "Fast and Accurate Single Image Super-Resolution via Information Distillation Network", Hui et al., CVPR 2018;
`model/idn.py` of Cheeun/CADyQ, whose names of tensors `rename` knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture, Aware, Quantized, Rounded
from sharpbit.errors import UsageError
from sharpbit.nn import Site, State, conv, conv3, count, renamed, upscaled_grey

SLOPE = 0.05  # of every leaky ReLU
GROUPS = 4
SIDE = 17  # of the last kernel


@dataclass(frozen=True)
class Config:
    """Sizes of an IDN.

    Attributes:
        scale: upscaling factor.
        blocks: distillation blocks.
        width: channels; a multiple of 4 times `slices`.
        slices: into how many parts channels are sliced, one of which is kept in each block; 4 as published.
    """

    scale: int
    blocks: int = 4
    width: int = 64
    slices: int = 4

    def __post_init__(self) -> None:
        if self.slices < 3 or self.width % (self.slices * GROUPS):
            raise UsageError(
                f"the width of an idn is a multiple of {max(self.slices, 3) * GROUPS}, not {self.width}, and its slices"
                f" are 3 or more, not {self.slices}"
            )


class Block(nn.Module):
    """Enhancement of all channels, then of three quarters of them, then compression. Site: `output` of the second."""

    def __init__(self, width: int, slices: int = 4) -> None:
        super().__init__()
        part = width // slices
        self.sizes = (width - part, part)
        self.top = _enhancement(width, width - part, width - 2 * part, width)
        self.bottom = _enhancement(width - part, width, width - part, width + part)
        self.output = Site()
        self.compression = conv(width + part, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        deeper, kept = self.top(x).split(self.sizes, 1)
        result: Tensor = self.compression(self.output(self.bottom(deeper)) + torch.cat([x, kept], 1))
        return result


class IDN(nn.Module):
    """The blocks, a transposed convolution, and the bicubic upscaling of the image added to it.

    Inside, values go from 0 to 255. The site `feature` is what the transposed convolution gets.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, scale = config.width, config.scale
        self.head = nn.Sequential(conv3(3, width), nn.LeakyReLU(SLOPE), conv3(width, width), nn.LeakyReLU(SLOPE))
        self.blocks = nn.Sequential(*(Block(width, config.slices) for _ in range(config.blocks)))
        self.feature = Site()
        self.deconv = nn.ConvTranspose2d(width, 3, SIDE, scale, SIDE // 2, scale - 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.bias is not None
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        large = F.interpolate(x, scale_factor=self.config.scale, mode="bicubic", align_corners=False)
        detail: Tensor = self.deconv(self.feature(self.blocks(self.head(x * 255))))
        return large + detail / 255


def _enhancement(a: int, b: int, c: int, d: int) -> nn.Sequential:
    """Three convolutions, the middle one in groups, each followed by a leaky ReLU."""
    convs = (conv3(a, b), conv(b, c, 3, groups=GROUPS), conv3(c, d))
    return nn.Sequential(*(layer for convolution in convs for layer in (convolution, nn.LeakyReLU(SLOPE))))


def _rename(state: State) -> State:
    rules = {
        r"fblock\.module\.": "head.",
        r"dblocks\.(\d+)\.enhancement_(top|bottom)\.": r"blocks.\1.\2.",
        r"dblocks\.": "blocks.",
    }
    return renamed(state, rules)


def _infer(state: State) -> Config | None:
    ours = _rename(state)
    blocks, first = count(ours, "blocks.{}.compression.weight"), ours.get("head.0.weight")
    if not blocks or first is None:
        return None
    width = len(first)
    sliced = width - ours["blocks.0.bottom.0.weight"].shape[1]
    if sliced < 1:
        return None
    slices = width // sliced
    return Config(_scale(ours, blocks, width, slices), blocks, width, slices)


def _scale(state: State, blocks: int, width: int, slices: int) -> int:
    """The scale, which no shape tells: of flat grey a trained network makes flat grey, with its own stride alone.

    That holds for divisors of the stride too, so the largest one counts that is not clearly worse than the best.
    """
    off = {}
    for scale in (4, 3, 2):
        net = IDN(Config(scale, blocks, width, slices))
        net.load_state_dict(state)
        off[scale] = float((upscaled_grey(net, scale) - 0.5).abs().max())
    return next(scale for scale in off if off[scale] <= 2 * min(off.values()) + 0.01)


_CONVS = ("blocks.*.top.[024]", "blocks.*.bottom.[024]")
ARCH = Architecture(
    name="idn",
    config=Config,
    build=IDN,
    infer=_infer,
    rename=_rename,
    sites=_CONVS,
    aware=Aware((Rounded("head.[02]", act="fixed"), *map(Rounded, _CONVS))),
    quantized=Quantized(
        mark=r"dblocks\.0\.enhancement_top\.7\.weight$",
        names={
            r"fblock\.module\.1\.": r"head.0.",
            r"fblock\.module\.4\.": r"head.2.",
            r"fblock\.(?:module\.0|quant_actf1)\.": r"head.0.act.",
            r"fblock\.(?:module\.3|quant_actf2)\.": r"head.2.act.",
            r"dblocks\.(\d+)\.enhancement_(top|bottom)\.1\.": r"blocks.\1.\2.0.",
            r"dblocks\.(\d+)\.enhancement_(top|bottom)\.4\.": r"blocks.\1.\2.2.",
            r"dblocks\.(\d+)\.enhancement_(top|bottom)\.7\.": r"blocks.\1.\2.4.",
            r"dblocks\.(\d+)\.(?:enhancement_top\.0|quant_act1)\.": r"blocks.\1.top.0.act.",
            r"dblocks\.(\d+)\.(?:enhancement_top\.3|quant_act2)\.": r"blocks.\1.top.2.act.",
            r"dblocks\.(\d+)\.(?:enhancement_top\.6|quant_act3)\.": r"blocks.\1.top.4.act.",
            r"dblocks\.(\d+)\.(?:enhancement_bottom\.0|quant_act4)\.": r"blocks.\1.bottom.0.act.",
            r"dblocks\.(\d+)\.(?:enhancement_bottom\.3|quant_act5)\.": r"blocks.\1.bottom.2.act.",
            r"dblocks\.(\d+)\.(?:enhancement_bottom\.6|quant_act6)\.": r"blocks.\1.bottom.4.act.",
        },
    ),
    small={"blocks": 1, "width": 32},
    exceptions={"sizes from weights": "the scale, which is told by trained weights alone", "plain form": "interpolate"},
)
