"""What each patch of a picture cost: the bits that it took, and BitOPs by the published rule and by the honest one."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from torch import nn

from sharpbit.cost import bitops, published
from sharpbit.quant.adaptive import Mixed, chosen_bits
from sharpbit.quant.freeze import QDQ, Integers
from sharpbit.quant.grid import FLOAT, Fixed
from sharpbit.quant.layers import rounding

Numbers = dict[str, Any]


class Spending:
    """Counts what a network that has just run has spent; sizes that were seen are not counted again.

    Args:
        name: of its architecture, for the published rule.
        net: quantized in any way, or in float.
        plain: the network in float, whose operations the published rule counts.

    Attributes:
        adaptive: whether the network chooses its bits, so that a patch may cost less than another.
    """

    def __init__(self, name: str, net: nn.Module, plain: nn.Module) -> None:
        self._net = net
        mixed = [part for part in net.modules() if isinstance(part, Mixed)]
        self.adaptive = bool(mixed)
        self._fixed = fixed_bits(net)
        self._selects = any(any(True for _ in part.selector.parameters()) for part in mixed)
        self._count = lru_cache(maxsize=4096)(lambda size: bitops.count(net, size))
        self._rule: published.Counted | None = None
        if name in published.RULES:
            self._rule, self._weight = published.counted(name, plain), weight_bits(name, net)

    def last(self, size: tuple[int, int]) -> Numbers:
        """What the last forward has cost, of one patch of `size`.

        Returns:
            the fields of `sharpbit.runtime.Spent`.
        """
        bits = tuple(chosen_bits(self._net)[0].tolist()) if self.adaptive else self._fixed
        cost = self._count(size).at(bits) if self.adaptive else self._count(size)
        pixels = size[0] * size[1]
        rule = None
        if self._rule is not None:
            how = published.Bits(self._weight, sum(bits) / len(bits))
            rule = self._rule.bitops(how, pixels, selectors=self._selects)
        return {
            "pixels": pixels,
            "bits": bits,
            "feature_bits": cost.feature_bits,
            "macs": cost.macs,
            "bitops": cost.bitops,
            "published": rule,
        }


def fixed_bits(net: nn.Module) -> tuple[float, ...]:
    """Bits of each rounded activation of a network that chooses none; 32 where nothing is rounded."""
    acts = [rounding(act) for part in net.modules() if isinstance(act := getattr(part, "act", None), nn.Module)]
    bits = tuple(float(act.bits) for act in acts if isinstance(act, Fixed | QDQ) and act.bits != FLOAT)
    return bits or (float(FLOAT),)


def weight_bits(name: str, net: nn.Module) -> float:
    """Mean bits of the weights that the published rule of the architecture `name` counts."""
    globs = [term.layers for term in published.RULES[name].terms if term.left == "weight"]
    kernels = [
        getattr(part, "kernel", None)
        for path, part in net.named_modules()
        if isinstance(part, nn.Conv2d) and any(fnmatchcase(path, glob) for glob in globs)
    ]
    bits = [float(kernel.bits) if isinstance(kernel, Fixed | Integers) else float(FLOAT) for kernel in kernels]
    return sum(bits) / len(bits) if bits else float(FLOAT)
