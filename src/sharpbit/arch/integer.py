"""A chain in integers as a network: what `sharpbit.modelfile.integer_chain` computes, exactly, as quantizing makes it.

Weights are bytes and have no gradient; the float network that a chain was made from is what is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.errors import UsageError
from sharpbit.modelfile.integer_chain import IntegerChain, Slopes
from sharpbit.modelfile.integer_chain import Layer as IntegerLayer
from sharpbit.nn import State, byte_layer, count, scale_of

SLOPES, IMAGE = "slopes", "image"


@dataclass(frozen=True)
class Config:
    """Sizes of a chain in integers.

    Attributes:
        scale: upscaling factor.
        hidden: channels of every layer but the last.
        more: what the chain has besides: `slopes`, and `image` where the image is added at the end.
    """

    scale: int
    hidden: tuple[int, ...] = (32,) * 7
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "more", tuple(self.more))
        if self.more not in ((), (SLOPES,), (SLOPES, IMAGE)):
            raise UsageError(
                f"an integer chain has {SLOPES!r}, or {SLOPES!r} and {IMAGE!r}, besides, not {self.more!r}"
            )


class Layer(nn.Module):
    """One layer, `(N, C, H, W)` whole numbers from 0 to 255 in and out; at the start it copies the first channels."""

    weight: Tensor
    bias: Tensor
    multiplier: Tensor
    negative: Tensor | None
    zero: Tensor | None

    def __init__(self, inputs: int, outputs: int, *, sloped: bool = False) -> None:
        super().__init__()
        weight = torch.zeros(outputs, inputs, 3, 3, dtype=torch.int8)
        for row in range(min(inputs, outputs)):
            weight[row, row, 1, 1] = 1
        self.register_buffer("weight", weight)
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.int32))
        self.register_buffer("multiplier", torch.ones(outputs))
        self.register_buffer("negative", torch.ones(outputs) if sloped else None)
        self.register_buffer("zero", torch.zeros(outputs, dtype=torch.uint8) if sloped else None)

    def forward(self, x: Tensor, around: Tensor | None = None, image: Tensor | None = None) -> Tensor:
        """See `sharpbit.nn.byte_layer`; `image` `(N, outputs, H, W)` is added in place of the zero points."""
        zero = self.zero if image is None else image
        return byte_layer(x, self.weight, self.bias, self.multiplier, negative=self.negative, zero=zero, around=around)


_KINDS = {"weight": torch.int8, "bias": torch.int32, "multiplier": torch.float32}
_SLOPE_KINDS = {"negative": torch.float32, "zero": torch.uint8}


class Integer(nn.Module):
    """The chain. The image is rounded to bytes first."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = (3, *config.hidden, 3 * config.scale**2)
        sloped = SLOPES in config.more
        self.layers = nn.ModuleList(Layer(inputs, outputs, sloped=sloped) for inputs, outputs in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, in `[0, 1]`."""
        image = y = torch.round(x * 255).clamp(0, 255)
        around: Tensor | None = None
        *inner, last = self.layers
        for layer in inner:
            assert isinstance(layer, Layer)
            y, around = layer(y, around), layer.zero
        added = IMAGE in self.config.more
        y = last(y, around, image.repeat_interleave(self.config.scale**2, 1) if added else None)
        return F.pixel_shuffle(y.to(x.dtype) / 255, self.config.scale)


def of_chain(chain: IntegerChain) -> Integer:
    """The network of a chain."""
    more = (SLOPES, IMAGE)[: chain.sloped + chain.adds_image]
    net = Integer(Config(chain.scale, tuple(layer.outputs for layer in chain.layers[:-1]), more))
    for own, layer in zip(net.layers, chain.layers, strict=True):
        state = {key: getattr(layer, key) for key in _KINDS}
        state |= {key: getattr(layer.slopes, key) for key in _SLOPE_KINDS if layer.slopes is not None}
        own.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in state.items()})
    return net


def chain_of(net: nn.Module) -> IntegerChain:
    """The chain of a network.

    Raises:
        ModelError: its numbers are none that every engine can run exactly.
    """
    assert isinstance(net, Integer)
    layers = []
    for layer in net.layers:
        kinds = _KINDS | (_SLOPE_KINDS if layer.zero is not None else {})
        state = {key: getattr(layer, key).cpu().to(kind).numpy() for key, kind in kinds.items()}
        slopes = Slopes(*(state.pop(key) for key in _SLOPE_KINDS)) if layer.zero is not None else None
        layers.append(IntegerLayer(**state, slopes=slopes))
    return IntegerChain(tuple(layers), net.config.scale, IMAGE in net.config.more)


def _infer(state: State) -> Config | None:
    depth = count(state, "layers.{}.multiplier")
    if depth == 0 or "layers.0.zero" in state:  # whether the image is added to slopes, headers tell alone
        return None
    widths = [len(state[f"layers.{k}.multiplier"]) for k in range(depth)]
    scale = scale_of(widths[-1])
    return None if scale is None else Config(scale, tuple(widths[:-1]))


ARCH = Architecture(
    name="integer",
    config=Config,
    build=Integer,
    infer=_infer,
    sites=("layers.*",),
    small={"hidden": (20, 12)},
    exceptions={"plain form": "round", "quantization": "it is quantized already"},
)
