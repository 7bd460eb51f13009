"""Where the papers on quantization-aware training put their quantizers: a plan for each network, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
) -> Plan:
    """The plan for a network; its first and last layers, and what joins its blocks, stay in float.

    By default all that the convolutions of a block multiply is rounded, of EDSR also the shortcut and what is added to
    it. That is what CADyQ has for EDSR, CARN and IDN, and DDTB for SRResNet. The weights of a layer have one grid.

    Args:
        arch: `edsr`, `srresnet`, `carn`, `idn` or `elan`.
        act: bits of activations, or those that CADyQ and CABM choose from.
        weight: bits of weights.
        width: channels of the network's blocks, of which sites know nothing.
        legacy_conv1_float: of EDSR (in PAMS and DDTB) and SRResNet (in PAMS and CADyQ), as published: the shortcut of a
            block is rounded, the input of its first convolution is not.
        fixed: bits of what CADyQ leaves no choice, the results of EDSR's blocks and what the first convolutions of IDN
            take; by default those of activations, 8 where these are chosen.
        options: of the ranges of activations.

    Raises:
        UsageError: no paper has that.
    """
    if arch not in _PLACES:
        raise UsageError(f"no paper on quantization-aware training has {arch!r}; they have {', '.join(_PLACES)}")
    if legacy_conv1_float and arch not in ("edsr", "srresnet"):
        raise UsageError(f"legacy_conv1_float is for edsr and srresnet; the published {arch} has no such form")
    plain = legacy_conv1_float
    given = options or {}

    gradient = {"gradient": 1.0} if arch == "carn" else {}

    def rule(match: str, bits: int | tuple[int, ...] = act, weights: int = FLOAT, features: int | None = None) -> Rule:
        select = {} if isinstance(bits, int) else {**gradient, **({"features": features} if features else {})}
        return Rule(match, bits, weights, given, ONE if weights != FLOAT else {}, select)

    if fixed is None:
        fixed = act if isinstance(act, int) else EIGHT
    return Plan(_PLACES[arch](rule, weight, plain, fixed, width))


_Make = Callable[..., Rule]


def _edsr(rule: _Make, weight: int, plain: bool, fixed: int, width: int) -> tuple[Rule, ...]:
    return (
        rule(f"blocks.*.{'skip' if plain else 'input'}", features=width),
        rule("blocks.*.conv1", FLOAT, weight),  # the site before it, or nothing, rounds what it takes
        rule("blocks.*.conv2", weights=weight),
        rule("blocks.*.output", fixed),
    )


def _srresnet(rule: _Make, weight: int, plain: bool, fixed: int, width: int) -> tuple[Rule, ...]:
    second = rule("blocks.*.conv2", weights=weight)
    if plain:
        return rule("blocks.*.skip", features=width), rule("blocks.*.conv1", FLOAT, weight), second
    return rule("blocks.*.conv1", weights=weight), second


def _carn(rule: _Make, weight: int, plain: bool, fixed: int, width: int) -> tuple[Rule, ...]:
    return tuple(rule(f"body.blocks.*.blocks.*.conv{k}", weights=weight) for k in (1, 2))


def _idn(rule: _Make, weight: int, plain: bool, fixed: int, width: int) -> tuple[Rule, ...]:
    body = tuple(rule(f"blocks.*.{half}.[024]", weights=weight) for half in ("top", "bottom"))
    return rule("head.[02]", fixed, weight), *body


def _elan(rule: _Make, weight: int, plain: bool, fixed: int, width: int) -> tuple[Rule, ...]:
    convs = ("blocks.*.pointwise", "blocks.*.project_in", "blocks.*.project_out")
    sites = ("blocks.*.query", "blocks.*.value")
    return *(rule(match, weights=weight) for match in convs), *(rule(match, features=width // 3) for match in sites)


_PLACES = {"edsr": _edsr, "srresnet": _srresnet, "carn": _carn, "idn": _idn, "elan": _elan}
