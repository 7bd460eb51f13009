"""What each patch of an image cost a network in two passes, by the published rule and by the honest one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from threading import RLock

import torch
from torch import Tensor, nn

from sharpbit.cost import bitops, published
from sharpbit.cost.bitops import BitCost, Choice, LayerBits
from sharpbit.cost.per_patch import Numbers, layer_parameters, selects, weight_bits, widths
from sharpbit.cost.published import SELECTOR, Bits
from sharpbit.cost.two_pass import CLASSIFIER_BITS, TwoPassCount, Volume, classifier, count_two_pass
from sharpbit.quant.adaptive import Mixed
from sharpbit.quant.grid import FLOAT, Fixed
from sharpbit.quant.layers import rounding
from sharpbit.quant.refqsr import QUERY, REFERENCE, TwoPass
from sharpbit.quant.refqsr.switch import one_pass, query, reference
from sharpbit.twopass.classifier import embedded

Size = tuple[int, int]


@dataclass(frozen=True)
class ReferCost:
    """What one RefER costs for a patch.

    Attributes:
        name: The name of the block that it stands for.
        channels: The channels of the features that it compares.
        macs: Multiply-accumulate operations.
        bitops: The same times the bits of both operands, over all its layers.
        parameters: The parameters of its convolutions and of what lies between them.
    """

    name: str
    channels: int
    macs: int
    bitops: float
    parameters: int


class TwoPassCost:
    """Counts patches of a network in two passes; sizes that were seen are not counted again.

    Args:
        name: The name of the architecture, for the published rule.
        net: The network in two passes.
        plain: The same network in float, whose operations the published rule counts.
        how: Its two passes.
    """

    def __init__(self, name: str, net: nn.Module, plain: nn.Module, how: TwoPass) -> None:
        self._name, self._plain, self._how = name, plain, how
        self._nets = [one_pass(net, role) for role in (REFERENCE, QUERY)]
        self._acts = [_acts(one, how, role) for role, one in enumerate(self._nets)]
        self.widths = tuple(sorted({bits for one in self._nets for bits in (*widths(one), how.low)}))
        self._one = RLock()
        self._count = lru_cache(maxsize=4096)(self._counted)

    def patch(self, size: Size, other: Size | None, side: int, chosen: Mapping[Choice, float] | None = None) -> Numbers:
        """What one patch cost; what finding its role costs is included.

        Args:
            size: Its height and width in small pixels.
            other: For a query the size of its reference; None for a patch with all bits.
            side: The nominal side of patches, which the published rule takes for their size.
            chosen: The bits that its quantizers chose, where they do; None takes the widest.

        Returns:
            The fields of `sharpbit.runtime.TileCost`.
        """
        with self._one:
            cost = self._count(size, other)
            rule = self._rule
        role = REFERENCE if other is None else QUERY
        bits = {name: _bits(act, chosen) for name, act in self._acts[role].items()}
        clustering = embedded().macs(size)
        cost = cost.at(chosen or {})
        pixels = size[0] * size[1]
        return {
            "pixels": pixels,
            "bits": tuple(bits.values()),
            "feature_bits": cost.feature_bits,
            "macs": cost.macs + clustering,
            "bitops": cost.bitops + clustering * CLASSIFIER_BITS**2,
            "published": None if rule is None else self._published(rule, role, bits, pixels, side),
        }

    def layers(self, size: Size, other: Size | None) -> tuple[LayerBits, ...]:
        """The operators that multiply, in the order in which they run, without those of the classifier."""
        with self._one:
            return self._count(size, other).layers

    def uncounted(self, size: Size) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """Of a query, the calls of operators that no rule counts, and stored tensors that no counted operator reads."""
        with self._one:
            cost = self._count(size, size)
        return cost.operators, cost.tensors

    def refers(self, size: Size) -> tuple[ReferCost, ...]:
        """The RefERs, for a query and a reference of one size."""
        layers, parameters, found = self.layers(size, size), layer_parameters(self._nets[QUERY]), []
        for name, channels in zip(self._how.replaced, self._kept(size), strict=True):
            own = [layer for layer in layers if layer.name.startswith(f"{name}.refer")]
            mine = [number for key, number in parameters.items() if key.startswith(f"{name}.refer.")]
            macs, products = sum(layer.macs for layer in own), sum(layer.bitops for layer in own)
            found.append(ReferCost(name, channels[1], macs, products, sum(mine)))
        return tuple(found)

    @cached_property
    def _rule(self) -> TwoPassCount | None:
        if published.rule_of(self._name) is None:
            return None
        width = self._kept((24, 24))[0][1] if self._how.replaced else 1
        return count_two_pass(self._name, self._plain, self._how, width)

    def _published(self, rule: TwoPassCount, role: int, bits: Mapping[str, float], pixels: int, side: int) -> float:
        weight = weight_bits(self._name, self._nets[REFERENCE])
        blocks = tuple(f"{block}." for block in self._how.few_wrapped) if role == QUERY else ()
        many = [value for name, value in bits.items() if not name.startswith(blocks)] if blocks else [*bits.values()]
        high = Bits(weight, sum(many) / len(many) if many else FLOAT)
        selecting = 0.0
        if selects(self._nets[role]):
            kept = rule.whole.selectors - (rule.low.selectors if role == QUERY else 0)
            selecting = 2 * SELECTOR * kept
        if role == REFERENCE:
            each = rule.whole.bitops(high, 1)
        else:
            volume = Volume(pooled=self._how.pooled, concat=self._how.form == "concat")
            each = rule.query(high, Bits(self._how.medium, self._how.low), side, volume)
        return pixels * (each + selecting) + classifier(1, side)

    def _counted(self, size: Size, other: Size | None) -> BitCost:
        if other is None:
            return bitops.count(self._nets[REFERENCE], size)
        cost = bitops.count(_Query(self._nets[QUERY], self._kept(other)), size)
        layers = tuple(replace(layer, name=layer.name.removeprefix("net.")) for layer in cost.layers)
        return replace(cost, layers=layers, tensors=tuple(name.removeprefix("net.") for name in cost.tensors))

    @lru_cache(maxsize=256)  # noqa: B019
    def _kept(self, size: Size) -> tuple[torch.Size, ...]:
        """The shapes of the features of a reference of this size."""
        shadow = copy.deepcopy(self._nets[REFERENCE]).to("meta").eval()
        with torch.no_grad():
            _, features = reference(shadow, torch.empty(1, 3, *size, device="meta"))
        return tuple(feature.shape for feature in features)


class _Query(nn.Module):
    """The second pass with features of these shapes, without values."""

    def __init__(self, net: nn.Module, shapes: Sequence[torch.Size]) -> None:
        super().__init__()
        self.net, self.shapes = net, shapes

    def forward(self, x: Tensor) -> Tensor:
        """`(1, 3, h, w)` to its result."""
        return query(self.net, x, [torch.empty(shape, device=x.device) for shape in self.shapes])


def _acts(net: nn.Module, how: TwoPass, role: int) -> dict[str, Fixed | Mixed]:
    """What rounds the activations of layers in one pass, by the names of the layers; not what RefERs compare."""
    resting = "refer" if role == REFERENCE else "block"
    idle = () if role == QUERY and how.keep_block else tuple(f"{name}.{resting}." for name in how.replaced)
    found = {}
    for name, part in net.named_modules():
        act = getattr(part, "act", None)
        act = rounding(act) if isinstance(act, nn.Module) else None
        if isinstance(act, Fixed | Mixed) and act.bits != FLOAT and not name.startswith(idle or ("\0",)):
            found[name] = act
    return found


def _bits(act: Fixed | Mixed, chosen: Mapping[Choice, float] | None) -> float:
    if isinstance(act, Fixed):
        return float(act.bits)
    runs = [bits for (place, *_), bits in (chosen or {}).items() if place == act.place]
    return sum(runs) / len(runs) if runs else float(max(act.bits))
