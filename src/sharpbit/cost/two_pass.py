"""BitOPs and FQR of RefQSR as its paper counts them (arXiv 2404.01690, tables 2 to 7), given the share of queries.

A reference costs what the network costs at its bits. A query costs the first block at those bits, its blocks of few
bits, what is left of the last blocks, and the RefERs. The classifier comes on top. What of it is counted, and with
which bits, was found by fitting the printed numbers; operations are counted from the network itself.
`evidence/refqsr_tables.py` holds every printed row against this, and lists those that it does not explain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from sharpbit.arch import ARCHITECTURES, Counting
from sharpbit.cost.macs import count
from sharpbit.cost.published import FULL, SELECTOR, SIDE, Bits, Counted, counted
from sharpbit.quant.refqsr import TwoPass
from sharpbit.quant.refqsr.refer import POOL

PIXEL = 164  # operations of 32 bits for a pixel of a query and RefER: pooling and upscaling; fitted
CLASSES = 47  # of the published classifier
CLASSIFIER = (1728, 36_864, 18_432)  # MACs of a position in each of its convolutions
CLASSIFIER_BITS = 8


@dataclass(frozen=True)
class Volume:
    """How a RefER compares, and with what.

    Attributes:
        pooled: whether features are pooled first; otherwise each pixel is compared with each at high bits, and there
            is nothing to pool.
        concat: whether it has another convolution for the reference's feature.
    """

    pooled: bool = True
    concat: bool = False


@dataclass(frozen=True)
class TwoPassCount:
    """What the rules find in a network, for a small pixel.

    Attributes:
        whole: all of it, what a reference costs.
        kept: what has high bits in queries too.
        low: what has low bits there.
        convs: multiply-accumulate operations of the convolutions of a RefER.
        first: those of the first of them.
        refers: how many RefERs there are.
        width: channels of what they compare.
    """

    whole: Counted
    kept: Counted
    low: Counted
    convs: float
    first: float
    refers: int
    width: int

    @property
    def share(self) -> float:
        """The share of the rounded activations that have low bits in a query."""
        return self.low.selectors / self.whole.selectors

    def fqr(self, high: float, low: float, queries: float) -> float:
        """Mean bits of activations where the share `queries` of the pixels are queries."""
        return high - (high - low) * queries * self.share

    def high(self, fqr: float, low: float, queries: float) -> float:
        """The mean of the chosen high bits that gives a mean of `fqr`."""
        return (fqr - low * self.share * queries) / (1 - self.share * queries)

    def query(self, high: Bits, low: Bits, patch: int, how: Volume | None = None) -> float:
        """BitOPs of a pixel of a query, in patches of the side `patch`."""
        how = how or Volume()
        refer = self.refer(high, low, patch, how)
        return self.kept.bitops(high, 1) + self.low.bitops(low, 1) + self.refers * refer

    def refer(self, high: Bits, low: Bits, patch: int, how: Volume) -> float:
        """BitOPs of one RefER for a pixel."""
        products = (self.convs + how.concat * self.first) * high.weight * high.act
        if how.pooled:
            products += (patch / POOL) ** 2 * self.width / POOL**2 * low.act**2 + PIXEL * FULL**2
        else:
            products += patch**2 * self.width * high.weight**2
        return 2 * products / FULL**2

    def bitops(
        self,
        high: Bits,
        low: Bits,
        pixels: int,
        patches: int,
        patch: int,
        queries: float,
        *,
        selectors: bool = False,
        how: Volume | None = None,
    ) -> float:
        """BitOPs of an image.

        Args:
            high: bits of references.
            low: bits of queries.
            pixels: number of pixels of all patches.
            patches: how many.
            patch: their nominal side.
            queries: share of the pixels in queries.
            selectors: whether bits are chosen as in CADyQ.
            how: what RefERs do.
        """
        chosen = 2 * SELECTOR * self.whole.selectors * (1 - self.share * queries) if selectors else 0.0
        reference = self.whole.bitops(high, 1)
        each = (1 - queries) * reference + queries * self.query(high, low, patch, how) + chosen
        return pixels * each + classifier(patches, patch)


def classifier(patches: int, patch: int) -> float:
    """BitOPs of clustering."""
    side = patch // POOL
    macs = sum((side - 2 * k) ** 2 * macs for k, macs in enumerate(CLASSIFIER)) + 32 * CLASSES
    return 2 * patches * macs * CLASSIFIER_BITS**2 / FULL**2


def count_two_pass(name: str, net: nn.Module, passes: TwoPass, width: int) -> TwoPassCount:
    """Apply the rules to the float network `net` of the architecture `name`.

    Args:
        name: a name of the architecture catalog; of a network without a published rule the layers of the body count.
        net: the network in float.
        passes: its two passes.
        width: channels of its blocks.
    """
    rule = ARCHITECTURES[name].counting_of(net)
    whole = counted(name, net, rule)
    layers = count(net, (SIDE, SIDE)).layers
    products = [glob.layers for glob in rule.terms if not glob.layers.endswith("shift")]
    convs = _macs(layers, [f"{block}.*" for block in passes.replaced], products)
    first = _macs(layers, [f"{block}.{passes.parts[0]}*" for block in passes.replaced], products)
    refers = len(passes.replaced)
    return TwoPassCount(
        whole=whole,
        kept=_restricted(rule, net, layers, (*passes.queries, *passes.replaced), inside=False),
        low=_restricted(rule, net, layers, passes.few, inside=True),
        convs=convs / max(refers, 1),
        first=first / max(refers, 1),
        refers=refers,
        width=width,
    )


def _macs(layers: Mapping[str, int], blocks: Iterable[str], terms: Iterable[str]) -> float:
    return sum(macs for layer, macs in layers.items() if _any(layer, blocks) and _any(layer, terms)) / SIDE**2


def _any(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _restricted(
    rule: Counting, net: nn.Module, layers: Mapping[str, int], blocks: Iterable[str], *, inside: bool
) -> Counted:
    """The rule of a network, of the layers inside or outside some blocks alone."""
    globs = [f"{block}.*" for block in blocks]
    own = {layer: macs for layer, macs in layers.items() if _any(layer, globs) is inside}
    terms = [
        (term, sum(macs for layer, macs in own.items() if fnmatchcase(layer, term.layers)) / SIDE**2)
        for term in rule.terms
    ]
    names = [path for path, _ in net.named_modules() if _any(path, globs) is inside]
    return Counted(tuple(terms), sum(_any(path, rule.selectors) for path in names))
