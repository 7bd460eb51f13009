"""FSRCNN: a shrinking, mapping and expanding chain with PReLU, and a transposed convolution, for colour images.

Source: "Accelerating the Super-Resolution Convolutional Neural Network", Dong et al., ECCV 2016, with d = 56, s = 12
and m = 4; `core/archs/ir/FSRCNN/arch.py` of ECNUSR/ETDS, whose names of tensors these are.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sharpbit.arch import Architecture
from sharpbit.nn import State, conv, count, response_to_grey

SIDE = 9  # of the transposed convolution


@dataclass(frozen=True)
class Config:
    """Sizes of an FSRCNN.

    Attributes:
        scale: upscaling factor.
        width: channels of the first layer and of the last (d).
        shrunk: channels of the layers between (s).
        blocks: 3x3 convolutions between (m).
    """

    scale: int
    width: int = 56
    shrunk: int = 12
    blocks: int = 4


class FSRCNN(nn.Module):
    """The chain; the output is not clamped."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        wide, thin, scale = config.width, config.shrunk, config.scale
        self.first_part = nn.Sequential(conv(3, wide, 5), nn.PReLU(wide))
        sizes = [(wide, thin, 1), *[(thin, thin, 3)] * config.blocks, (thin, wide, 1)]
        self.mid_part = nn.Sequential(*(layer for a, b, side in sizes for layer in (conv(a, b, side), nn.PReLU(b))))
        self.last_part = nn.ConvTranspose2d(wide, 3, SIDE, scale, SIDE // 2, scale - 1)
        self._reset()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        y: Tensor = self.last_part(self.mid_part(self.first_part(x)))
        return y

    def _reset(self) -> None:
        for layer in (*self.first_part, *self.mid_part):
            if isinstance(layer, nn.Conv2d):
                assert layer.bias is not None
                nn.init.normal_(layer.weight, 0.0, (2 / (layer.out_channels * layer.weight[0, 0].numel())) ** 0.5)
                nn.init.zeros_(layer.bias)
        assert self.last_part.bias is not None
        nn.init.normal_(self.last_part.weight, 0.0, 0.001)
        nn.init.zeros_(self.last_part.bias)


def _infer(state: State) -> Config | None:
    depth = count(state, "mid_part.{}.weight")
    if depth < 4 or "first_part.1.weight" not in state or "last_part.weight" not in state:
        return None
    wide, thin = state["first_part.1.weight"].shape[0], state["mid_part.0.weight"].shape[0]
    return Config(_scale(state, wide, thin, depth // 2 - 2), wide, thin, depth // 2 - 2)


def _scale(state: State, wide: int, thin: int, blocks: int) -> int:
    """The scale, which no shape tells: with another stride the last layer would make grey darker or lighter."""
    off = {}
    for scale in (2, 3, 4):
        net = FSRCNN(Config(scale, wide, thin, blocks))
        try:
            net.load_state_dict(state)
        except RuntimeError:  # the caller will say so
            return scale
        off[scale] = abs(response_to_grey(net, scale) - 0.5)
    return min(off, key=off.__getitem__)


ARCH = Architecture(
    name="fsrcnn",
    config=Config,
    build=FSRCNN,
    infer=_infer,
    sites=("mid_part.*",),
    small={"blocks": 3, "width": 20},
    exceptions={"sizes from weights": "the scale, which is told by trained weights alone"},
)
