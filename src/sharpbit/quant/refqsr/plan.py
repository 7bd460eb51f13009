"""What becomes of a network in two passes: which blocks have few bits, and for which a RefER stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sharpbit.errors import UsageError
from sharpbit.quant.qat.placement import EIGHT, placement

VERB = "refqsr"
FORMS = ("difference", "concat", "self")
REFERS = {"srresnet": 2, "carn": 1, "elan": 2}  # as published


@dataclass(frozen=True)
class TwoPass:
    """What becomes of a network in two passes: data, as its file tells it.

    Attributes:
        method: of the catalog of methods.
        plan: tables of rules (`Plan.tables`), for the first pass.
        low: bits of activations in the second pass.
        medium: bits of weights there.
        queries: names of the blocks that have these bits.
        replaced: names of the blocks for which a RefER stands in the second pass.
        rectified: whether a ReLU comes last in such a block.
        form: `difference`; `concat`, a RefER that takes both features; or `self`, one that takes the query for its own
            reference.
        pooled: whether RefERs normalize and pool what they compare.
        threshold: cosine from which on two patches are alike, in training and in use.
        patch: side of a patch in use, in small pixels; neighbours share `shared` of them.
        shared: see there.
    """

    method: str
    plan: tuple[Mapping[str, Any], ...]
    low: int
    medium: int
    queries: tuple[str, ...]
    replaced: tuple[str, ...]
    rectified: bool = False
    form: str = "difference"
    pooled: bool = True
    threshold: float = 0.5
    patch: int = 96
    shared: int = 6
    verb: str = field(default=VERB, init=False)

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise UsageError(f"the form of a RefER is one of {', '.join(FORMS)}, not {self.form!r}")

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> TwoPass:
        """From an entry of a file's history."""
        known = {item.name for item in fields(cls) if item.init}
        given = {key: value for key, value in entry.items() if key in known}
        own: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
        return cls(**own)

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any]]) -> TwoPass | None:
        """What was done to a model, by its history; None if it has one pass."""
        entries = [entry for entry in history if entry["verb"] == VERB]
        return cls.read(entries[-1]) if entries else None

    def entry(self) -> dict[str, Any]:
        """What `read` reads."""
        return asdict(self)


def published(
    arch: str,
    config: Any,
    method: str,
    high: int | tuple[int, ...],
    low: int,
    *,
    medium: int | None = None,
    refers: int | None = None,
    form: str = "difference",
    pooled: bool = True,
    threshold: float = 0.5,
    patch: int = 96,
    options: dict[str, Any] | None = None,
) -> TwoPass:
    """The two passes of the paper for a network: the first block and the last ones keep many bits.

    Args:
        arch: `srresnet`, `carn` or `elan`.
        config: sizes of the network.
        method: see `TwoPass`.
        high: bits of the first pass, activations and weights; several are chosen from, and weights have 8 then.
        low: bits of activations in the second.
        medium: bits of weights in the second; by default halfway, as `round` has it.
        refers: how many blocks a RefER stands for; by default as published, but at most a quarter of the blocks.
        form: see `TwoPass`.
        pooled: see `TwoPass`.
        threshold: see `TwoPass`.
        patch: see `TwoPass`.
        options: of the ranges of activations.

    Raises:
        UsageError: the paper has no such network, or it is not deep enough.
    """
    if arch not in REFERS or getattr(config, "groups", 1) != 1:
        raise UsageError(f"RefQSR is for {', '.join(REFERS)} (without groups), not for this {arch}")
    local = _blocks(arch, config)
    if refers is None:
        refers = min(REFERS[arch], len(local) // 4)
    if not 0 <= refers <= len(local) - 2:
        raise UsageError(
            f"of the {len(local)} blocks of this {arch} the first has many bits and at least one has few; {refers}"
            " cannot give way to RefERs"
        )
    weight = high if isinstance(high, int) else EIGHT
    if medium is None:
        medium = round((weight + low) / 2)
    plan = placement(arch, high, weight, width=config.width, options=options)
    last = len(local) - refers
    return TwoPass(
        method=method,
        plan=tuple(plan.tables()),
        low=low,
        medium=medium,
        queries=tuple(name for block in local[1:last] for name in block),
        replaced=tuple(block[0] for block in local[last:]),
        rectified=arch == "carn",
        form=form,
        pooled=pooled,
        threshold=threshold,
        patch=patch,
    )


def _blocks(arch: str, config: Any) -> list[tuple[str, ...]]:
    """The blocks of a network in their order, each with the names of its parts; the first can give way to a RefER."""
    if arch == "srresnet":
        return [(f"blocks.{k}",) for k in range(config.blocks)]
    if arch == "carn":
        return [(f"body.blocks.{i}.blocks.{k}",) for i in range(3) for k in range(3)]
    return [(f"blocks.{i}.local.{k}", f"blocks.{i}.attention.{k}") for i in range(config.blocks) for k in range(2)]
