"""The receipt of quantizing: what was done, and how far the two networks are apart on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sharpbit.measure.psnr import of_values


@dataclass(frozen=True)
class Receipt:
    """What was done, and what it cost.

    Attributes:
        method: by which it was done.
        bits: of weights and activations, or those that layers have by the budget.
        refined: steps in which it learned from the float network.
        kept: globs of layers that stayed in float.
        crops: LR images that were calibrated on.
        images: from which these were cut.
        held_out: LR images that were not, but measured on; 0 where there were too few to keep some: then those
            that were.
        seconds: that it took.
        bytes: of the weights, before and after.
        psnr: of the integer result against the float one, both rounded to 8 bits, on the held-out images (RGB, dB).
        differing: share of their samples that are not the same.
        largest: difference in grey levels.
        blame: layers and sites, the worst first, and the share of the mean square error that is gone without rounding
            there; empty unless asked for.
        ranges: of each rounded activation: name, smallest and largest value in float, smallest and largest on the grid;
            empty for methods without.
        budget: within which widths were chosen; see `Settings`.
        widths: of each layer and site: name, bits of the input, bits of the weight (32 where there is none); empty for
            the method `lossless`.
        bitops: bit operations for an image of 640x360, all layers counted; None for the method `lossless`.
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
    blame: tuple[tuple[str, float], ...] = ()
    ranges: tuple[tuple[str, float, float, float, float], ...] = ()
    budget: float | str | None = None
    widths: tuple[tuple[str, int, int], ...] = ()
    bitops: int | None = None


@torch.no_grad()
def upscaled(net: nn.Module, small: np.ndarray) -> np.ndarray:
    """What a network makes of `(h, w, 3)` bytes, rounded to bytes."""
    x = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))[None].float() / 255
    y: np.ndarray = _eight_bits(net, x)[0].permute(1, 2, 0).contiguous().numpy()
    return y


def _eight_bits(net: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = torch.round(net(x).clamp(0, 1) * 255).to(torch.uint8)
    return out


@torch.no_grad()
def differences(before: nn.Module, after: nn.Module, x: Tensor) -> tuple[float, float, int]:
    """How far two networks are apart on `(N, 3, h, w)` bytes: PSNR in dB, share of samples, largest in grey levels."""
    parts = [[_eight_bits(net.eval(), part.float() / 255) for part in torch.split(x, 8)] for net in (before, after)]
    a, b = (torch.cat(part).numpy().astype(np.float64) for part in parts)
    apart = np.abs(a - b)
    return of_values(a, b), float((apart > 0).mean()), int(apart.max())


def stored(net: nn.Module) -> int:
    """Bytes of all values that a network stores."""
    return sum(value.numel() * value.element_size() for value in net.state_dict().values())
