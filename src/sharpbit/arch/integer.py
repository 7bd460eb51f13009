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
from sharpbit.modelfile.integer_chain import IntegerChain, Slopes, Wide
from sharpbit.modelfile.integer_chain import Layer as IntegerLayer
from sharpbit.modelfile.integer_layer import FINE, MIDDLE
from sharpbit.nn import State, byte_layer, byte_sums, count, levels, scale_of, scaled

SLOPES, IMAGE = "slopes", "image"


@dataclass(frozen=True)
class Config:
    """Sizes of a chain in integers.

    Attributes:
        scale: upscaling factor.
        hidden: channels of every layer but the last.
        more: what the chain has besides: `slopes`, and `image` where the image is added at the end.
        wide: how many channels of every layer but the last are kept in 16 bits; empty: the chain has no such channels.
    """

    scale: int
    hidden: tuple[int, ...] = (32,) * 7
    more: tuple[str, ...] = ()
    wide: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "more", tuple(self.more))
        object.__setattr__(self, "wide", tuple(self.wide))
        if self.more not in ((), (SLOPES,), (SLOPES, IMAGE)):
            raise UsageError(
                f"an integer chain has {SLOPES!r}, or {SLOPES!r} and {IMAGE!r}, besides, not {self.more!r}"
            )
        if self.wide and (not self.more or len(self.wide) != len(self.hidden)):
            raise UsageError(
                f"wide channels are counted for each of {len(self.hidden)} layers, with {SLOPES!r}, not {self.wide!r}"
            )


class Layer(nn.Module):
    """One layer, `(N, C, H, W)` whole numbers from 0 to 255 in and out; at the start it copies the first channels."""

    weight: Tensor
    bias: Tensor
    multiplier: Tensor
    negative: Tensor | None
    zero: Tensor | None
    passed: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, *, sloped: bool = False, wide: int = 0, passed: int | None = None
    ) -> None:
        super().__init__()
        self.wide = wide
        weight = torch.zeros(outputs, inputs, 3, 3, dtype=torch.int8)
        for row in range(min(inputs, outputs)):
            weight[row, row, 1, 1] = 1
        self.register_buffer("weight", weight)
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.int32))
        self.register_buffer("multiplier", torch.ones(outputs))
        self.register_buffer("negative", torch.ones(outputs) if sloped else None)
        self.register_buffer("zero", torch.zeros(outputs, dtype=torch.uint8) if sloped else None)
        self.register_buffer("passed", None if passed is None else torch.zeros(passed, dtype=torch.int32))

    def forward(self, x: Tensor, around: Tensor | None = None, image: Tensor | None = None) -> Tensor:
        """See `sharpbit.nn.byte_layer`; `image` `(N, outputs, H, W)` is added in place of the zero points."""
        zero = self.zero if image is None else image
        return byte_layer(x, self.weight, self.bias, self.multiplier, negative=self.negative, zero=zero, around=around)

    def wide_forward(self, x: Tensor, fine: Tensor | None, around: Tensor | None) -> tuple[Tensor, Tensor]:
        """The bytes, and the second bytes of the wide channels; `fine` are those of `x`, or None."""
        assert self.zero is not None and self.passed is not None
        total, count = byte_sums(x, self.weight, self.bias, around), len(self.passed)
        if fine is not None and count:
            value = FINE * x[:, :count].double() + fine.double() - MIDDLE
            total[:, :count] += self.passed.double()[:, None, None] * value
        product = scaled(total, self.multiplier, self.negative)
        level = levels(product, self.zero)
        left = product[:, : self.wide] - (level[:, : self.wide] - self.zero.float()[: self.wide, None, None])
        return level, (torch.round(left * FINE) + MIDDLE).clamp(0, 255)


_KINDS = {"weight": torch.int8, "bias": torch.int32, "multiplier": torch.float32}
_SLOPE_KINDS = {"negative": torch.float32, "zero": torch.uint8}


class Integer(nn.Module):
    """The chain. The image is rounded to bytes first."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = (3, *config.hidden, 3 * config.scale**2)
        wide = (*config.wide, 0) if config.wide else (0,) * (len(widths) - 1)
        passed = (0, *wide) if config.wide else (None,) * len(widths)
        self.layers = nn.ModuleList(
            Layer(inputs, outputs, sloped=SLOPES in config.more, wide=own, passed=before)
            for (inputs, outputs), own, before in zip(pairwise(widths), wide, passed, strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, in `[0, 1]`."""
        image = y = torch.round(x * 255).clamp(0, 255)
        around: Tensor | None = None
        fine: Tensor | None = None
        *inner, last = self.layers
        for layer in inner:
            assert isinstance(layer, Layer)
            if layer.passed is None:
                y = layer(y, around)
            else:
                y, fine = layer.wide_forward(y, fine, around)
            around = layer.zero
        added = IMAGE in self.config.more
        y = last(y, around, image.repeat_interleave(self.config.scale**2, 1) if added else None)
        return F.pixel_shuffle(y.to(x.dtype) / 255, self.config.scale)


def of_chain(chain: IntegerChain) -> Integer:
    """The network of a chain."""
    more = (SLOPES, IMAGE)[: chain.sloped + chain.adds_image]
    net = Integer(Config(chain.scale, tuple(layer.outputs for layer in chain.layers[:-1]), more, chain.wide))
    for own, layer in zip(net.layers, chain.layers, strict=True):
        state = {key: getattr(layer, key) for key in _KINDS}
        state |= {key: getattr(layer.slopes, key) for key in _SLOPE_KINDS if layer.slopes is not None}
        state |= {"passed": layer.wide.weight} if layer.wide is not None else {}
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
        assert isinstance(layer, Layer)
        kinds = _KINDS | (_SLOPE_KINDS if layer.zero is not None else {})
        state = {key: getattr(layer, key).cpu().to(kind).numpy() for key, kind in kinds.items()}
        slopes = Slopes(*(state.pop(key) for key in _SLOPE_KINDS)) if layer.zero is not None else None
        wide = Wide(layer.wide, layer.passed.cpu().to(torch.int32).numpy()) if layer.passed is not None else None
        layers.append(IntegerLayer(**state, slopes=slopes, wide=wide))
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
    exceptions={"plain form": "in integers already", "quantization": "it is quantized already"},
)
