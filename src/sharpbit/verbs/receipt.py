"""The receipt of quantizing: what was done, and how far the two networks are apart on the same images."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sharpbit.measure.psnr import of_values
from sharpbit.quant.sloped import FAR, GATE
from sharpbit.system.deprecated import old_names

__all__ = ["FAR", "GATE", "Differences", "QuantizationReceipt", "differences", "stored", "upscaled"]


@dataclass(frozen=True)
class QuantizationReceipt:
    """What quantizing did, and what it cost.

    Attributes:
        method: name of the post-training method.
        bits: bits of weights and activations, or those that mixed precision chose from.
        refined: steps in which the result learned from the float network.
        kept: globs over the names of layers that stayed in float.
        crops: number of LR images that were calibrated on.
        side: side of such an image in pixels; of oblong ones the longer.
        place: where they were taken: `detail`, `random` or `prepared` (`sharpbit.data.calibration.Cut`).
        images: number of photos that these were cut from.
        held_out: number of LR images that were measured on and not calibrated on; 0 where there were too few to keep
            some apart, so that the measured ones are those of the calibration.
        seconds: time that it took, in seconds.
        bytes: size of the weights in bytes, before and after.
        psnr: PSNR in dB of the integer result against the float one, both rounded to 8 bits, on the held-out images
            (RGB).
        least: the same of the image that is farthest from float.
        texture: the same of the farthest of some soft faint textures, which are drawn; None for methods that are not
            asked for a distance from float.
        differing: share of their samples that are not the same, from 0 to 1.
        largest: largest difference of a sample, in grey levels.
        sensitivity: layers and sites, the most sensitive first, with the share of the mean square error that is gone
            when they are not rounded; empty unless asked for.
        ranges: one entry for each rounded activation: name, smallest and largest value in float, smallest and largest
            value on the grid; empty for methods without quantizers.
        budget: limit of mixed precision, see `QuantizationSettings`.
        widths: one entry for each layer and site: name, bits of the input, bits of the weight (32 where there is
            none); empty for the method `lossless`.
        bitops: bit operations for an image of 640x360, all layers counted; None for the method `lossless`.
        wide: number of channels of each layer but the last that are kept in 16 bits; empty where there are none.
        both: number of convolutions of an integer graph that read 16 bits, of all, and of second parts
            among these, which give others weights of 16 bits; empty for other files.
        gate: mean dB from float that 16 bits are for.
    """

    method: str
    bits: int | tuple[int, ...]
    refined: int
    kept: tuple[str, ...]
    crops: int
    images: int
    held_out: int
    seconds: float
    bytes: tuple[int, int]
    psnr: float
    differing: float
    largest: int
    sensitivity: tuple[tuple[str, float], ...] = ()
    ranges: tuple[tuple[str, float, float, float, float], ...] = ()
    budget: float | str | None = None
    widths: tuple[tuple[str, int, int], ...] = ()
    bitops: int | None = None
    wide: tuple[int, ...] = ()
    side: int = 64
    place: str = "detail"
    both: tuple[int, ...] = ()
    gate: float = GATE
    least: float = inf
    texture: float | None = None

    @property
    def blame(self) -> tuple[tuple[str, float], ...]:
        """Deprecated name of `sensitivity`."""
        warnings.warn("QuantizationReceipt.blame is now sensitivity", DeprecationWarning, stacklevel=2)
        return self.sensitivity


@torch.no_grad()
def upscaled(net: nn.Module, small: np.ndarray) -> np.ndarray:
    """What a network makes of `(h, w, 3)` bytes, rounded to bytes."""
    x = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))[None].float() / 255
    y: np.ndarray = _eight_bits(net, x)[0].permute(1, 2, 0).contiguous().numpy()
    return y


def _eight_bits(net: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = torch.round(net(x).clamp(0, 1) * 255).to(torch.uint8)
    return out


class Differences(NamedTuple):
    """How far two networks are apart.

    Attributes:
        psnr: PSNR in dB of all images together.
        differing: Share of the samples that are not the same, from 0 to 1.
        largest: Largest difference of a sample, in grey levels.
        least: PSNR in dB of the image in which they are farthest apart.
    """

    psnr: float
    differing: float
    largest: int
    least: float


@torch.no_grad()
def differences(before: nn.Module, after: nn.Module, x: Tensor) -> Differences:
    """How far two networks are apart on `(N, 3, h, w)` bytes."""
    parts = [[_eight_bits(net.eval(), part.float() / 255) for part in torch.split(x, 8)] for net in (before, after)]
    a, b = (torch.cat(part).numpy().astype(np.float64) for part in parts)
    apart = np.abs(a - b)
    least = min(of_values(one, other) for one, other in zip(a, b, strict=True))
    return Differences(of_values(a, b), float((apart > 0).mean()), int(apart.max()), least)


def stored(net: nn.Module) -> int:
    """Bytes of all values that a network stores."""
    return sum(value.numel() * value.element_size() for value in net.state_dict().values())


__getattr__ = old_names(__name__, {"Receipt": "QuantizationReceipt"})
