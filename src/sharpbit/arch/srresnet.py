"""SRResNet: residual blocks with batch normalization and PReLU, in the two forms in which quantization papers use it.

Source: "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", Ledig et al., CVPR 2017;
`model/srresnet.py` of Cheeun/CADyQ and `model/bnsrresnet_org.py` of zysxmu/DDTB, whose names of tensors `rename` knows.
Neither has a form for x3; here it has one pixel shuffle by 3, as in EDSR.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor, nn

from sharpbit.arch import Architecture, Aware, Counting, Quantized, Refinable, Rounded, Term
from sharpbit.nn import Site, State, conv, count, factors, renamed, scale_by


@dataclass(frozen=True)
class Config:
    """Sizes of an SRResNet.

    Attributes:
        scale: upscaling factor: 2, 3, 4 or 8.
        blocks: residual blocks.
        width: channels.
        shared: whether head and blocks share one PReLU (CADyQ), or each has its own (DDTB).
        bias: whether the convolutions of the blocks have biases; those of CADyQ's quantized networks have.
    """

    scale: int
    blocks: int = 16
    width: int = 64
    shared: bool = False
    bias: bool = False


class Block(nn.Module):
    """Convolution, normalization, PReLU, convolution, normalization, and the shortcut.

    Sites: `input` feeds the convolutions and the shortcut, `skip` the shortcut alone, `output` is what the second
    convolution gives.
    """

    def __init__(self, width: int, act: nn.PReLU, bias: bool) -> None:
        super().__init__()
        self.input, self.skip, self.output = Site(), Site(), Site()
        self.conv1, self.conv2 = (conv(width, width, 3, bias=bias) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        x = self.input(x)
        y = self.act(self.bn1(self.conv1(x)))
        z: Tensor = self.bn2(self.output(self.conv2(y))) + self.skip(x)
        return z


class SRResNet(nn.Module):
    """The blocks between one convolution in and one out, around them a shortcut, then pixel shuffles.

    Inside, values go from 0 to 255. The site `feature` is what the pixel shuffles get. A shared PReLU stands once in
    the state dict, as `act`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, bias = config.width, config.bias
        self.head, self.act = conv(3, width, 9, bias=False), nn.PReLU()
        acts = (self.act if config.shared else nn.PReLU() for _ in range(config.blocks))
        self.blocks = nn.Sequential(*(Block(width, act, bias) for act in acts))
        self.fuse, self.fuse_bn = conv(width, width, 3, bias=False), nn.BatchNorm2d(width)
        self.feature = Site()
        stages = (
            (conv(width, width * k * k, 3, bias=False), nn.PixelShuffle(k), nn.PReLU()) for k in factors(config.scale)
        )
        self.upsample = nn.Sequential(*chain(*stages))
        self.tail = conv(width, 3, 9, bias=False)
        self._reset()
        self.register_state_dict_post_hook(_without_aliases)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_aliases)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        x = self.act(self.head(x * 255))
        x = self.feature(self.fuse_bn(self.fuse(self.blocks(x))) + x)
        y: Tensor = self.tail(self.upsample(x)) / 255
        return y

    def _reset(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, (2 / (layer.out_channels * layer.weight[0, 0].numel())) ** 0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def _aliases(net: nn.Module) -> set[str]:
    """The other names of the shared PReLU."""
    every, once = (dict(net.named_parameters(remove_duplicate=skip)) for skip in (False, True))
    return every.keys() - once.keys()


def _without_aliases(net: nn.Module, state: dict[str, Any], prefix: str, metadata: object) -> None:
    for name in _aliases(net):
        state.pop(prefix + name, None)


def _with_aliases(net: nn.Module, state: dict[str, Any], prefix: str, *rest: object) -> None:
    if prefix + "act.weight" in state:
        state.update({prefix + name: state[prefix + "act.weight"] for name in _aliases(net)})


def _rename(state: State) -> State:
    if "residual.0.conv1.weight" in state:
        rules = {
            r"conv_input\.": "head.",
            r"relu\.": "act.",
            r"residual\.(\d+)\.in(\d)\.": r"blocks.\1.bn\2.",
            r"residual\.(\d+)\.relu\.": r"blocks.\1.act.",
            r"residual\.": "blocks.",
            r"conv_mid\.": "fuse.",
            r"bn_mid\.": "fuse_bn.",
            r"upscale\.": "upsample.",
            r"conv_output\.": "tail.",
        }
        return renamed(state, rules)
    blocks = count(state, "body.{}.conv1.weight")
    if not blocks:
        return state
    rules = {
        r"head\.0\.": "head.",
        r"head\.1\.": "act.",
        rf"body\.{blocks}\.": "fuse.",
        rf"body\.{blocks + 1}\.": "fuse_bn.",
        r"body\.": "blocks.",
        r"tail\.0\.": "upsample.",
        r"tail\.1\.": "tail.",
    }
    unused = ("sub_mean.", "add_mean.")  # CADyQ makes these layers and never calls them
    shared = [f"body.{k}.act.weight" for k in range(blocks)]
    return renamed({k: v for k, v in state.items() if not k.startswith(unused) and k not in shared}, rules)


def _infer(state: State) -> Config | None:
    ours = _rename(state)
    first, blocks = ours.get("blocks.0.conv1.weight"), count(ours, "blocks.{}.conv2.weight")
    if first is None or "fuse_bn.weight" not in ours:
        return None
    width = len(first)
    scale = scale_by(ours, "upsample.{}.weight", 3, width)
    shared, bias = "blocks.0.act.weight" not in ours, "blocks.0.conv1.bias" in ours
    return Config(scale, blocks, width, shared=shared, bias=bias)


ARCH = Architecture(
    name="srresnet",
    config=Config,
    build=SRResNet,
    infer=_infer,
    rename=_rename,
    sites=("blocks.*.conv1", "blocks.*.conv2"),
    aware=Aware(
        sites=(Rounded("blocks.*.conv1"), Rounded("blocks.*.conv2")),
        legacy=(
            Rounded("blocks.*.skip", weight=False, share=1),
            Rounded("blocks.*.conv1", act="float"),
            Rounded("blocks.*.conv2"),
        ),
    ),
    refinable=Refinable(("blocks.*",)),
    counting=Counting((Term("blocks.*.conv?"),), ("blocks.*.conv?",)),
    quantized=Quantized(
        mark=r"(body|residual)\.0\.conv1\.weight$",
        names={
            r"(?:body|residual)\.(\d+)\.(?:quant_act|classify|act)1\.": r"blocks.\1.{first}.act.",
            r"(?:body|residual)\.(\d+)\.(?:quant_act|classify|act)2\.": r"blocks.\1.conv2.act.",
        },
        legacy=("pams", "cadyq"),
    ),
    small={"blocks": 2, "width": 8},
    exceptions={"plain form": "pixel shuffle"},
)
