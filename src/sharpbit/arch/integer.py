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
from sharpbit.errors import ModelError
from sharpbit.modelfile.integer_chain import IntegerChain
from sharpbit.modelfile.integer_chain import Layer as IntegerLayer
from sharpbit.nn import State, byte_layer, count, scale_of


@dataclass(frozen=True)
class Config:
    """Sizes of a chain in integers.

    Attributes:
        scale: upscaling factor.
        hidden: channels of every layer but the last.
    """

    scale: int
    hidden: tuple[int, ...] = (32,) * 7

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))


class Layer(nn.Module):
    """One layer, `(N, C, H, W)` whole numbers from 0 to 255 in and out; at the start it copies the first channels."""

    weight: Tensor
    bias: Tensor
    multiplier: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        weight = torch.zeros(outputs, inputs, 3, 3, dtype=torch.int8)
        for row in range(min(inputs, outputs)):
            weight[row, row, 1, 1] = 1
        self.register_buffer("weight", weight)
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.int32))
        self.register_buffer("multiplier", torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """See `sharpbit.nn.byte_layer`."""
        return byte_layer(x, self.weight, self.bias, self.multiplier)


_KINDS = {"weight": torch.int8, "bias": torch.int32, "multiplier": torch.float32}


class Integer(nn.Module):
    """The chain. The image is rounded to bytes first."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = (3, *config.hidden, 3 * config.scale**2)
        self.layers = nn.ModuleList(Layer(inputs, outputs) for inputs, outputs in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, in `[0, 1]`."""
        y = torch.round(x * 255).clamp(0, 255)
        for layer in self.layers:
            y = layer(y)
        return F.pixel_shuffle(y.to(x.dtype) / 255, self.config.scale)


def of_chain(chain: IntegerChain) -> Integer:
    """The network of a chain.

    Raises:
        ModelError: the chain has slopes, which this network lacks.
    """
    if chain.sloped:
        raise ModelError("an integer chain with slopes runs on the native engine only; it is no network to work on")
    net = Integer(Config(chain.scale, tuple(layer.outputs for layer in chain.layers[:-1])))
    for own, layer in zip(net.layers, chain.layers, strict=True):
        own.load_state_dict({key: torch.from_numpy(getattr(layer, key).copy()) for key in _KINDS})
    return net


def chain_of(net: nn.Module) -> IntegerChain:
    """The chain of a network.

    Raises:
        ModelError: its numbers are none that every engine can run exactly.
    """
    assert isinstance(net, Integer)
    states = [layer.state_dict() for layer in net.layers]
    return IntegerChain(
        tuple(IntegerLayer(*(state[key].cpu().to(kind).numpy() for key, kind in _KINDS.items())) for state in states),
        net.config.scale,
    )


def _infer(state: State) -> Config | None:
    depth = count(state, "layers.{}.multiplier")
    if depth == 0:
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
