"""Compact: a chain of 3x3 convolutions with PReLU, to whose result the image is added, upscaled by nearest neighbours.

Source: `SRVGGNetCompact` of "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", Wang et
al., ICCV Workshops 2021 (`realesrgan/archs/srvgg_arch.py` of xinntao/Real-ESRGAN), whose names of tensors
these are. `realesr-general-x4v3` and `realesr-animevideov3` are such networks, and many that their users trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.errors import UsageError
from sharpbit.nn import State, anchored, conv3, scale_of

ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "prelu": nn.PReLU,
    "relu": lambda width: nn.ReLU(),
    "leakyrelu": lambda width: nn.LeakyReLU(0.1),
}


@dataclass(frozen=True)
class Config:
    """Sizes of a Compact network.

    Attributes:
        scale: Upscaling factor.
        blocks: Number of convolutions between the first and the last.
        width: Channels of every layer but the last.
        act: Activation between the convolutions: `prelu`, `relu` or `leakyrelu`, which weights do not tell from `relu`.
    """

    scale: int
    blocks: int = 16
    width: int = 64
    act: str = "prelu"

    def __post_init__(self) -> None:
        if self.act not in ACTIVATIONS:
            raise UsageError(f"compact knows the activations {', '.join(ACTIVATIONS)}, not {self.act!r}")


class Compact(nn.Module):
    """The chain: convolutions with even numbers, what follows them with odd ones."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.body = nn.ModuleList()
        for inputs in (3, *[width] * config.blocks):
            self.body.extend((conv3(inputs, width), ACTIVATIONS[config.act](width)))
        self.body.append(conv3(width, 3 * config.scale**2))

    @property
    def receptive_field(self) -> int:
        """The side in input pixels of what an output pixel sees: one pixel more around it for each convolution."""
        return 2 * (self.config.blocks + 2) + 1

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        y = x
        for layer in self.body:
            y = layer(y)
        return F.pixel_shuffle(anchored(y, x, self.config.scale), self.config.scale)


def _infer(state: State) -> Config | None:
    """The sizes; None where a tensor is missing, or there is one more."""
    numbers = {int(name[1]) for name in (key.split(".") for key in state) if name[0] == "body" and name[1].isdecimal()}
    if not numbers or "body.0.weight" not in state or state["body.0.weight"].shape[1:] != (3, 3, 3):
        return None
    last, width = max(numbers), len(state["body.0.weight"])
    scale = scale_of(len(state[f"body.{last}.weight"]))
    if last % 2 or last < 2 or scale is None:
        return None
    act = "prelu" if "body.1.weight" in state else "relu"
    config = Config(scale, last // 2 - 1, width, act)
    return config if set(ARCH.weightless(config).state_dict()) == set(state) else None


ARCH = Architecture(
    name="compact",
    config=Config,
    build=Compact,
    infer=_infer,
    sites=("body.*",),
    small={"blocks": 3, "width": 8},
)
