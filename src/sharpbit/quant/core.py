"""Quantizing a float network from outside: swap its modules, let ranges see it, keep its code as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sharpbit.errors import ModelError, UsageError
from sharpbit.nn import Site
from sharpbit.quant.adaptive import Context, Mixed, Selector, attach
from sharpbit.quant.grid import FLOAT, Fixed, Range
from sharpbit.quant.layers import QuantConv2d, QuantLinear, QuantSite
from sharpbit.quant.plan import Plan, Rule
from sharpbit.system.catalog import Catalog
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress


@dataclass(frozen=True)
class Method:
    """What a paper puts on an activation, on a weight, and what it adds to the loss.

    Attributes:
        act: makes the range of one activation: `act(channels, axis, **options)`, the options of the plan's rule.
        weight: makes the range of one weight; the same signature.
        maps: options of the range of a map of features of the convolutional path (see `sharpbit.nn.Rounding`).
        loss: gives, after a forward, the term that training adds to the loss of the image; None if
            there is none.
        stage: brings the quantized network into the state for an epoch of training, counted from 1; None if all epochs
            are alike.
        selector: makes what chooses, where the plan has a choice of bits: `selector(features, options, **options)`;
            None if the method has no choice.
        context: makes what selectors may look at.
    """

    act: Callable[..., Range]
    weight: Callable[..., Range]
    maps: Mapping[str, Any] = field(default_factory=dict)
    loss: Callable[[nn.Module], Tensor] | None = None
    stage: Callable[[nn.Module, int], None] | None = None
    selector: Callable[..., Selector] | None = None
    context: Callable[[], Context] = Context


METHODS: Mapping[str, Method] = Catalog("sharpbit.quant.method", "METHOD")


def insert_quantizers(net: nn.Module, plan: Plan, method: Method) -> nn.Module:
    """A copy of `net` in which the modules of the plan round their input and weight.

    The keys of the float network keep their names; each quantizer adds its range beside them (`body.0.act.range.lo`),
    so a state of the float network loads and leaves only ranges missing.

    Raises:
        UsageError: a rule matches nothing, or has an option that the method's range does not know.
    """
    net, context = copy.deepcopy(net), method.context()
    swapped = {part: _swap(part, rule, method, context) for part, rule in plan.resolve(net).items()}
    for path, part in list(net.named_modules(remove_duplicate=False)):
        if part in swapped:
            if not path:
                net = swapped[part]
                break
            net.set_submodule(path, swapped[part])
    attach(net, context)
    return net


def _swap(part: nn.Module, rule: Rule, method: Method, context: Context) -> nn.Module:
    if isinstance(part, nn.Conv2d):
        act = _act(rule, method, context, part.in_channels, 1)
        return QuantConv2d(part, act, _kernel(part.weight, rule, method)).to(part.weight.device)
    if isinstance(part, nn.Linear):
        act = _act(rule, method, context, part.in_features, -1)
        return QuantLinear(part, act, _kernel(part.weight, rule, method)).to(part.weight.device)
    assert isinstance(part, Site)
    return QuantSite(part, _act(rule, method, context, None, 1))


def _act(rule: Rule, method: Method, context: Context, channels: int | None, axis: int) -> nn.Module:
    made = [_fixed(method.act, bits, channels, axis, rule.act_options) for bits in rule.widths]
    if not isinstance(rule.act, tuple):
        return made[0]
    if method.selector is None:
        raise UsageError(f"rule {rule.match!r} has a choice of bits, {rule.act}, which this method does not make")
    given = {"features": channels, **rule.selector_options}
    features = given.pop("features")
    if features is None:
        raise UsageError(
            f"rule {rule.match!r} has a choice of bits at a site; add selector_options = {{ features = ... }}"
        )
    fixed = [part for part in made if isinstance(part, Fixed)]
    return Mixed(fixed, method.selector(features, len(fixed), **given), context)


def _kernel(weight: Tensor, rule: Rule, method: Method) -> nn.Module:
    options = {"per_channel": True, **rule.weight_options}
    return _fixed(method.weight, rule.weight, len(weight), 0, options).to(weight.dtype)


def _fixed(
    make: Callable[..., Range], bits: int, channels: int | None, axis: int, options: Mapping[str, Any]
) -> nn.Module:
    if bits == FLOAT:
        return nn.Identity()  # a range that nobody asks would be in every file
    given = dict(options)
    per_channel = given.pop("per_channel", False)
    if per_channel and channels is None:
        raise UsageError("a site has one grid: how many channels its tensor has is not known before it runs")
    try:
        return Fixed(make(channels if per_channel else None, axis, **given), bits)
    except TypeError:
        if not given:
            raise
        name = getattr(make, "__name__", str(make))
        raise UsageError(f"the range {name} does not take the options {', '.join(given)} of this plan") from None


def quantizers(net: nn.Module) -> Iterator[tuple[str, Fixed]]:
    """Every quantizer that rounds, with its name."""
    for name, part in net.named_modules():
        if isinstance(part, Fixed) and part.bits != FLOAT:
            yield name, part


@torch.no_grad()
def calibrate(net: nn.Module, batches: Iterable[Tensor], progress: Progress | None = None) -> int:
    """Let every range observe the network as it is in float, batch by batch; `net` is changed in place.

    A hook on each quantizer observes its input, and nothing is rounded meanwhile. Weights are observed as often as
    activations.

    Args:
        net: quantized.
        batches: images `(N, 3, H, W)` in `[0, 1]`.
        progress: called with 1 for each range that observed a batch, and for each that settled then.

    Returns:
        How many batches there were.

    Raises:
        UsageError: no batch, or nothing is quantized.
        ModelError: a batch holds, or becomes, something that is not a number.
    """
    training, count = net.training, 0
    net.eval()
    try:
        with observing(net, progress=progress):
            for count, batch in enumerate(batches, 1):
                if not torch.isfinite(batch).all():
                    raise ModelError(f"calibration batch {count} holds values that are not finite numbers")
                if not torch.isfinite(net(batch)).all():
                    raise ModelError(
                        f"the float network turns calibration batch {count} into values that are not finite numbers;"
                        " its weights are damaged"
                    )
    finally:
        net.train(training)
    if not count:
        raise UsageError("there is nothing to calibrate with: not one batch of images came")
    return count


@contextmanager
def observing(
    net: nn.Module, parts: Collection[Fixed] | None = None, progress: Progress | None = None
) -> Iterator[None]:
    """Within, every quantizer of `net` (or of `parts` alone) observes what it is given and passes it on unrounded.

    At the end, unless by an error, their ranges settle; `progress` is called with 1 for each that observed or settled.
    """
    widths = {fixed: fixed.bits for _, fixed in quantizers(net) if parts is None or fixed in parts}
    if not widths:
        raise UsageError(f"{type(net).__name__} has no quantizers; quantize it first")

    def hook(fixed: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(fixed, Fixed)
        fixed.range.observe(args[0].detach(), widths[fixed])
        if progress:
            progress(1)

    handles = [fixed.register_forward_pre_hook(hook) for fixed in widths]
    try:
        with unrounded(widths):
            yield
    finally:
        for handle in handles:
            handle.remove()
    with torch.no_grad():
        for fixed, bits in widths.items():
            fixed.range.settle(bits)
            if progress:
                progress(1)


@contextmanager
def unrounded(parts: Iterable[Fixed]) -> Iterator[None]:
    """Within, these quantizers pass on what they are given."""
    widths = {fixed: fixed.bits for fixed in parts}
    for fixed in widths:
        fixed.bits = FLOAT
    try:
        yield
    finally:
        for fixed, bits in widths.items():
            fixed.bits = bits


@contextmanager
def borrowed(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Within, others may train these; afterwards they want gradients as before, and have none."""
    before = {own: own.requires_grad for own in parameters}
    try:
        yield
    finally:
        for own, grad in before.items():
            own.requires_grad_(grad)
            own.grad = None


__getattr__ = old_names(__name__, {"quantize": "insert_quantizers"})
