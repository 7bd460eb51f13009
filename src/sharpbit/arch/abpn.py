"""ABPN: a chain of convolutions and ReLU, to whose result the image is added.

Source: "Anchor-based Plain Net for Mobile Image Super-Resolution", Du et al., CVPR Workshops 2021;
`core/archs/ir/ABPN/arch.py` of ECNUSR/ETDS, whose names of tensors these are.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.nn import State, anchored, conv3, scale_of


@dataclass(frozen=True)
class Config:
    """Sizes of an ABPN.

    Attributes:
        scale: upscaling factor.
        blocks: layers between the first and the last two.
        width: channels of every layer but the last two.
    """

    scale: int
    blocks: int = 4
    width: int = 28


class ABPN(nn.Module):
    """The chain; its last two layers have the `3 * scale**2` channels of the pixel shuffle."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, rows = config.width, 3 * config.scale**2
        blocks = (nn.Sequential(conv3(width, width), nn.ReLU()) for _ in range(config.blocks))
        last = (conv3(width, rows), nn.ReLU(), conv3(rows, rows))
        self.backbone = nn.Sequential(conv3(3, width), nn.ReLU(), *blocks, *last)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        return F.pixel_shuffle(anchored(self.backbone(x), x, self.config.scale), self.config.scale)


def _infer(state: State) -> Config | None:
    number = 0
    while f"backbone.{2 + number}.0.weight" in state:
        number += 1
    last = state.get(f"backbone.{number + 4}.weight")
    if "backbone.0.weight" not in state or last is None or last.shape[0] != last.shape[1] or last.shape[2] != 3:
        return None
    scale = scale_of(last.shape[0])
    return None if scale is None else Config(scale, number, state["backbone.0.weight"].shape[0])


ARCH = Architecture(
    name="abpn", config=Config, build=ABPN, infer=_infer, sites=("backbone.*.0",), small={"blocks": 3, "width": 20}
)
