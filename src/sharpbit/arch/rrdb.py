"""RRDBNet: dense blocks within blocks, upscaled by nearest neighbours and convolutions; for quality, not for speed.

Source: "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", Wang et al., ECCV Workshops 2018. Names of
tensors are those of Real-ESRGAN (`basicsr/archs/rrdbnet_arch.py` of XPixelGroup/BasicSR), where x2 and x1 look at an
image whose pixels were unshuffled; the older ones of xinntao/ESRGAN (`RRDB_trunk`, `model.1.sub`) are known as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.errors import UsageError
from sharpbit.nn import State, conv3, count, factors

SLOPE = 0.2
SHARE = 0.2  # of what a block adds
DENSE = 5  # convolutions of a dense block
_UP = re.compile(r"^conv_up(\d+)\.weight$")


@dataclass(frozen=True)
class Config:
    """Sizes of an RRDBNet.

    Attributes:
        scale: Upscaling factor.
        blocks: Number of residual blocks of three dense blocks each.
        width: Channels between blocks.
        growth: Channels that each convolution of a dense block adds.
        unshuffle: The factor of the pixel unshuffle in front; 1 for none.
    """

    scale: int
    blocks: int = 23
    width: int = 64
    growth: int = 32
    unshuffle: int = 1

    def __post_init__(self) -> None:
        if self.unshuffle < 1:
            raise UsageError(f"pixels are unshuffled by at least 1, not {self.unshuffle}")


class Dense(nn.Module):
    """Five convolutions, each of which sees the results of all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for number in range(DENSE):
            outputs = growth if number < DENSE - 1 else width
            self.add_module(f"conv{number + 1}", conv3(width + number * growth, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        seen = [x]
        for number in range(1, DENSE):
            conv = self.get_submodule(f"conv{number}")
            seen.append(F.leaky_relu(conv(torch.cat(seen, 1)), SLOPE))
        last: Tensor = self.get_submodule(f"conv{DENSE}")(torch.cat(seen, 1))
        return last * SHARE + x


class Block(nn.Module):
    """Three dense blocks."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        y: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return y * SHARE + x


class RRDBNet(nn.Module):
    """The network."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.steps = factors(config.scale * config.unshuffle) if config.scale * config.unshuffle > 1 else ()
        self.conv_first = conv3(3 * config.unshuffle**2, width)
        self.body = nn.Sequential(*(Block(width, config.growth) for _ in range(config.blocks)))
        self.conv_body = conv3(width, width)
        for number in range(len(self.steps)):
            self.add_module(f"conv_up{number + 1}", conv3(width, width))
        self.conv_hr, self.conv_last = conv3(width, width), conv3(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        height, width = x.shape[-2:]
        if (by := self.config.unshuffle) > 1:
            x = F.pixel_unshuffle(F.pad(x, (0, -width % by, 0, -height % by), mode="replicate"), by)
        y = self.conv_first(x)
        y = y + self.conv_body(self.body(y))
        for number, step in enumerate(self.steps):
            conv = self.get_submodule(f"conv_up{number + 1}")
            y = F.leaky_relu(conv(F.interpolate(y, scale_factor=step, mode="nearest")), SLOPE)
        y = self.conv_last(F.leaky_relu(self.conv_hr(y), SLOPE))
        out: Tensor = y if by == 1 else y[:, :, : height * self.config.scale, : width * self.config.scale]
        return out


def rename(state: State) -> State:
    """Older published names to those of Real-ESRGAN."""
    if "RRDB_trunk.0.RDB1.conv1.weight" in state:
        rules = {
            "RRDB_trunk.": "body.",
            "trunk_conv.": "conv_body.",
            "upconv": "conv_up",
            "HRconv.": "conv_hr.",
            ".RDB": ".rdb",
        }
        return {_replaced(key, rules): value for key, value in state.items()}
    if "model.1.sub.0.RDB1.conv1.0.weight" not in state:
        return state
    blocks = count(state, "model.1.sub.{}.RDB1.conv1.0.weight")
    last = max(int(key.split(".")[1]) for key in state)
    ups = [number for number in range(2, last - 2) if f"model.{number}.weight" in state]
    rules = {
        f"model.1.sub.{blocks}.": "conv_body.",
        "model.1.sub.": "body.",
        "model.0.": "conv_first.",
        **{f"model.{number}.": f"conv_up{k + 1}." for k, number in enumerate(ups)},
        f"model.{last - 2}.": "conv_hr.",
        f"model.{last}.": "conv_last.",
        ".RDB": ".rdb",
    }
    return {re.sub(r"(rdb\d\.conv\d)\.0\.", r"\1.", _replaced(key, rules)): value for key, value in state.items()}


def _replaced(key: str, rules: dict[str, str]) -> str:
    for old, new in rules.items():
        if key.startswith(old) or (old.startswith(".") and old in key):
            key = key.replace(old, new, 1)
    return key


def _infer(state: State) -> Config | None:
    own = rename(state)
    if not {"conv_first.weight", "body.0.rdb1.conv1.weight", "conv_hr.weight", "conv_last.weight"} <= set(own):
        return None
    by = {3: 1, 12: 2, 48: 4}.get(own["conv_first.weight"].shape[1])
    ups = sum(_UP.match(key) is not None for key in own)
    if by is None or 2**ups % by:
        return None
    growth, width = own["body.0.rdb1.conv1.weight"].shape[:2]
    return Config(2**ups // by, count(own, "body.{}.rdb1.conv1.weight"), int(width), int(growth), by)


ARCH = Architecture(
    name="rrdb",
    config=Config,
    build=RRDBNet,
    infer=_infer,
    rename=rename,
    sites=("body.*",),
    small={"blocks": 1, "width": 8, "growth": 4},
    exceptions={
        "plain form": "conv_up1",
        "sizes from weights": "an upsampling by 3 has the weights of one by 2",
    },
)
