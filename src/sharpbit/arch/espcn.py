"""ESPCN: three convolutions with tanh, a pixel shuffle and a sigmoid, for colour images.

Source: "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network",
Shi et al., CVPR 2016; `core/archs/ir/ESPCN/arch.py` of ECNUSR/ETDS, whose names of tensors these are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.nn import State, conv, conv3, scale_of


@dataclass(frozen=True)
class Config:
    """The size of an ESPCN: its upscaling factor."""

    scale: int


class ESPCN(nn.Module):
    """64 and 32 channels; the output lies in `[0, 1]`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.conv1 = conv(3, 64, 5)
        self.conv2 = conv3(64, 32)
        self.conv3 = conv3(32, 3 * config.scale**2)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, in `[0, 1]`."""
        x = torch.tanh(self.conv2(torch.tanh(self.conv1(x))))
        return torch.sigmoid(F.pixel_shuffle(self.conv3(x), self.config.scale))


def _infer(state: State) -> Config | None:
    if set(state) != {f"conv{k}.{kind}" for k in (1, 2, 3) for kind in ("weight", "bias")}:
        return None
    scale = scale_of(state["conv3.weight"].shape[0])
    return None if scale is None else Config(scale)


ARCH = Architecture(
    name="espcn", config=Config, build=ESPCN, infer=_infer, sites=("conv2",), exceptions={"plain form": "tanh"}
)
