"""ETDS: a backbone for detail beside a three-channel stream that carries the image.

Of the published ablations, `normal_loss` is this network trained otherwise, `only_residual` is it without `add`,
`advance_residual` is it with `advanced`, and `only_ET` is the network `plain` with `skip`.

Source: "Equivalent Transformation and Dual Stream Network Construction for Mobile Image Super-Resolution",
Chao et al., CVPR 2023; `core/archs/ir/ETDS/arch.py` of ECNUSR/ETDS.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.nn import State, conv3, count, scale_of
from sharpbit.reparam import kernels


@dataclass(frozen=True)
class Config:
    """Sizes of an ETDS.

    Attributes:
        scale: upscaling factor.
        blocks: layers of the backbone between the first and the last.
        width: channels after conversion, backbone and residual stream together (32 in the published `M6C32`).
        residual: channels of the residual stream.
        add: whether the residual stream is added to the backbone in every layer.
        advanced: whether the backbone is added to the residual stream in every layer.
    """

    scale: int
    blocks: int = 6
    width: int = 32
    residual: int = 3
    add: bool = True
    advanced: bool = False


class ETDS(nn.Module):
    """The dual-stream training form. `forward` gives the image, `streams` also the low-frequency part alone.

    At the start the residual stream is nearest-neighbour upsampling and adds nothing to the backbone.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        wide, thin, out, blocks = config.width - config.residual, config.residual, 3 * config.scale**2, config.blocks
        self.conv_first = conv3(3, wide)
        self.conv_residual_first = conv3(3, thin)
        self.backbone_convs = nn.ModuleList(conv3(wide, wide) for _ in range(blocks))
        self.residual_convs = nn.ModuleList(conv3(thin, thin) for _ in range(blocks))
        self.add_residual_convs = nn.ModuleList(conv3(thin, wide) for _ in range(blocks if config.add else 0))
        self.advanced_residual_convs = nn.ModuleList(conv3(wide, thin) for _ in range(blocks if config.advanced else 0))
        self.conv_last = conv3(wide, out)
        self.conv_residual_last = conv3(thin, out)
        self._reset()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        return self.streams(x)[0]

    def streams(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image, and the part of it that the residual stream alone makes (supervised by the paper's loss)."""
        wide, thin = F.relu(self.conv_first(x)), F.relu(self.conv_residual_first(x))
        for k, (backbone, carry) in enumerate(zip(self.backbone_convs, self.residual_convs, strict=True)):
            to_wide, to_thin = backbone(wide), carry(thin)
            if self.config.add:
                to_wide = to_wide + self.add_residual_convs[k](thin)
            if self.config.advanced:
                to_thin = to_thin + self.advanced_residual_convs[k](wide)
            wide, thin = F.relu(to_wide), F.relu(to_thin)
        low = self.conv_residual_last(thin)
        high = self.conv_last(wide)
        scale = self.config.scale
        return F.pixel_shuffle(high + low, scale), F.pixel_shuffle(low, scale)

    def _reset(self) -> None:
        thin, scale = self.config.residual, self.config.scale
        wide = self.config.width - thin
        kernels.put(self.conv_residual_first, kernels.identity(3, thin))
        for carry in self.residual_convs:
            kernels.put(carry, kernels.identity(thin, thin))
        for add in self.add_residual_convs:
            kernels.put(add, kernels.zeros(thin, wide).weight)
        for add in self.advanced_residual_convs:
            kernels.put(add, kernels.zeros(wide, thin).weight)
        kernels.put(self.conv_residual_last, kernels.repeat(thin, scale * scale, 3))


def _infer(state: State) -> Config | None:
    keys = ("conv_first.weight", "conv_residual_first.weight", "conv_last.weight", "conv_residual_last.weight")
    if not all(key in state for key in keys):
        return None
    scale = scale_of(state["conv_last.weight"].shape[0])
    if scale is None:
        return None
    wide, thin = state["conv_first.weight"].shape[0], state["conv_residual_first.weight"].shape[0]
    blocks, add, advanced = (
        count(state, key + ".{}.weight") for key in ("backbone_convs", "add_residual_convs", "advanced_residual_convs")
    )
    return Config(scale, blocks, wide + thin, thin, add=add > 0 or blocks == 0, advanced=advanced > 0)


ARCH = Architecture(
    name="etds",
    config=Config,
    build=ETDS,
    infer=_infer,
    sites=("backbone_convs.*", "residual_convs.*", "add_residual_convs.*"),
    small={"blocks": 3, "width": 20},
    frozen_first=("*residual*",),  # as published: the image is carried unchanged until the backbone has begun to learn
)
