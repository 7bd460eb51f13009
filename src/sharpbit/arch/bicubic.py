"""Bicubic upscaling as a network without weights: the baseline of the published tables.

It is the interpolation of the framework (a = -0.75, centres of pixels half a pixel in), not MATLAB's (a = -0.5), which
`sharpbit.image.resize` has. Source: `core/archs/ir/Bicubic/arch.py` of ECNUSR/ETDS.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture


@dataclass(frozen=True)
class Config:
    """The size of a bicubic upscaling: its factor."""

    scale: int


class Bicubic(nn.Module):
    """Separable interpolation with 4x4 taps; the image's edge goes on outside."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        return F.interpolate(x, scale_factor=self.config.scale, mode="bicubic", align_corners=False)


# No weights tell that a file is this; its header does.
ARCH = Architecture(
    name="bicubic",
    config=Config,
    build=Bicubic,
    infer=lambda state: None,
    exceptions={
        "sizes from weights": "it has no weights",
        "plain form": "interpolate",
        "quantization": "it has no layers",
    },
)
