"""Where quantization-aware training puts its quantizers: a plan for each network, as data, by what that declares."""

from __future__ import annotations

from typing import Any

from torch import nn

from sharpbit.arch import ARCHITECTURES, Aware, Rounded
from sharpbit.errors import UsageError
from sharpbit.quant.grid import FLOAT
from sharpbit.quant.plan import Plan, Rule

EIGHT = 8
ONE = {"per_channel": False}  # the weights of a layer have one grid


def placement(
    arch: str,
    act: int | tuple[int, ...],
    weight: int,
    *,
    width: int = 64,
    legacy_conv1_float: bool = False,
    fixed: int | None = None,
    options: dict[str, Any] | None = None,
    net: nn.Module | None = None,
) -> Plan:
    """The plan for a network; its first and last layers, and what joins its blocks, stay in float.

    By default all that the convolutions of a block multiply is rounded, of EDSR also the shortcut and what is added to
    it. That is what CADyQ has for EDSR, CARN and IDN, and DDTB for SRResNet. The weights of a layer have one grid.

    Args:
        arch: A name of the architecture catalog.
        act: The bits of activations, or those that CADyQ and CABM choose from.
        weight: The bits of weights.
        width: The channels of the network's blocks, of which sites know nothing.
        legacy_conv1_float: Whether the older published form is wanted, of EDSR (in PAMS and DDTB) and SRResNet (in PAMS
            and CADyQ): the shortcut of a block is rounded, the input of its first convolution is not.
        fixed: The bits of what CADyQ leaves no choice, the results of EDSR's blocks and what the first convolutions of
            IDN take; by default those of activations, 8 where these are chosen.
        options: Options of the ranges of activations.
        net: The float network. The layers of its body are found in it if its architecture declares no sites.

    Raises:
        UsageError: The architecture declares no sites and `net` is not given, or has no such form.
    """
    architecture = ARCHITECTURES[arch]
    if architecture.aware is None and net is None:
        raise UsageError(
            f"no paper on quantization-aware training has {arch!r}, and it declares no sites; give the network, net=..."
        )
    aware = architecture.aware_of(net) if net is not None else architecture.aware
    assert aware is not None
    if legacy_conv1_float and not aware.legacy:
        have = [name for name in ARCHITECTURES if (other := ARCHITECTURES[name].aware) and other.legacy]
        raise UsageError(f"legacy_conv1_float is for {' and '.join(have)}; the published {arch} has no such form")
    if fixed is None:
        fixed = act if isinstance(act, int) else EIGHT
    bits: dict[str, int | tuple[int, ...]] = {"chosen": act, "fixed": fixed, "float": FLOAT}
    sites = aware.legacy if legacy_conv1_float else aware.sites
    return Plan(tuple(_rule(site, bits[site.act], weight, options or {}, aware, width) for site in sites))


def _rule(
    site: Rounded, act: int | tuple[int, ...], weight: int, options: dict[str, Any], aware: Aware, width: int
) -> Rule:
    selector = {} if isinstance(act, int) else dict(aware.selector)
    if site.share and not isinstance(act, int):
        selector["features"] = width // site.share
    kernel = weight if site.weight else FLOAT
    return Rule(site.match, act, kernel, options, ONE if kernel != FLOAT else {}, selector)
