"""CABM: the choices of a trained CADyQ network in a table, looked up by how many edges a patch has.

Source: "CABM: Content-Aware Bit Mapping for Single Image Super-Resolution Network with Large Input", Tian et al., CVPR
2023; `main_getconfig.py` and `main_inference.py` of Sheldon04/CABM-pytorch.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.errors import UsageError
from sharpbit.quant.adaptive import Context, Selector, spent
from sharpbit.quant.context import edge_score, edge_scores
from sharpbit.quant.core import Method
from sharpbit.quant.method import pams

OFF = 100.0  # mean bits that no entry reaches
STEPS = 100  # of a score of 1: keys have two digits


@dataclass(frozen=True)
class Entry:
    """Numbers of the options of all quantizers, in the order of the modules, and the mean of their bits."""

    options: tuple[int, ...]
    bits: float


class Table:
    """For each score, in hundredths, the choices that patches of that score got, those of fewest bits first."""

    def __init__(self, entries: Mapping[int, Sequence[Entry]]) -> None:
        self.entries = {key: tuple(entries[key]) for key in sorted(entries)}

    @classmethod
    def build(cls, samples: Iterable[tuple[float, Sequence[int]]], widths: Sequence[int]) -> Table:
        """From the scores and choices of patches.

        Args:
            samples: score of a patch, and the numbers of the options of all quantizers.
            widths: bits of the options.

        Raises:
            UsageError: no sample.
        """
        found: dict[int, list[Entry]] = {}
        for score, options in samples:
            entry = Entry(tuple(options), sum(widths[k] for k in options) / len(options))
            same = found.setdefault(_key(score), [])
            if entry not in same:
                same.append(entry)
        if not found:
            raise UsageError("a table of bits is made of patches, and there was none")
        return cls({key: sorted(same, key=lambda entry: entry.bits) for key, same in found.items()})

    @classmethod
    def from_json(cls, text: str) -> Table:
        """From the published form, an object of scores.

        Raises:
            UsageError: it is something else.
        """
        try:
            table = json.loads(text)
            return cls(
                {
                    _key(float(score)): [Entry(tuple(map(int, one["bit_config"])), float(one["FAB"])) for one in same]
                    for score, same in table.items()
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"this is no table of CABM ({error!r}); one has scores with bit_config and FAB") from None

    def to_json(self) -> str:
        """The published form."""
        table = {
            str(key / STEPS): [{"bit_config": list(entry.options), "FAB": entry.bits} for entry in same]
            for key, same in self.entries.items()
        }
        return json.dumps(table)

    def cheap(self, limit: float = OFF) -> dict[int, Entry]:
        """Of the scores whose cheapest entry has a mean of less than `limit` bits, that entry; of all if none has.

        That is the table as it is used; what is missing comes from the next lower score (`at`).
        """
        first = {key: same[0] for key, same in self.entries.items()}
        return {key: entry for key, entry in first.items() if entry.bits < limit} or first

    def at(self, score: float, limit: float = OFF) -> Entry:
        """The entry for a patch: of its own score, else of the next lower one in `Table.cheap`, else of the lowest.

        The published walk down does not end where there is no lower one.
        """
        cheap = self.cheap(limit)
        return cheap[_at_or_below(list(cheap), _key(score))]


class TableContext(Context):
    """Looks each patch up in the table, which is stored with the weights.

    Attributes:
        legacy_edge: whether scores are those of the published program, see `edge_score`; stored as well.
        scores: `(S,)`, in hundredths, ascending.
        options: `(S, quantizers)`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scores: Tensor
        self.options: Tensor
        self.legacy_edge: Tensor
        self.register_buffer("scores", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("options", torch.zeros(0, 0, dtype=torch.int64))

        self.register_buffer("legacy_edge", torch.tensor(False))

    def fill(self, table: Table, limit: float = OFF, *, legacy_edge: bool = False) -> None:
        """Take over what is used of `table`, see `Table.cheap`.

        Args:
            table: the table of a trained CADyQ network, or a published one.
            limit: mean bits that entries are under, see `Table.cheap`.
            legacy_edge: whether the scores of `table` are those of the published program, and so must be those of the
                images that will be looked up.
        """
        self.legacy_edge.fill_(legacy_edge)
        cheap = table.cheap(limit)
        self.scores = torch.tensor(list(cheap), device=self.scores.device)
        self.options = torch.tensor([entry.options for entry in cheap.values()], device=self.scores.device)

    def make_room(self, entries: int, quantizers: int) -> None:
        """See `Context`."""
        self.scores = torch.zeros(entries, dtype=torch.int64, device=self.scores.device)
        self.options = torch.zeros(entries, quantizers, dtype=torch.int64, device=self.scores.device)

    def look(self, net: nn.Module, args: tuple[Tensor, ...]) -> None:
        """See `Context`."""
        image = args[0].detach()
        self.now.spent = {}
        if not len(self.scores):
            raise UsageError("this network has no table of bits yet; fill one from a trained CADyQ network")
        if image.is_meta:  # an image without values, whose operations are counted
            self.give(self.options[:1].expand(len(image), -1))
            return
        keys = (STEPS * edge_scores(image, self.legacy_edge)).round()
        places = ((self.scores <= keys[:, None]).sum(1) - 1).clamp(min=0)
        self.give(self.options[places])
        self.now.known = torch.isfinite(image).flatten(1).all(1)

    def give(self, rows: Tensor) -> None:
        """Let the next quantizers take these options, `(N, quantizers)`, instead of those of a table."""
        self.now.rows, self.now.known = rows, torch.ones(len(rows), dtype=torch.bool, device=rows.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in ("scores", "options"):  # tables have any length
            if prefix + name in state_dict:
                setattr(self, name, torch.zeros_like(state_dict[prefix + name], device=self.scores.device))
        state_dict.setdefault(f"{prefix}legacy_edge", torch.tensor(False))  # which older files do not have
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Lookup(Selector):
    """Takes what the table says."""

    def __init__(self, features: int, options: int, *, gradient: float = 0.0) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """See `Selector`."""
        assert isinstance(context, TableContext)
        rows, known, place = context.now.rows, context.now.known, context.now.place
        assert rows is not None and known is not None
        if place >= rows.shape[1]:
            raise UsageError(f"the table is for {rows.shape[1]} quantizers, and this network has more")
        likely = F.one_hot(rows[:, place], self.options).to(x.dtype)
        return torch.where(known[:, None], likely, torch.nan)


@torch.no_grad()
def samples(net: nn.Module, patches: Tensor, *, legacy_edge: bool = False) -> list[tuple[float, tuple[int, ...]]]:
    """What `Table.build` takes, of patches `(N, 3, H, W)` in `[0, 1]` and a trained CADyQ network."""
    net(patches)
    return scored(patches, torch.stack([choice.option for choice in spent(net)], 1), legacy_edge=legacy_edge)


def scored(patches: Tensor, options: Tensor, *, legacy_edge: bool = False) -> list[tuple[float, tuple[int, ...]]]:
    """The same, of patches and the numbers of the options of their quantizers `(N, quantizers)`."""
    images = (patches * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    rows = options.tolist()
    return [(edge_score(one, released=legacy_edge), tuple(row)) for one, row in zip(images, rows, strict=True)]


def _key(score: float) -> int:
    return round(score * STEPS)


def _at_or_below(keys: Sequence[int], key: int) -> int:
    return keys[max(bisect_right(keys, key) - 1, 0)]


METHOD = Method(act=pams.MaxScale, weight=pams.MaxAbs, stage=pams.stage, selector=Lookup, context=TableContext)
