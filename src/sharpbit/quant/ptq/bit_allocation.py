"""Mixed precision: a bit width for each layer, by its sensitivity, within a budget of bit operations.

Our method, after HAWQ and its successors. The error of the result is measured with one layer alone rounded, at each
width. Errors are assumed to add up, and the widths with the smallest sum within the budget solve a knapsack problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor, nn

from sharpbit.errors import UsageError
from sharpbit.quant import core
from sharpbit.quant.core import Method, quantizers, unrounded
from sharpbit.quant.grid import FLOAT
from sharpbit.quant.plan import Plan
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress

Product = tuple[int, str | None, str | None]  # MACs, and the quantizers of both operands
Budget = float | str
REFERENCE = 8  # bits of the network of whose cost a budget may be a share
PLACES = 1 << 15  # of the knapsack
LOOK = 2  # images on which errors are measured


@dataclass(frozen=True)
class Unit:
    """What has one width: a layer with its input, or the two operands of a product of activations.

    Attributes:
        names: names of the modules.
        products: products in which their quantizers meet.
    """

    names: tuple[str, ...]
    products: tuple[Product, ...]

    def cost(self, bits: Mapping[str, float]) -> float:
        """Bit operations, where quantizers have these widths."""
        return sum(macs * _bits(bits, first) * _bits(bits, second) for macs, first, second in self.products)


def units(net: nn.Module, products: Iterable[Product]) -> tuple[Unit, ...]:
    """The parts of a quantized network whose widths can be chosen one by one."""
    group = {_module(name): {_module(name)} for name, _ in quantizers(net)}
    inside = [product for product in products if product[1] or product[2]]
    for _, *pair in inside:
        names = [_module(name) for name in pair if name]
        both = set().union(*(group[name] for name in names))
        group |= dict.fromkeys(both, both)
    found = {id(names): names for names in group.values()}
    return tuple(
        Unit(
            tuple(name for name in group if name in names),
            tuple(product for product in inside if _module(product[1] or product[2] or "") in names),
        )
        for names in found.values()
    )


def mixed_precision(
    net: nn.Module,
    plans: Mapping[int, Plan],
    method: Method,
    parts: Sequence[Unit],
    budget: Budget,
    images: Tensor,
    progress: Progress | None = None,
) -> Plan:
    """The plan with a width for each layer that keeps the result nearest to the float one within the budget.

    Args:
        net: the float network.
        plans: plan of the whole network by width, for each width to choose from.
        method: the method that finds clipping ranges.
        parts: the units of the network, see `units`.
        budget: mean bits or a share of the cost in 8 bits, see `limit`.
        images: `(N, 3, H, W)` in `[0, 1]`, to calibrate on, once for each width; through the first of them the
            network runs once for each unit and width.
        progress: called with 1 after each.

    Raises:
        UsageError: a budget that cannot be met, or that nothing need be done for.
    """
    made = {width: core.insert_quantizers(net, plan, method) for width, plan in plans.items()}
    bits = {width: {name: fixed.bits for name, fixed in quantizers(each)} for width, each in made.items()}
    most = limit(budget, parts, bits)
    errors: list[dict[int, float]] = [{} for _ in parts]
    with torch.no_grad():
        wanted = net.eval()(images[:LOOK])
    for width, each in made.items():
        core.calibrate(each, [images])
        for unit, found in zip(parts, errors, strict=True):
            found[width] = error_of(each, unit, images[:LOOK], wanted)
            if progress:
                progress(1)
    costs = [{width: unit.cost(bits[width]) for width in plans} for unit in parts]
    chosen = choose(costs, errors, most)
    widths = {name: width for unit, width in zip(parts, chosen, strict=True) for name in unit.names}
    return combined(net, plans, widths)


def limit(budget: Budget, parts: Iterable[Unit], bits: Mapping[int, Mapping[str, int]]) -> float:
    """The bit operations that a budget allows.

    Args:
        budget: a mean width such as 5: what the network would cost in 5 bits throughout, but for what has more at any
            width (the images at both ends); or a share such as `40%` of what it costs in 8 bits.
        parts: the units of the network.
        bits: bits of every quantizer by name, for each width to choose from.

    Raises:
        UsageError: it is neither, or out of reach.
    """
    parts, narrowest, widest = tuple(parts), min(bits), max(bits)

    def whole(width: float) -> float:
        least = {name: max(width, own) for name, own in bits[narrowest].items()}
        return sum(unit.cost(least) for unit in parts)

    least, most = (sum(unit.cost(bits[width]) for unit in parts) for width in (narrowest, widest))
    text = f"{budget:g}" if isinstance(budget, int | float) else budget.strip()
    try:
        number = float(text.removesuffix("%"))
        allowed = number / 100 * whole(REFERENCE) if text.endswith("%") else whole(number)
    except ValueError:
        raise UsageError(
            f"a budget is a mean of bits such as 5, or a share of the cost in 8 bits such as 40%, not {text!r}"
        ) from None
    unit = "" if text.endswith("%") else " bits"
    if not number > 0 or allowed < least or (unit and number < narrowest):
        reached = 100 * least / whole(REFERENCE)
        raise UsageError(
            f"a budget of {text}{unit} is out of reach: all layers in {narrowest} bits cost {reached:.0f}% of what they"
            f" do in 8 bits; give more, or let --bits have a narrower width"
        )
    if allowed >= most:
        raise UsageError(
            f"a budget of {text}{unit} leaves nothing to choose: all layers in {widest} bits are within it; give less,"
            f" or --bits {widest} alone"
        )
    return allowed


@torch.no_grad()
def error_of(net: nn.Module, unit: Unit, images: Tensor, wanted: Tensor) -> float:
    """The mean square error where this unit alone of a calibrated network is rounded; `wanted` is the float result."""
    others = [fixed for name, fixed in quantizers(net) if _module(name) not in unit.names]
    with unrounded(others):
        return float((net.eval()(images) - wanted).square().mean())


def choose(costs: Sequence[Mapping[int, float]], errors: Sequence[Mapping[int, float]], most: float) -> tuple[int, ...]:
    """The width of each unit with which the sum of the errors is smallest, and that of the costs `most` at most.

    Costs are counted in `PLACES` parts of what is left over where all are at their cheapest, and rounded up.

    Args:
        costs: cost of each unit, by width.
        errors: error of each unit, by width.
        most: limit of the sum of costs; it is at least the sum of the smallest ones.
    """
    room = most - sum(min(cost.values()) for cost in costs)
    best, picks = torch.zeros(PLACES + 1, dtype=torch.float64), []  # of the units so far, by the places that they take
    takes: list[dict[int, int]] = []
    for cost, error in zip(costs, errors, strict=True):
        extra = {width: cost[width] - min(cost.values()) for width in sorted(cost, reverse=True)}
        take = {
            width: ceil(PLACES * more / room - 1e-9) if more else 0 for width, more in extra.items() if more <= room
        }
        tried = torch.full((len(take), PLACES + 1), torch.inf, dtype=torch.float64)
        for row, (width, places) in zip(tried, take.items(), strict=True):
            row[places:] = best[: PLACES + 1 - places] + error[width]
        best, pick = tried.min(0)
        picks.append(pick)
        takes.append(take)
    chosen, place = [], PLACES
    for take, pick in zip(reversed(takes), reversed(picks), strict=True):
        width = list(take)[int(pick[place])]
        place -= take[width]
        chosen.append(width)
    return tuple(reversed(chosen))


def combined(net: nn.Module, plans: Mapping[int, Plan], widths: Mapping[str, int]) -> Plan:
    """The plan that has for each module the rule of the plan of its width.

    Args:
        net: the float network.
        plans: plan of the whole network by width.
        widths: width of each module that is rounded, by name.
    """
    names = {part: name for name, part in net.named_modules()}
    resolved = {width: {names[part]: rule for part, rule in plan.resolve(net).items()} for width, plan in plans.items()}
    return Plan(tuple(replace(resolved[width][name], match=name) for name, width in widths.items()))


def _module(quantizer: str) -> str:
    return quantizer.rpartition(".")[0]


def _bits(bits: Mapping[str, float], name: str | None) -> float:
    return bits[name] if name else FLOAT


__getattr__ = old_names(__name__, {"mixed": "mixed_precision"})
