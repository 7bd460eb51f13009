"""ETDS: a backbone for detail beside a three-channel stream that carries the picture.

Source: "Equivalent Transformation and Dual Stream Network Construction for Mobile Image Super-Resolution",
Chao et al., CVPR 2023; `core/archs/ir/ETDS/arch.py` of ECNUSR/ETDS.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.nn import State, conv3, count, scale_of
from sharpbit.reparam import kernels
from sharpbit.reparam.base import Reparameterizable


@dataclass(frozen=True)
class Config:
    """Sizes of an ETDS.

    Attributes:
        scale: upscaling factor.
        blocks: layers of the backbone between the first and the last.
        width: channels after conversion, backbone and residual stream together (32 in the published `M6C32`).
        residual: channels of the residual stream.
    """

    scale: int
    blocks: int = 6
    width: int = 32
    residual: int = 3


class ETDS(nn.Module, Reparameterizable):
    """The dual-stream training form. `forward` gives the picture, `streams` also the low-frequency part alone.

    At the start the residual stream is nearest-neighbour upsampling and adds nothing to the backbone.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        wide, thin, out = config.width - config.residual, config.residual, 3 * config.scale**2
        self.conv_first = conv3(3, wide)
        self.conv_residual_first = conv3(3, thin)
        self.backbone_convs = nn.ModuleList(conv3(wide, wide) for _ in range(config.blocks))
        self.residual_convs = nn.ModuleList(conv3(thin, thin) for _ in range(config.blocks))
        self.add_residual_convs = nn.ModuleList(conv3(thin, wide) for _ in range(config.blocks))
        self.conv_last = conv3(wide, out)
        self.conv_residual_last = conv3(thin, out)
        self._reset()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        return self.streams(x)[0]

    def streams(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The picture, and the part of it that the residual stream alone makes (supervised by the paper's loss)."""
        wide, thin = F.relu(self.conv_first(x)), F.relu(self.conv_residual_first(x))
        for backbone, add, carry in zip(self.backbone_convs, self.add_residual_convs, self.residual_convs, strict=True):
            wide, thin = F.relu(backbone(wide) + add(thin)), F.relu(carry(thin))
        low = self.conv_residual_last(thin)
        high = self.conv_last(wide)
        scale = self.config.scale
        return F.pixel_shuffle(high + low, scale), F.pixel_shuffle(low, scale)

    def reparameterize(self) -> nn.Module:
        """The plain chain of convolution and ReLU that computes the same, clamped to `[0, 1]`.

        Two streams side by side are one convolution whose kernel has their kernels as blocks. Source: `converter.py`.
        """
        from sharpbit.arch.plain import Config as PlainConfig
        from sharpbit.arch.plain import Plain

        thin = self.config.residual
        wide = self.config.width - thin
        layers = [kernels.beside(kernels.of(self.conv_first), kernels.of(self.conv_residual_first))]
        for backbone, add, carry in zip(self.backbone_convs, self.add_residual_convs, self.residual_convs, strict=True):
            to_wide = kernels.joined(kernels.of(backbone), kernels.of(add))
            to_thin = kernels.joined(kernels.zeros(wide, thin), kernels.of(carry))
            layers.append(kernels.beside(to_wide, to_thin))
        layers.append(kernels.joined(kernels.of(self.conv_last), kernels.of(self.conv_residual_last)))
        config = PlainConfig(self.config.scale, self.config.blocks, self.config.width)
        return kernels.fill(Plain(config), layers)

    @torch.no_grad()
    def _reset(self) -> None:
        thin, scale = self.config.residual, self.config.scale
        wide = self.config.width - thin
        kernels.put(self.conv_residual_first, kernels.identity(3, thin))
        for carry, add in zip(self.residual_convs, self.add_residual_convs, strict=True):
            kernels.put(carry, kernels.identity(thin, thin))
            kernels.put(add, kernels.zeros(thin, wide).weight)
        kernels.put(self.conv_residual_last, kernels.repeat(thin, scale * scale))


def _infer(state: State) -> Config | None:
    keys = ("conv_first.weight", "conv_residual_first.weight", "conv_last.weight", "add_residual_convs.0.weight")
    if not all(key in state for key in keys):
        return None
    scale = scale_of(state["conv_last.weight"].shape[0])
    if scale is None:
        return None
    wide, thin = state["conv_first.weight"].shape[0], state["conv_residual_first.weight"].shape[0]
    return Config(scale, count(state, "backbone_convs.{}.weight"), wide + thin, thin)


ARCH = Architecture(
    name="etds",
    config=Config,
    build=ETDS,
    infer=_infer,
    sites=("backbone_convs.*", "residual_convs.*", "add_residual_convs.*"),
)
