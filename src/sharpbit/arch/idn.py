"""IDN: blocks that split their channels, distil one part further and keep the other; added to a bicubic upscaling.

Source: "Fast and Accurate Single Image Super-Resolution via Information Distillation Network", Hui et al., CVPR 2018;
`model/idn.py` of Cheeun/CADyQ, whose names of tensors `rename` knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
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
        width: channels; a multiple of 16. A quarter of them is kept in each block.
    """

    scale: int
    blocks: int = 4
    width: int = 64

    def __post_init__(self) -> None:
        if self.width % (4 * GROUPS):
            raise UsageError(f"the width of an idn is a multiple of {4 * GROUPS}, not {self.width}")


class Block(nn.Module):
    """Enhancement of all channels, then of three quarters of them, then compression. Site: `output` of the second."""

    def __init__(self, width: int) -> None:
        super().__init__()
        quarter = width // 4
        self.sizes = (width - quarter, quarter)
        self.top = _enhancement(width, width - quarter, width - 2 * quarter, width)
        self.bottom = _enhancement(width - quarter, width, width - quarter, width + quarter)
        self.output = Site()
        self.compression = conv(width + quarter, width, 1)

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
        self.blocks = nn.Sequential(*(Block(width) for _ in range(config.blocks)))
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
    return Config(_scale(ours, blocks, len(first)), blocks, len(first))


def _scale(state: State, blocks: int, width: int) -> int:
    """The scale, which no shape tells: of flat grey a trained network makes flat grey, with its own stride alone.

    That holds for divisors of the stride too, so the largest one counts that is not clearly worse than the best.
    """
    off = {}
    for scale in (4, 3, 2):
        net = IDN(Config(scale, blocks, width))
        net.load_state_dict(state)
        off[scale] = float((upscaled_grey(net, scale) - 0.5).abs().max())
    return next(scale for scale in off if off[scale] <= 2 * min(off.values()) + 0.01)


ARCH = Architecture(
    name="idn",
    config=Config,
    build=IDN,
    infer=_infer,
    rename=_rename,
    sites=("blocks.*.top.[024]", "blocks.*.bottom.[024]"),
)
