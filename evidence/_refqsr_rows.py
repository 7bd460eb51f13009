"""The rows of `refqsr.py`: which recipe each is, and what is claimed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qat import RECIPES

FLOAT = "carn-m-x2"  # the published weights, which no recipe makes
Claim = tuple[str, str, str]


@dataclass(frozen=True)
class Network:
    """What the evidence is about.

    Attributes:
        folder: of its recipes, below `recipes/evidence`; what all seeds share may lie above.
        shared: recipes that are trained with the first seed alone, in order.
        rows: row: recipe.
        claims: a row, the row that it is held against, and what is said.
    """

    folder: str
    shared: tuple[str, ...]
    rows: Mapping[str, str]
    claims: tuple[Claim, ...]

    def path(self, name: str) -> Path:
        """The recipe of this name."""
        own = RECIPES / self.folder / f"{name}.toml"
        return own if own.exists() else RECIPES / f"{name}.toml"


ROWS = {
    "8 bits": "small-ddtb8-again-x2",
    "4 bits": "small-ddtb4-again-x2",
    "4 bits, gates kept": "small-ddtb4-kept-x2",
    "RefQSR 8-4": "small-refqsr-x2",
    "RefQSR 8-4 without RefER": "small-refqsr-no-refer-x2",
    "RefQSR 8-4, few bits in place of the RefER": "small-refqsr-low-x2",
    "RefQSR 8-4, own reference": "small-refqsr-self-x2",
}
CLAIMS = (
    ("RefQSR 8-4", "4 bits", "RefQSR is better than 4 bits everywhere"),
    ("RefQSR 8-4", "4 bits, gates kept", "the same, of 4 bits with the gates of 8"),
    ("RefQSR 8-4", "8 bits", "RefQSR keeps what 8 bits everywhere give"),
    ("RefQSR 8-4", "RefQSR 8-4 without RefER", "RefERs do what blocks of many bits do"),
    ("RefQSR 8-4", "RefQSR 8-4, few bits in place of the RefER", "RefERs help"),
    ("RefQSR 8-4", "RefQSR 8-4, own reference", "it is the reference that helps"),
)
SMALL = Network("refqsr", ("small-x2", "small-ddtb8-x2"), ROWS, CLAIMS)


def _carn_m() -> Network:
    """Bases trained as long as RefQSR, and as short as the paper's; RefQSR as printed and corrected."""
    rows = {"8 bits": "carn-m-ddtb8-equal-x2"}
    claims: list[Claim] = []
    for bits in (4, 3, 2):
        rows[f"{bits} bits"] = f"carn-m-ddtb{bits}-equal-x2"
        rows[f"{bits} bits, trained short"] = f"carn-m-ddtb{bits}-short-x2"
    for both in ("8-4", "4-2", "3-2"):
        low = both[-1]
        printed, corrected, without = (f"RefQSR {both}{end}" for end in ("", " corrected", " without RefER"))
        names = (f"carn-m-refqsr-{both}{end}-x2" for end in ("", "-corrected", "-no-refer"))
        rows |= dict(zip((printed, corrected, without), names, strict=True))
        claims += [
            (printed, f"{low} bits", f"RefQSR {both} is better than {low} bits trained as long"),
            (printed, f"{low} bits, trained short", f"RefQSR {both} is better than {low} bits trained short"),
            (corrected, printed, f"the corrections help at {both}"),
            (corrected, f"{low} bits", f"corrected, RefQSR {both} is better than {low} bits trained as long"),
            (corrected, without, f"corrected RefERs do what blocks of many bits do at {both}"),
        ]
    claims.append(("RefQSR 4-2 corrected", "3 bits", "corrected, RefQSR 4-2 is better than 3 bits, which cost less"))
    return Network("carn-m", ("carn-m-ddtb8-x2",), rows, tuple(claims))


NETWORKS = {"small": SMALL, "carn-m": _carn_m()}
