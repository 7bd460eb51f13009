"""EDSR: residual blocks without normalization; the small form, "baseline", is the one of the quantization papers.

Source: "Enhanced Deep Residual Networks for Single Image Super-Resolution", Lim et al., CVPR Workshops 2017;
`model/edsr.py` of Cheeun/CADyQ and `model/edsr_org.py` of colorjam/PAMS, whose names of tensors `rename` knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture, Aware, Quantized, Rounded
from sharpbit.nn import Site, State, conv3, count, factors, mean_buffer, renamed, scale_by, with_mean


@dataclass(frozen=True)
class Config:
    """Sizes of an EDSR; the defaults are EDSR-baseline.

    Attributes:
        scale: upscaling factor: 2, 3, 4 or 8.
        blocks: residual blocks.
        width: channels.
        res_scale: what the result of a block is multiplied by before the shortcut is added; 0.1 in the published large
            form (32 blocks of 256 channels). Weights do not tell; read without a header it is taken for 1.
    """

    scale: int
    blocks: int = 16
    width: int = 64
    res_scale: float = 1.0


class Block(nn.Module):
    """Two convolutions with a ReLU between them, and the shortcut.

    Sites: `input` feeds the convolutions and the shortcut, `skip` the shortcut alone, `output` is what is added to it.
    """

    def __init__(self, width: int, res_scale: float = 1.0) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.input, self.skip, self.output = Site(), Site(), Site()
        self.conv1, self.conv2 = conv3(width, width), conv3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        x = self.input(x)
        y: Tensor = self.conv2(F.relu(self.conv1(x)))
        if self.res_scale != 1:
            y = y * self.res_scale
        result: Tensor = self.output(y) + self.skip(x)
        return result


class EDSR(nn.Module):
    """The blocks between one convolution in and one out, around them a shortcut, then pixel shuffles.

    Inside, values go from 0 to 255, less the mean colour `mean`. The site `feature` is what the pixel shuffles get.
    """

    mean: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("mean", mean_buffer())
        self.head = conv3(3, width)
        self.blocks = nn.Sequential(*(Block(width, config.res_scale) for _ in range(config.blocks)))
        self.fuse = conv3(width, width)
        self.feature = Site()
        stages = ((conv3(width, width * k * k), nn.PixelShuffle(k)) for k in factors(config.scale))
        self.upsample = nn.Sequential(*chain(*stages))
        self.tail = conv3(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        x = self.head((x - self.mean) * 255)
        x = self.feature(self.fuse(self.blocks(x)) + x)
        y: Tensor = self.tail(self.upsample(x)) / 255 + self.mean
        return y


def _rename(state: State) -> State:
    if "body.0.body.0.weight" not in state:
        return state
    rules = {
        r"head\.0": "head",
        r"body\.(\d+)\.body\.0": r"blocks.\1.conv1",
        r"body\.(\d+)\.body\.2": r"blocks.\1.conv2",
        r"body\.\d+": "fuse",
        r"tail\.0": "upsample",
        r"tail\.1": "tail",
    }
    return renamed(with_mean(state), rules)


def _infer(state: State) -> Config | None:
    ours = _rename(state)
    first, blocks = ours.get("blocks.0.conv1.bias"), count(ours, "blocks.{}.conv2.weight")
    if first is None or "fuse.weight" not in ours or "fuse_bn.weight" in ours:
        return None
    width = len(first)
    return Config(scale_by(ours, "upsample.{}.weight", 2, width), blocks, width)


_CONVS = (Rounded("blocks.*.conv1", act="float"), Rounded("blocks.*.conv2"))
_OUTPUT = Rounded("blocks.*.output", act="fixed", weight=False)
ARCH = Architecture(
    name="edsr",
    config=Config,
    build=EDSR,
    infer=_infer,
    rename=_rename,
    sites=("blocks.*.conv1", "blocks.*.conv2"),
    aware=Aware(
        # the site before the first convolution, or nothing, rounds what that takes
        sites=(Rounded("blocks.*.input", weight=False, share=1), *_CONVS, _OUTPUT),
        legacy=(Rounded("blocks.*.skip", weight=False, share=1), *_CONVS, _OUTPUT),
    ),
    quantized=Quantized(
        mark=r"body\.0\.body\.3\.weight$",
        names={
            r"body\.(\d+)\.body\.3\.": r"body.\1.body.2.",
            r"body\.(\d+)\.(?:quant_act1|bitsel1)\.": r"blocks.\1.{first}.act.",
            r"body\.(\d+)\.(?:quant_act2|body\.2)\.": r"blocks.\1.conv2.act.",
            r"body\.(\d+)\.quant_act3\.": r"blocks.\1.output.act.",
        },
        legacy=("ddtb",),
        legacy_unnamed=("pams",),
    ),
    small={"blocks": 2, "width": 8},
    exceptions={"plain form": "mean"},
)
