"""What becomes of a network in two passes: which blocks have few bits, and for which a RefER stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sharpbit.arch import ARCHITECTURES, Refinable
from sharpbit.errors import UsageError
from sharpbit.modelfile.history import Verb
from sharpbit.quant.qat.placement import EIGHT, placement
from sharpbit.quant.refqsr.refer import MATCHINGS, PRINTED

VERB = "refqsr"
NONE = "none"
FORMS = ("difference", "concat", "self", NONE)


@dataclass(frozen=True)
class TwoPass:
    """The two passes of a network as data, as its file holds them.

    Attributes:
        method: name of the method catalog.
        plan: tables of rules (`Plan.tables`), for the first pass.
        low: bits of activations in the second pass.
        medium: bits of weights there.
        queries: names of the blocks that have these bits.
        replaced: names of the blocks for which a RefER stands in the second pass.
        rectified: whether a ReLU comes last in such a block.
        form: `difference`; `concat`, a RefER that takes both features; `self`, one that takes the query for its own
            reference; or `none`, where the blocks for which RefERs would stand keep many bits (the paper's "w/o
            RefER").
        pooled: whether RefERs normalize and pool what they compare.
        threshold: cosine from which on two patches are alike, in training and in use.
        patch: side of a patch in use, in LR pixels.
        shared: LR pixels that neighbouring patches have in common.
        parts: the names in a replaced block of its first convolution, the activation after it (empty: a ReLU) and the
            convolution that gives the channels again; a RefER corrects by copies of them.
        matching: how RefERs make features ready to be compared (`sharpbit.quant.refqsr.refer.compared`).
        neutral: whether RefERs begin by correcting nothing; if not, as the blocks for which they stand.
        keep_block: whether the block follows its RefER, with few bits, instead of giving way to it.
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
    parts: tuple[str, ...] = Refinable.parts
    matching: str = PRINTED
    neutral: bool = False
    keep_block: bool = False
    verb: str = field(default=VERB, init=False)

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise UsageError(f"the form of a RefER is one of {', '.join(FORMS)}, not {self.form!r}")
        if self.matching not in MATCHINGS:
            raise UsageError(f"features are compared by one of {', '.join(MATCHINGS)}, not {self.matching!r}")

    @property
    def few(self) -> tuple[str, ...]:
        """The names, in the float network, of all blocks that run with few bits in the second pass."""
        return (*self.queries, *(self.replaced if self.keep_block else ()))

    @property
    def few_wrapped(self) -> tuple[str, ...]:
        """The same names in the network in two passes, where a block with a RefER lies inside of what holds both."""
        return tuple(f"{name}.block" if name in self.replaced else name for name in self.few)

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> TwoPass:
        """From an entry of a file's history."""
        known = {item.name for item in fields(cls) if item.init}
        given = {key: value for key, value in entry.items() if key in known}
        own: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
        return cls(**own)

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any] | Verb]) -> TwoPass | None:
        """The two passes of a model, by its history; None if it has one pass."""
        tables = [entry.table() if isinstance(entry, Verb) else entry for entry in history]
        passes = [table for table in tables if table["verb"] == VERB]
        return cls.read(passes[-1]) if passes else None

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
    matching: str = PRINTED,
    neutral: bool = False,
    keep_block: bool = False,
) -> TwoPass:
    """The two passes of the paper for a network: the first block and the last ones keep many bits.

    Args:
        arch: a name of the architecture catalog; the paper has `srresnet`, `carn` and `elan`.
        config: sizes of the network.
        method: name of the method catalog.
        high: bits of the first pass, activations and weights; several are chosen from, and weights have 8 then.
        low: bits of activations in the second.
        medium: bits of weights in the second; by default halfway, as `round` has it.
        refers: how many blocks a RefER stands for; by default as published, but at most a quarter of the blocks.
        form: form of the RefERs, see `TwoPass`.
        pooled: whether RefERs normalize and pool, see `TwoPass`.
        threshold: cosine of patches that are alike, see `TwoPass`.
        patch: side of a patch in use, in LR pixels.
        options: options of the ranges of activations.
        matching: how RefERs compare, see `TwoPass`.
        neutral: whether they begin by correcting nothing, see `TwoPass`.
        keep_block: whether the block follows its RefER, see `TwoPass`.

    Raises:
        UsageError: the network has no blocks for which a RefER can stand, or not enough.
    """
    architecture = ARCHITECTURES[arch]
    net = architecture.weightless(config)
    blocks = architecture.blocks_of(net)
    local = blocks.names
    if refers is None:
        refers = min(blocks.count, len(local) // 4)
    if not 0 <= refers <= len(local) - 2:
        raise UsageError(
            f"of the {len(local)} blocks of this {arch} the first has many bits and at least one has few; {refers}"
            " cannot give way to RefERs"
        )
    weight = high if isinstance(high, int) else EIGHT
    if medium is None:
        medium = round((weight + low) / 2)
    plan = placement(arch, high, weight, width=getattr(config, "width", 0), options=options, net=net)
    last = len(local) - refers
    return TwoPass(
        method=method,
        plan=tuple(plan.tables()),
        low=low,
        medium=medium,
        queries=tuple(name for block in local[1:last] for name in block),
        replaced=() if form == NONE else tuple(block[0] for block in local[last:]),
        rectified=blocks.rectified,
        form=form,
        pooled=pooled,
        threshold=threshold,
        patch=patch,
        parts=blocks.parts,
        matching=matching,
        neutral=neutral,
        keep_block=keep_block,
    )
