"""What each patch of an image cost: the bits that it took, and BitOPs by the published rule and by the honest one."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from torch import nn

from sharpbit.cost import bitops, published
from sharpbit.cost.bitops import Choice
from sharpbit.quant.adaptive import Context, Mixed
from sharpbit.quant.frozen import QDQ, Chosen, Integers
from sharpbit.quant.grid import FLOAT, Fixed
from sharpbit.quant.layers import rounding

Numbers = dict[str, Any]


class PatchCost:
    """Counts what a patch has cost that a network has just run; sizes that were seen are not counted again.

    Args:
        name: name of its architecture, for the published rule.
        net: quantized in any way, or in float.
        plain: the network in float, whose operations the published rule counts.

    Attributes:
        adaptive: whether the network chooses its bits, so that a patch may cost less than another.
    """

    def __init__(self, name: str, net: nn.Module, plain: nn.Module) -> None:
        self._net = net
        self.adaptive = any(isinstance(part, Mixed) for part in net.modules())
        self._fixed = fixed_bits(net)
        self._selects = selects(net)
        self._count = lru_cache(maxsize=4096)(lambda size: bitops.count(net, size))
        self._rule: published.Counted | None = None
        if published.rule_of(name):
            self._rule, self._weight = published.counted(name, plain), weight_bits(name, net)

    def last(self, size: tuple[int, int]) -> Numbers:
        """What the last forward has cost, of one patch of `size`.

        Returns:
            the fields of `sharpbit.runtime.TileCost`.
        """
        bits, cost = self._fixed, self._count(size)
        if self.adaptive:
            chosen = choices(self._net)
            bits, cost = tuple(chosen.values()), cost.at(chosen)
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


def choices(net: nn.Module) -> dict[Choice, float]:
    """The bits that each run of each `Mixed` took for the first patch of the last forward."""
    context = next(part for part in net.modules() if isinstance(part, Context))
    return {
        (place, run): float(one.bits[0])
        for place in sorted(context.spent)
        for run, one in enumerate(context.spent[place])
    }


def fixed_bits(net: nn.Module) -> tuple[float, ...]:
    """Bits of each rounded activation of a network that chooses none; 32 where nothing is rounded."""
    acts = [rounding(act) for part in net.modules() if isinstance(act := getattr(part, "act", None), nn.Module)]
    bits = tuple(float(act.bits) for act in acts if isinstance(act, Fixed | QDQ) and act.bits != FLOAT)
    return bits or (float(FLOAT),)


def widths(net: nn.Module) -> tuple[int, ...]:
    """Bits that rounded activations have, or can choose, in ascending order."""
    mixed = {bits for part in net.modules() if isinstance(part, Mixed) for bits in part.bits}
    return tuple(sorted(mixed or {int(bits) for bits in fixed_bits(net)}))


def weight_bits(name: str, net: nn.Module) -> float:
    """Mean bits of the weights that the published rule of the architecture `name` counts."""
    rule = published.rule_of(name)
    globs = [term.layers for term in rule.terms if term.left == "weight"] if rule else []
    kernels = [
        getattr(part, "kernel", None)
        for path, part in net.named_modules()
        if isinstance(part, nn.Conv2d) and any(fnmatchcase(path, glob) for glob in globs)
    ]
    bits = [float(kernel.bits) if isinstance(kernel, Fixed | Integers) else float(FLOAT) for kernel in kernels]
    return sum(bits) / len(bits) if bits else float(FLOAT)


def summary(name: str, net: nn.Module, plain: nn.Module, pixels: int) -> Numbers:
    """FQR and BitOPs by the published rule, of `pixels` small pixels; where patches choose bits, the most possible.

    Args:
        name: name of the architecture.
        net: quantized.
        plain: the network in float.
        pixels: number of pixels of all patches.
    """
    mixed = [part for part in net.modules() if isinstance(part, Mixed)]
    bits = tuple(float(max(part.bits)) for part in mixed) or fixed_bits(net)
    fqr = sum(bits) / len(bits)
    frozen = any(isinstance(part, Chosen) for part in net.modules())  # whose bits are those of the widest option
    rule = None
    if published.rule_of(name):
        how = published.Bits(weight_bits(name, net), fqr)
        rule = published.counted(name, plain).bitops(how, pixels, selectors=selects(net))
    return {"fqr": fqr, "published_bitops": rule, "adaptive": bool(mixed) or frozen}


def selects(net: nn.Module) -> bool:
    """Whether bits are computed while the network runs, as in CADyQ, and not looked up."""
    mixed = (part for part in net.modules() if isinstance(part, Mixed | Chosen))
    return any(any(True for _ in part.selector.parameters()) for part in mixed)


def layer_parameters(net: nn.Module) -> dict[str, int]:
    """How many parameters each module has itself, by its name; numbers of quantizers are none."""
    quantizers = (part for part in net.modules() if isinstance(part, Fixed | QDQ | Mixed))
    inside = {id(own) for quantizer in quantizers for own in quantizer.modules()}
    found = {}
    for name, part in net.named_modules():
        own = sum(weight.numel() for weight in part.parameters(recurse=False)) if id(part) not in inside else 0
        kernel = getattr(part, "kernel", None)
        found[name] = own + (kernel.values.numel() if isinstance(kernel, Integers) else 0)
    return {name: number for name, number in found.items() if number}
