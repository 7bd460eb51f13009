"""A plain chain of convolutions with ReLU or PReLU between them, and a pixel shuffle at the end.

This is what the other networks become (`sharpbit.reparam`), and what every engine runs well. The published converted
forms of ETDS, ECBSR and ABPN are such chains, and so are `Plain` and `ETDSOnlyET` of the same repository
(`core/archs/ir` of ECNUSR/ETDS).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.arch._plain_names import authors
from sharpbit.errors import UsageError
from sharpbit.nn import State, anchored, conv, count, response_to_grey
from sharpbit.reparam import kernels
from sharpbit.reparam.chain import ALIGNED, Chain

CLIPS = ("clamp", "relu", "none")
_ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda width: nn.ReLU(),
    "prelu": nn.PReLU,
    "none": lambda width: nn.Identity(),
}


class Layer(NamedTuple):
    """A convolution and what comes after it: `relu`, `prelu` or `none`."""

    outputs: int
    side: int = 3
    act: str = "relu"


@dataclass(frozen=True)
class Config:
    """Sizes of a plain chain.

    Attributes:
        scale: upscaling factor.
        blocks: convolutions between the first and the last.
        width: channels of every layer but the last.
        act: between the convolutions: `relu` or `prelu`.
        skip: whether the image, each channel repeated, is added before the pixel shuffle.
        clip: how the result is brought into `[0, 1]`: `clamp`, `none`, or `relu`, as the published converted forms do
            it: two ReLUs, with one more convolution (1x1) between them and a multiple of four channels.
        layers: all layers, where they are not as regular as `blocks` and `width` say.
    """

    scale: int
    blocks: int = 6
    width: int = 32
    act: str = "relu"
    skip: bool = False
    clip: str = "clamp"
    layers: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(Layer(*layer) for layer in self.layers))
        for act in (self.act, *(layer.act for layer in self.layers)):
            if act not in _ACTIVATIONS:
                raise UsageError(f"plain knows {', '.join(_ACTIVATIONS)} after a convolution, not {act!r}")
        if self.clip not in CLIPS:
            raise UsageError(f"plain can clip by {', '.join(CLIPS)}, not {self.clip!r}")

    @property
    def chain(self) -> tuple[Layer, ...]:
        """Every layer, from the first to the last."""
        if self.layers:
            return self.layers
        hidden = [Layer(self.width, 3, self.act)] * (self.blocks + 1)
        rows = 3 * self.scale**2
        if self.clip != "relu":
            return (*hidden, Layer(rows, 3, "none"))
        rows += -rows % ALIGNED
        return (*hidden, Layer(rows, 3, "relu"), Layer(rows, 1, "relu"))

    @classmethod
    def of(cls, scale: int, layers: tuple[Layer, ...], *, skip: bool = False, clip: str = "none") -> Config:
        """The shortest config with these layers."""
        first = layers[0]
        regular = [cls(scale, len(layers) - 2, first.outputs, first.act, skip, clip)]
        if clip == "none":
            regular.append(cls(scale, len(layers) - 3, first.outputs, first.act, skip, "relu"))
        for config in regular:
            if config.blocks >= 0 and config.chain == layers:
                return config
        return cls(scale, max(len(layers) - 2, 0), first.outputs, first.act, skip, clip, layers)


class Plain(nn.Module):
    """The chain. Rows of the last convolution beyond `3 * scale**2` are dropped."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        chain = (Layer(3), *config.chain)
        self.layers = nn.ModuleList(conv(a.outputs, b.outputs, b.side) for a, b in pairwise(chain))
        self.acts = nn.ModuleList(_ACTIVATIONS[layer.act](layer.outputs) for layer in config.chain)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`."""
        scale, rows = self.config.scale, 3 * self.config.scale**2
        y = x
        for layer, act in zip(self.layers, self.acts, strict=True):
            y = act(layer(y))
        if self.config.chain[-1].outputs > rows:
            y = y[:, :rows]
        if self.config.skip:
            y = anchored(y, x, scale)
        if self.config.clip == "clamp":
            y = torch.clamp(y, 0.0, 1.0)
        return F.pixel_shuffle(y, scale)


@torch.no_grad()
def of_chain(chain: Chain) -> Plain:
    """The network of a chain of kernels."""
    layers = []
    for stage in chain.stages:
        act = "relu" if not stage.slope.any() else "none" if bool((stage.slope == 1).all()) else "prelu"
        layers.append(Layer(len(stage.kernel.bias), stage.kernel.side, act))
    clip = "clamp" if chain.clamp else "none"
    net = Plain(Config.of(chain.scale, tuple(layers), skip=chain.skip, clip=clip))
    kernels.fill(net, [stage.kernel for stage in chain.stages])
    for activation, stage in zip(net.acts, chain.stages, strict=True):
        if isinstance(activation, nn.PReLU):
            activation.weight.copy_(stage.slope)
    return net


def _published(state: State) -> list[str]:
    """The names of the convolutions of a published chain, in order; none if it is something else."""
    if "conv_first.weight" in state and "conv_residual_first.weight" not in state:
        inner = [f"backbone_convs.{k}" for k in range(count(state, "backbone_convs.{}.weight"))]
        names = ["conv_first", *inner, "conv_last", *(["conv_clip"] if "conv_clip.weight" in state else [])]
        return names if all(f"{name}.{kind}" in state for name in names for kind in ("weight", "bias")) else []
    names = [key.removesuffix(".weight") for key in state if key.endswith(".weight") and state[key].dim() == 4]
    if not names or not all(re.fullmatch(r"backbone\.\d+(\.0)?", name) for name in names):
        return []
    names.sort(key=lambda name: int(name.split(".")[1]))
    clip = state[f"{names[-1]}.weight"]
    return names if clip.shape[2:] == (1, 1) and clip.shape[0] == clip.shape[1] else []


def _rename(state: State) -> State:
    """Published names to ours: the convolutions in order, and the PReLU that is the sibling of one."""
    names = _published(state)
    if not names:
        return state
    ours = {}
    for k, name in enumerate(names):
        ours[f"layers.{k}.weight"], ours[f"layers.{k}.bias"] = state[f"{name}.weight"], state[f"{name}.bias"]
        slope = f"{name.removesuffix('.0')}.1.weight"
        if name.endswith(".0") and slope in state and state[slope].dim() == 1:
            ours[f"acts.{k}.weight"] = state[slope]
    return ours if len(ours) == len(state) else state


def _infer(state: State) -> Config | None:
    published = bool(_published(state))
    ours = _rename(state)
    depth = count(ours, "layers.{}.weight")
    if depth < 2 or any(ours[f"layers.{k}.weight"].dim() != 4 for k in range(depth)):
        return None
    shapes = [tuple(ours[f"layers.{k}.weight"].shape) for k in range(depth)]
    rows = shapes[-1][0]
    scale = next((s for s in range(16, 0, -1) if 0 <= rows - 3 * s * s < ALIGNED), None)
    if scale is None:
        return None
    clip = shapes[-1][0] == shapes[-1][1] and shapes[-1][2] == 1
    acts = ["prelu" if f"acts.{k}.weight" in ours else "relu" for k in range(depth)]
    acts[-1] = "relu" if clip else "none"
    layers = tuple(Layer(shape[0], shape[2], act) for shape, act in zip(shapes, acts, strict=True))
    if clip:
        return Config.of(scale, layers)
    if not published:
        return Config.of(scale, layers, clip="clamp")
    return Config.of(scale, layers, skip=_adds_the_image(Config.of(scale, layers), ours))


def _adds_the_image(config: Config, state: State) -> bool:
    """Whether these layers make only what must be added to the image: of flat grey they make nearly black, not grey.

    `Plain` and `ETDSOnlyET` have the same names and shapes, and differ in this alone.
    """
    net = Plain(config)
    try:
        net.load_state_dict(state)
    except RuntimeError:  # the caller will say so
        return False
    return response_to_grey(net, config.scale) < 0.25


ARCH = Architecture(
    name="plain",
    config=Config,
    build=Plain,
    infer=_infer,
    rename=_rename,
    authors=authors,
    sites=("layers.*",),
    small={"blocks": 3, "width": 20},
)
