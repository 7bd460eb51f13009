"""The proof that a network and its plain form are the same function, in numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sharpbit.errors import ReparameterizeError
from sharpbit.system.deprecated import old_names

LIMIT = 1e-5  # in float32, where white is 1: a step of 8 bits is 390 times as large
EXACT = 1e-9  # in float64: two networks that are nearer are the same function
ROUNDINGS = 2  # so many times what float32 does to the network itself, two that are the same may be apart in it
SIZES = ((1, 1), (1, 7), (9, 2), (17, 23), (48, 40))


@dataclass(frozen=True)
class EquivalenceReceipt:
    """How far a network and its plain form are apart.

    Attributes:
        layers: convolutions that run for an image, before and after.
        parameters: stored values, before and after.
        difference: largest difference over whole images in float32, both clipped to `[0, 1]`.
        border: largest difference in the rows and columns that come from the outermost pixels of the input.
        double: largest difference in float64, where the arithmetic itself rounds next to nothing.
        sizes: heights and widths of the random images tried.
        rounding: largest difference of the network in float32 from itself in float64.
    """

    layers: tuple[int, int]
    parameters: tuple[int, int]
    difference: float
    border: float
    double: float
    sizes: tuple[tuple[int, int], ...] = SIZES
    rounding: float = 0.0

    @property
    def limit(self) -> float:
        """How far the two may be apart in float32: 1e-5, or more where rounding alone moves the network by more.

        Only two that are the same in float64 are given more. Inside of FSRCNN x2, for one, numbers are so large that
        the network in float32 is 2.5e-5 from itself in float64.
        """
        return max(LIMIT, ROUNDINGS * self.rounding) if self.double <= EXACT else LIMIT

    def check(self) -> None:
        """Accept the two as equal.

        Raises:
            ReparameterizeError: they are more than `limit` apart.
        """
        if not self.difference <= self.limit:
            raise ReparameterizeError(
                f"the plain form differs by {self.difference:.2g}, more than {self.limit:.2g}; at the border by"
                f" {self.border:.2g}, and in float64 by {self.double:.2g}"
            )


@torch.no_grad()
def receipt(before: nn.Module, after: nn.Module, scale: int) -> EquivalenceReceipt:
    """Compare two networks on images of uniform noise in `[0, 1]`, in float32 on the CPU."""
    generator = torch.Generator().manual_seed(0)
    before, after = (copy.deepcopy(net).cpu().float().eval() for net in (before, after))
    exact_before, exact_after = copy.deepcopy(before).double(), copy.deepcopy(after).double()
    difference = border = double = rounding = 0.0
    for height, width in SIZES:
        x = torch.rand(2, 3, height, width, generator=generator)
        double = _larger(double, _apart(exact_before, exact_after, x.double()))
        rounding = _larger(rounding, (before(x).clamp(0, 1).double() - exact_before(x.double()).clamp(0, 1)).abs())
        apart = _apart(before, after, x)
        difference = _larger(difference, apart)
        apart[..., scale : scale * (height - 1), scale : scale * (width - 1)] = 0
        border = _larger(border, apart)
    return EquivalenceReceipt(
        (layers(before), layers(after)),
        (parameters(before), parameters(after)),
        difference,
        border,
        double,
        rounding=rounding,
    )


def layers(net: nn.Module) -> int:
    """How many convolutions run for one image."""
    with torch.no_grad(), _Convolutions() as seen:
        net(torch.zeros(1, 3, 8, 8))
    return int(seen.count)


def parameters(net: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(weight.numel() for weight in net.parameters())


class _Convolutions(TorchFunctionMode):
    """Counts the convolutions that are called while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += getattr(func, "__name__", "") in ("conv2d", "conv_transpose2d")
        return func(*args, **(kwargs or {}))


def _apart(before: nn.Module, after: nn.Module, x: Tensor) -> Tensor:
    apart: Tensor = before(x).clamp(0, 1) - after(x).clamp(0, 1)
    return apart.abs()


def _larger(known: float, apart: Tensor) -> float:
    """The larger one; not a number stays not a number."""
    value = float(apart.max())
    return known if value <= known or math.isnan(known) else value


__getattr__ = old_names(__name__, {"Receipt": "EquivalenceReceipt"})
