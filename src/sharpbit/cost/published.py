"""BitOPs as the papers on adaptive quantization count them (RefQSR, arXiv 2404.01690, tables 2 and 4).

They count some layers of the blocks and nothing else, over all pixels of the overlapping patches: an operation of two
operands of `a` and `b` bits costs `2 * a * b / 32**2`, so that one in 32 bits counts two. Which layers and bits
was found by fitting the printed numbers; they leave out much. The operations of each layer are counted from the network
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from sharpbit.arch import ARCHITECTURES, Counting, Term
from sharpbit.cost.macs import count
from sharpbit.errors import UsageError

SIDE = 96  # of the square on which a pixel's operations are counted: whole windows of an ELAN, nothing is padded
FULL = 32  # bits of what nobody rounds


@dataclass(frozen=True)
class Bits:
    """The bits of a row of the tables: weights, and activations (their mean, FQR, where patches differ)."""

    weight: float
    act: float


SELECTOR = 4.5  # operations of 32 bits for a pixel and selector of CADyQ; fitted, the paper does not say


@dataclass(frozen=True)
class Counted:
    """What the rule of a network finds in it, for a small pixel.

    Attributes:
        terms: each with its multiply-accumulate operations.
        selectors: how many bit selectors it would have.
    """

    terms: tuple[tuple[Term, float], ...]
    selectors: int

    @property
    def macs(self) -> float:
        """All of them."""
        return sum(macs for _, macs in self.terms)

    def bitops(self, bits: Bits, pixels: int, *, selectors: bool = False) -> float:
        """BitOPs of all `pixels`; `selectors` adds what finding the bits of CADyQ costs."""
        of = {"weight": bits.weight, "act": bits.act, "full": FULL}
        products = sum(macs * of[term.left] * of[term.right] for term, macs in self.terms)
        if selectors:
            products += SELECTOR * self.selectors * FULL * FULL
        return 2 * products * pixels / FULL**2


def rule_of(name: str) -> Counting | None:
    """The published rule of the architecture `name`; None if no paper has one."""
    return ARCHITECTURES[name].counting


def counted(name: str, net: nn.Module, rule: Counting | None = None) -> Counted:
    """Apply a rule to a float network.

    Args:
        name: The name of its architecture.
        net: The network.
        rule: What is counted; by default the published rule of the architecture.

    Raises:
        UsageError: There is no rule, or it names layers that the network does not have.
    """
    rule = rule or rule_of(name)
    if rule is None:
        known = [other for other in ARCHITECTURES if ARCHITECTURES[other].counting]
        raise UsageError(f"no paper says how BitOPs of {name} are counted; there are rules for {', '.join(known)}")
    layers = count(net, (SIDE, SIDE)).layers
    terms = []
    for term in rule.terms:
        macs = sum(number for layer, number in layers.items() if fnmatchcase(layer, term.layers))
        if not macs:
            raise UsageError(f"the rule for {name} counts {term.layers!r}, which names no layer of this network")
        terms.append((term, macs / SIDE**2))
    modules: list[tuple[str, Any]] = list(net.named_modules())
    selectors = sum(any(fnmatchcase(path, glob) for glob in rule.selectors) for path, _ in modules)
    return Counted(tuple(terms), selectors)
