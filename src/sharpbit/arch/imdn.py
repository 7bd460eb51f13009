"""IMDN: each block keeps a quarter of the channels at every step and refines the rest.

Source: "Lightweight Image Super-Resolution with Information Multi-distillation Network", Hui et al., ACM MM 2019, in
the form that is the baseline of challenges on efficient super-resolution: without attention to channels, and without
collecting what the blocks give. Names of tensors are those of its published weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.nn import Rounding, Site, State, conv, conv3, count, scale_of

SLOPE = 0.05


@dataclass(frozen=True)
class Config:
    """Sizes of an IMDN.

    Attributes:
        scale: upscaling factor.
        blocks: number of blocks.
        width: channels; a quarter of them is distilled at each step.
    """

    scale: int
    blocks: int = 8
    width: int = 64


class Block(nn.Module):
    """Four steps of distilling, and a 1x1 convolution of what was kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kept = width // 4
        rest = width - self.kept
        self.conv1, self.conv2, self.conv3 = (
            nn.Sequential(conv3(inputs, width), nn.LeakyReLU(SLOPE)) for inputs in (width, rest, rest)
        )
        self.conv4 = conv3(rest, self.kept)
        self.conv1x1 = conv(4 * self.kept, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H, W)`."""
        kept, rest = [], x
        for layer in (self.conv1, self.conv2, self.conv3):
            y = layer(rest)
            kept.append(y[:, : self.kept])
            rest = y[:, self.kept :]
        result: Tensor = x + self.conv1x1(torch.cat([*kept, self.conv4(rest)], 1))
        return result


class Shortcut(nn.Module):
    """Modules in a row, to whose result the input is added."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.sub = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H, W)`."""
        result: Tensor = x + self.sub(x)
        return result


class IMDN(nn.Module):
    """The network."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        body = Shortcut(*(Block(width) for _ in range(config.blocks)), conv3(width, width))
        self.model = nn.Sequential(conv3(3, width), body, conv3(width, 3 * config.scale**2))
        self.output = Site()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        result: Tensor = self.output(F.pixel_shuffle(self.model(x), self.config.scale))
        return result


def _infer(state: State) -> Config | None:
    blocks = count(state, "model.1.sub.{}.conv1x1.weight")
    if not blocks or not {"model.0.weight", "model.2.weight", f"model.1.sub.{blocks}.weight"} <= set(state):
        return None
    scale = scale_of(len(state["model.2.weight"]))
    return None if scale is None else Config(scale, blocks, len(state["model.0.weight"]))


ARCH = Architecture(
    name="imdn",
    config=Config,
    build=IMDN,
    infer=_infer,
    sites=("model.1.sub.*",),
    rounding=Rounding(ends=("model.0", "output"), maps=("model.*",)),
    small={"blocks": 1, "width": 8},
)
