"""CARN: blocks in a cascade, each of which is a cascade of residual blocks; and its small form, CARN-M.

Source: "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network", Ahn et al., ECCV 2018;
`carn/model/carn.py` and `carn_m.py` of nmhkahn/CARN-pytorch, whose names of tensors `rename` knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture, Aware, Counting, Quantized, Refinable, Rounded, Term
from sharpbit.errors import UsageError
from sharpbit.nn import Site, State, conv, conv3, factors, mean_buffer, renamed, scale_by, with_mean

SCALES = (2, 3, 4)  # of a network that can do all
DEPTH = 3  # blocks in the cascade, and residual blocks in each


@dataclass(frozen=True)
class Config:
    """Sizes of a CARN.

    Attributes:
        scale: upscaling factor.
        width: channels.
        groups: number of groups of the convolutions; more than one makes the blocks those of CARN-M (which has 4):
            convolutions in groups, a 1x1 convolution, and one residual block used three times.
        multi: whether the network holds the last layers for 2, 3 and 4 times; `scale` says which run. Weights do not
            tell; read without a header they are taken for 4.
        unrolled: whether each of the three places of a cascade with groups has a residual block of its own, so that
            each can be quantized, or replaced, by itself. Published CARN-M has one block for all three; its weights are
            read with `unrolled=True` too, and compute the same.
    """

    scale: int
    width: int = 64
    groups: int = 1
    multi: bool = False
    unrolled: bool = False

    @property
    def scales(self) -> tuple[int, ...]:
        """The upscaling factors that the weights hold; `scale` is one of them."""
        return SCALES if self.multi else (self.scale,)

    def __post_init__(self) -> None:
        if self.width % self.groups:
            raise UsageError(f"{self.width} channels of a carn cannot be in {self.groups} groups of the same size")
        if self.multi and self.scale not in SCALES:
            raise UsageError(f"a carn with multi upscales 2, 3 or 4 times, not {self.scale}")


class Block(nn.Module):
    """Two convolutions with a ReLU between them, the shortcut, and a ReLU after it.

    With groups, a ReLU and a 1x1 convolution come before the shortcut. Site: `output` is what is added to it.
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (conv(width, width, 3, groups=groups) for _ in range(2))
        self.mix = nn.Sequential(nn.ReLU(), conv(width, width, 1)) if groups > 1 else nn.Identity()
        self.output = Site()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        return F.relu(self.output(self.mix(self.conv2(F.relu(self.conv1(x))))) + x)


class Cascade(nn.Module):
    """Blocks one after the other; each gets a mix of the input and all results so far, by 1x1 convolution and ReLU.

    Args:
        width: channels.
        blocks: as many as are used, or one that is used every time.
    """

    def __init__(self, width: int, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.mixes = nn.ModuleList(conv(width * (k + 2), width, 1) for k in range(DEPTH))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        kept = x
        for block, mix in zip(cycle(self.blocks), self.mixes, strict=False):
            kept = torch.cat([kept, block(x)], 1)
            x = F.relu(mix(kept))
        return x


class CARN(nn.Module):
    """A cascade of cascades between one convolution in and one out, then pixel shuffles.

    The mean colour `mean` is taken off before and put on after. The site `feature` is what the pixel shuffles get.
    """

    mean: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, groups = config.width, config.groups
        self.register_buffer("mean", mean_buffer())
        self.entry = conv3(3, width)
        number = DEPTH if groups == 1 or config.unrolled else 1
        inner = [Cascade(width, [Block(width, groups) for _ in range(number)]) for _ in range(DEPTH)]
        self.body = Cascade(width, inner)
        self.feature = Site()
        scales = SCALES if config.multi else (config.scale,)
        self.upsamples = nn.ModuleDict({f"x{scale}": _upsample(width, groups, scale) for scale in scales})
        self.exit = conv3(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        x = self.feature(self.body(self.entry(x - self.mean)))
        x = self.upsamples[f"x{self.config.scale}"](x)
        y: Tensor = self.exit(x) + self.mean
        return y

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self.config.unrolled and not prefix:
            state_dict.update(unroll(state_dict))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _upsample(width: int, groups: int, scale: int) -> nn.Sequential:
    stages = ((conv(width, width * k * k, 3, groups=groups), nn.ReLU(), nn.PixelShuffle(k)) for k in factors(scale))
    return nn.Sequential(*chain(*stages))


def _rename(state: State) -> State:
    if "b1.b1.body.0.weight" not in state:
        return state
    width = len(state["entry.weight"])
    single = scale_by(state, "upsample.up.body.{}.weight", 3, width)
    rules = {
        r"b(\d)\.b(\d)\.body\.4": "blocks.{}.blocks.{}.mix.1",
        r"b(\d)\.b(\d)\.body\.0": "blocks.{}.blocks.{}.conv1",
        r"b(\d)\.b(\d)\.body\.2": "blocks.{}.blocks.{}.conv2",
        r"b(\d)\.c(\d)\.body\.0": "blocks.{}.mixes.{}",
        r"c(\d)\.body\.0": "mixes.{}",
    }
    # published numbers begin with 1
    numbered = {
        pattern.replace(r"\d", str(i), 1).replace(r"\d", str(j), 1): "body." + name.format(i - 1, j - 1)
        for pattern, name in rules.items()
        for i in range(1, DEPTH + 1)
        for j in range(1, DEPTH + 1)
    }
    tails = {r"upsample\.up\.body": f"upsamples.x{single}", r"upsample\.up(\d)\.body": r"upsamples.x\1"}
    return renamed(with_mean(state, ".shifter", 1.0), {**numbered, **tails})


def _infer(state: State) -> Config | None:
    ours = _rename(state)
    first = ours.get("body.blocks.0.blocks.0.conv1.weight")
    if first is None:
        return None
    scales = [scale for scale in (*SCALES, 8) if f"upsamples.x{scale}.0.weight" in ours]
    width, groups = len(first), len(first) // first.shape[1]
    unrolled = groups > 1 and "body.blocks.0.blocks.1.conv1.weight" in ours
    return Config(scales[-1], width, groups, multi=len(scales) > 1, unrolled=unrolled)


def unroll(state: State) -> State:
    """The weights of a network whose cascades use one residual block three times, with a copy of it for each use.

    The network with `unrolled` computes the same with them. Other weights are returned as they are, also those of a
    network whose blocks differ in what is in them, as in two passes.
    """
    one = re.compile(r"(body\.blocks\.\d\.blocks)\.(\d)\.(.+)")
    parts = [(found[1], int(found[2]), found[3], value) for name, value in state.items() if (found := one.match(name))]
    there = {(cascade, number) for cascade, number, *_ in parts}
    copies = {
        f"{cascade}.{k}.{rest}": value
        for cascade, number, rest, value in parts
        if number == 0
        for k in range(1, DEPTH)
        if (cascade, k) not in there
    }
    return {**copies, **state}


_CONVS = ("body.blocks.*.blocks.*.conv1", "body.blocks.*.blocks.*.conv2")
ARCH = Architecture(
    name="carn",
    config=Config,
    build=CARN,
    infer=_infer,
    rename=_rename,
    sites=_CONVS,
    aware=Aware(tuple(map(Rounded, _CONVS)), selector={"gradient": 1.0}),
    refinable=Refinable(("body.blocks.*.blocks.*",), count=1, rectified=True),
    counting=Counting((Term("body.blocks.*.blocks.*.conv?"),), ("body.blocks.*.blocks.*.conv?",)),
    quantized=Quantized(
        mark=r"b1\.b1\.body\.4\.weight$",
        names={
            r"b(\d)\.b(\d)\.body\.1\.": r"b\1.b\2.body.0.",
            r"b(\d)\.b(\d)\.body\.4\.": r"b\1.b\2.body.2.",
            r"b(\d)\.b(\d)\.(?:quant_act1|body\.0)\.": r"body.blocks.{1}.blocks.{2}.conv1.act.",
            r"b(\d)\.b(\d)\.(?:quant_act2|body\.3)\.": r"body.blocks.{1}.blocks.{2}.conv2.act.",
        },
    ),
    small={"width": 8},
    exceptions={"plain form": "mean"},
)
