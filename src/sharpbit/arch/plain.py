"""A plain chain: 3x3 convolutions with ReLU between them, a clamp to `[0, 1]`, a pixel shuffle.

This is what the dual-stream networks become, and what every engine runs well. The published converted files write
the clamp as two ReLUs with a 1x1 convolution between them; `rename` folds that back, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.nn import State, conv3, count, scale_of


@dataclass(frozen=True)
class Config:
    """Sizes of a plain chain.

    Attributes:
        scale: upscaling factor.
        blocks: convolutions between the first and the last.
        width: channels of every layer but the last.
    """

    scale: int
    blocks: int = 6
    width: int = 32


class Plain(nn.Module):
    """`blocks + 2` convolutions; the output lies in `[0, 1]`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        sizes = [3, *[config.width] * (config.blocks + 1), 3 * config.scale**2]
        self.layers = nn.ModuleList(conv3(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, clamped to `[0, 1]`."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        return F.pixel_shuffle(torch.clamp(last(x), 0.0, 1.0), self.config.scale)


def _rename(state: State) -> State:
    """Published converted ETDS (`ETDSForInference`): clip by two negations becomes a clamp; the dummy row goes."""
    if "conv_clip.weight" not in state:
        return state
    blocks = count(state, "backbone_convs.{}.weight")
    names = ["conv_first", *(f"backbone_convs.{k}" for k in range(blocks))]
    rows = state["conv_last.weight"].shape[0]
    rows = max(3 * s * s for s in (1, 2, 3, 4, 8) if 3 * s * s <= rows)
    out = {f"layers.{k}.{kind}": state[f"{name}.{kind}"] for k, name in enumerate(names) for kind in ("weight", "bias")}
    out[f"layers.{blocks + 1}.weight"] = -state["conv_last.weight"][:rows]
    out[f"layers.{blocks + 1}.bias"] = 1 - state["conv_last.bias"][:rows]
    return out


def _infer(state: State) -> Config | None:
    depth = count(state, "layers.{}.weight")
    if depth < 2 or len(state) != 2 * depth:
        return None
    scale = scale_of(state[f"layers.{depth - 1}.weight"].shape[0])
    return None if scale is None else Config(scale, depth - 2, state["layers.0.weight"].shape[0])


ARCH = Architecture(name="plain", config=Config, build=Plain, infer=_infer, rename=_rename, sites=("layers.*",))
