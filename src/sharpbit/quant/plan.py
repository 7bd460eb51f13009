"""Which tensors of a network are rounded, and to how many bits: data, not code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from sharpbit.errors import UsageError
from sharpbit.nn import Linear, Rounding, Site
from sharpbit.quant.grid import FLOAT, checked_bits

KINDS = (nn.Conv2d, nn.Linear, Linear, Site)  # or a Conv2d that only computes its product in another way
ENDS = 8  # bits of the images at both ends of a network, at least


@dataclass(frozen=True)
class Rule:
    """The inputs, and the weights, of the modules that a glob names.

    Attributes:
        match: glob over the names of `Conv2d`, `Linear` and `Site` modules; `*` also stands for dots.
        act: bits of a module's *input*; 32 leaves it alone. Several, such as `(4, 6, 8)`, are a choice that is made for
            each patch.
        weight: bits of its weight, where it has one; 32 leaves it alone.
        act_options: options of the method's range of an activation, such as `{"symmetric": True}`; every method knows
            `per_channel`, a grid for each input channel.
        weight_options: options of the method's range of a weight; `per_channel`, a grid for each output channel, is the
            default.
    """

    match: str
    act: int | tuple[int, ...] = 8
    weight: int = 8
    act_options: Mapping[str, Any] = field(default_factory=dict)
    weight_options: Mapping[str, Any] = field(default_factory=dict)
    selector_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.match, str):
            raise UsageError(f"a rule names modules by a text such as 'body.*', not {self.match!r}")
        if isinstance(self.act, list):  # as files have it
            object.__setattr__(self, "act", tuple(self.act))
        for bits in (*self.widths, self.weight):
            checked_bits(bits)
        if isinstance(self.act, tuple) and not 1 < len(set(self.act) - {FLOAT}) == len(self.act):
            raise UsageError(f"a choice of bits is between two or more different widths, not {self.act}")

    @property
    def widths(self) -> tuple[int, ...]:
        """The bits of the input: one number, or those to choose from."""
        return self.act if isinstance(self.act, tuple) else (self.act,)

    @property
    def idle(self) -> bool:
        """Whether it leaves everything in float."""
        return self.act == FLOAT and self.weight == FLOAT


def leave(match: str) -> Rule:
    """The rule that takes modules out again."""
    return Rule(match, FLOAT, FLOAT)


@dataclass(frozen=True)
class Plan:
    """Rules in order; of those that name a module the last one counts, whole."""

    rules: tuple[Rule, ...]

    @classmethod
    def uniform(cls, bits: int = 8, weight: int | None = None, match: Iterable[str] = ("*",)) -> Plan:
        """One width for all activations and one (by default the same) for all weights.

        Weights get symmetric grids, because engines multiply those in integers.
        """
        options = {"symmetric": True}
        return cls(tuple(Rule(glob, bits, weight or bits, weight_options=options) for glob in match))

    @classmethod
    def after_training(
        cls,
        rounding: Rounding,
        bits: int,
        maps: Mapping[str, Any],
        weight: int | None = None,
        *,
        symmetric: bool = False,
        keep: Iterable[str] = (),
    ) -> Plan:
        """The plan of quantizing after training.

        Args:
            rounding: the rounding rule of the network's architecture.
            bits: bits of activations; the image that comes in and the one that goes out have 8 at least.
            maps: options of the ranges of maps of features: those of the method (`Method.maps`).
            weight: bits of weights, by default as many as activations have.
            symmetric: whether weights get symmetric grids, which engines multiply in integers.
            keep: globs of what stays in float besides.
        """
        weights = {"symmetric": True} if symmetric else {}
        width = weight or bits
        return cls(
            (
                Rule("*", bits, width, {}, weights),
                *(Rule(glob, bits, width, maps, weights) for glob in rounding.maps),
                *(Rule(glob, max(bits, ENDS), width, maps, weights) for glob in rounding.ends),
                *map(leave, (*rounding.left, *keep)),
            )
        )

    @classmethod
    def read(cls, rules: Iterable[Mapping[str, Any]]) -> Plan:
        """From tables with the keys of `Rule`, as a recipe or a file header has them."""
        known = [item.name for item in fields(Rule)]
        for rule in rules:
            for key in rule:
                if key not in known:
                    near = difflib.get_close_matches(key, known, 1, 0.0)[0]
                    raise UsageError(f"a rule has no key {key!r}; nearest: {near!r}; all: {', '.join(known)}")
            if "match" not in rule:
                raise UsageError(f"the rule {dict(rule)} does not say which modules it means; add 'match'")
        return cls(tuple(Rule(**rule) for rule in rules))

    def tables(self) -> list[dict[str, Any]]:
        """What `read` reads, without empty options."""
        tables = [{key: value for key, value in asdict(rule).items() if value != {}} for rule in self.rules]
        return [
            {**table, "act": rule.act if isinstance(rule.act, int) else list(rule.act)}
            for table, rule in zip(tables, self.rules, strict=True)
        ]

    def resolve(self, net: nn.Module) -> dict[nn.Module, Rule]:
        """The rule of each module that is to be swapped; one that stands under several names goes by all of them.

        Raises:
            UsageError: a rule matches nothing.
        """
        names = [(name, part) for name, part in net.named_modules(remove_duplicate=False) if _swappable(part)]
        chosen: dict[nn.Module, Rule] = {}
        for rule in self.rules:
            parts = [part for name, part in names if fnmatchcase(name, rule.match)]
            if not parts:
                raise UsageError(_nothing(rule.match, net, [name for name, _ in names]))
            chosen |= dict.fromkeys(parts, rule)
        return {part: rule for part, rule in chosen.items() if not rule.idle}


def _swappable(part: nn.Module) -> bool:
    return type(part) in KINDS or (isinstance(part, nn.Conv2d) and type(part).forward is nn.Conv2d.forward)


def _nothing(match: str, net: nn.Module, names: list[str]) -> str:
    kind = type(net).__name__
    others = {type(part).__name__ for name, part in net.named_modules() if name and fnmatchcase(name, match)}
    if not names:
        return f"rule {match!r} matched nothing: {kind} has no convolution, linear layer or site that is still in float"
    near = difflib.get_close_matches(match, names, 1, 0.0)[0]
    seen = f", only {', '.join(sorted(others))}" if others else ""
    return f"rule {match!r} matched no convolution, linear layer or site of {kind}{seen} (nearest: {near!r})"
