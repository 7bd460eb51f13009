"""SPAN: blocks whose result is gated by itself, an attention without parameters.

Source: "Swift Parameter-free Attention Network for Efficient Super-Resolution", Wan et al., CVPR Workshops 2024;
`basicsr/archs/span_arch.py` of hongyuanyu/SPAN, whose names of tensors `rename` knows. There each convolution is
trained as three in a row beside a 1x1 convolution; here it is the one that these become.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.errors import UsageError
from sharpbit.nn import Rounding, Site, State, conv, conv3, count, mean_buffer, renamed, scale_of
from sharpbit.reparam import kernels
from sharpbit.reparam.kernels import Kernel


@dataclass(frozen=True)
class Config:
    """Sizes of a SPAN.

    Attributes:
        scale: Upscaling factor.
        blocks: Number of blocks, two at least.
        width: Channels.
    """

    scale: int
    blocks: int = 6
    width: int = 48

    def __post_init__(self) -> None:
        if self.blocks < 2:
            raise UsageError(f"a span has two blocks at least, not {self.blocks}")


class Block(nn.Module):
    """Three convolutions with SiLU between them; their result plus the input, times the gate that the result makes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (conv3(width, width) for _ in range(3))
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        return self.both(x)[0]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The result, and what the first convolution and its SiLU gave."""
        first = self.act(self.conv1(x))
        y = self.conv3(self.act(self.conv2(first)))
        return (y + x) * (torch.sigmoid(y) - 0.5), first


class SPAN(nn.Module):
    """The blocks between one convolution in and one after them; the features of four places are joined, and shuffled.

    Inside, values go from 0 to 255, less the mean colour `mean`.
    """

    mean: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("mean", mean_buffer(), persistent=False)
        self.entry = conv3(3, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(config.blocks - 1))
        self.last = Block(width)
        self.after = conv3(width, width)
        self.join = conv(4 * width, width, 1)
        self.tail = conv3(width, 3 * config.scale**2)
        self.output = Site()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        kept = [self.entry((x - self.mean) * 255)]
        for block in self.blocks:
            kept.append(block(kept[-1]))
        y, first = self.last.both(kept[-1])
        y = self.join(torch.cat([kept[0], self.after(y), kept[1], first], 1))
        result: Tensor = self.output(F.pixel_shuffle(self.tail(y), self.config.scale))
        return result


def _rename(state: State) -> State:
    if "block_1.c1_r.eval_conv.weight" not in state:
        return state
    state = _fused(state)
    blocks = next(k for k in range(1, len(state)) if f"block_{k + 1}.c1_r.eval_conv.weight" not in state)
    layers = {rf"block_{k + 1}\.c{i}_r\.eval_conv": f"blocks.{k}.conv{i}" for k in range(blocks - 1) for i in (1, 2, 3)}
    layers |= {rf"block_{blocks}\.c{i}_r\.eval_conv": f"last.conv{i}" for i in (1, 2, 3)}
    ends = {r"conv_1\.eval_conv": "entry", r"conv_2\.eval_conv": "after", r"conv_cat": "join", r"upsampler\.0": "tail"}
    return renamed(state, {**layers, **ends})


def _fused(state: State) -> State:
    """Published weights with each convolution in the one form that runs; the stored one may be older than the branches.

    The branches pad the image and not what the first 1x1 convolution makes of it, so the fused form is exact.
    """
    ours = {key: value for key, value in state.items() if ".conv." not in key and ".sk." not in key}
    for name in [key.removesuffix(".sk.weight") for key in state if key.endswith(".sk.weight")]:
        one, two, three, beside = (
            Kernel(state[f"{name}.{part}.weight"].double(), state[f"{name}.{part}.bias"].double())
            for part in ("conv.0", "conv.1", "conv.2", "sk")
        )
        fused = kernels.parallel(kernels.sequence(kernels.sequence(one, two), three), beside)
        ours[f"{name}.eval_conv.weight"], ours[f"{name}.eval_conv.bias"] = fused.weight.float(), fused.bias.float()
    return ours


def _infer(state: State) -> Config | None:
    ours = _rename(state)
    if not {"entry.weight", "last.conv3.weight", "join.weight", "tail.weight"} <= set(ours):
        return None
    scale = scale_of(len(ours["tail.weight"]))
    return (
        None if scale is None else Config(scale, 1 + count(ours, "blocks.{}.conv3.weight"), len(ours["entry.weight"]))
    )


ARCH = Architecture(
    name="span",
    config=Config,
    build=SPAN,
    infer=_infer,
    rename=_rename,
    rounding=Rounding(ends=("entry", "output"), maps=("*",)),
    small={"blocks": 4, "width": 8},
    exceptions={"plain form": "mean"},
)
