"""Which values the keys of a recipe may have: ranges of numbers, choices, and names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sharpbit.arch import ARCHITECTURES
from sharpbit.data.calibration import PLACES
from sharpbit.export import EXPORTS
from sharpbit.quant.core import METHODS
from sharpbit.quant.grid import FLOAT, WIDEST
from sharpbit.quant.refqsr.plan import FORMS
from sharpbit.quant.refqsr.refer import MATCHINGS
from sharpbit.recipe.schema import (
    Carry,
    Expected,
    Export,
    FakeQuantize,
    Form,
    Freeze,
    Quantize,
    Recipe,
    Refine,
    RefQSR,
    Reparameterize,
    Start,
)
from sharpbit.training import Training
from sharpbit.verbs.post_training import POST_TRAINING_METHODS

MANY = 10**9


@dataclass(frozen=True)
class Span:
    """A range of numbers.

    Attributes:
        low: least value.
        high: greatest value.
        above: whether `low` itself is excluded.
        below: whether `high` itself is excluded.
        whole: whether only whole numbers count.
        also: a single value outside of the range.
    """

    low: float
    high: float = MANY
    above: bool = False
    below: bool = False
    whole: bool = False
    also: float | None = None

    def problem(self, value: Any) -> str:
        """What was expected; empty where the value lies in the range."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return str(self)
        if value == self.also:
            return ""
        high_enough = value > self.low if self.above else value >= self.low
        low_enough = value < self.high if self.below else value <= self.high
        return "" if high_enough and low_enough else str(self)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        start = f"above {self.low:,}" if self.above else f"of at least {self.low:,}"
        also = "" if self.also is None else f", or {self.also:,}"
        return f"{kind} {start} and {'below' if self.below else 'at most'} {self.high:,}{also}"


@dataclass(frozen=True)
class Choice:
    """One of several words; `names` is called when a value is checked, so that nothing is imported before."""

    names: Callable[[], Iterable[str]]

    def problem(self, value: Any) -> str:
        """What was expected; empty where the value is one of the words."""
        known = list(self.names())
        return "" if isinstance(value, str) and value in known else f"one of {', '.join(known)}"


@dataclass(frozen=True)
class Name:
    """A name that is used as part of a path, so that it must not lead elsewhere.

    Attributes:
        ending: regular expression of what may follow.
    """

    ending: str = ""

    def problem(self, value: Any) -> str:
        """What was expected; empty where the value is a name."""
        good = isinstance(value, str) and len(value) <= 100 and re.fullmatch(r"[\w-][\w.-]*" + self.ending, value)
        return "" if good else "a name of letters, digits, '.', '_' and '-' that does not begin with '.'"


Limit = Span | Choice | Name


def whole(low: int, high: int = MANY) -> Span:
    """A range of whole numbers, both ends included."""
    return Span(low, high, whole=True)


SEED = whole(0, 10**12)  # times 1,000,003, plus a step, it fits into the 64 bits of a generator
BITS = whole(2, WIDEST)
BITS_OR_FLOAT = Span(2, WIDEST, whole=True, also=FLOAT)
SIDE, COUNT, WEIGHT = whole(1, 1 << 16), whole(1, 1 << 16), Span(0)
RATE = Span(0, 10)
PSNR = Span(0, 200)
HYPER = Span(0, 4096)
SCALE = whole(1, 16)
NAME, TRAINED = Name(), Name(r"(/trained\d?)?")
CUT: Mapping[str, Limit] = {"crops": whole(1, 10**6), "side": whole(0, 1 << 16), "place": Choice(lambda: PLACES)}

LIMITS: Mapping[type, Mapping[str, Limit]] = {
    Training: {
        "steps": whole(1),
        "batch": COUNT,
        "patch": SIDE,
        "rate": Span(0, 10, above=True),
        "last_rate": RATE,
        "warmup": whole(0),
        "betas": Span(0, 1, below=True),
        "halve": whole(0),
        "clip": WEIGHT,
        "loss": Choice(lambda: ("l1", "l2")),
        "luma": Span(0, 1),
        "edge_weight": WEIGHT,
        "low_weight": WEIGHT,
        "frozen_steps": whole(0),
        "white": Span(0, 10**6, above=True),
        "distill": WEIGHT,
        "distill_blocks": WEIGHT,
        "own_loss": WEIGHT,
        "range_rate": RATE,
        "selector_rate": RATE,
        "epoch": whole(1),
        "first_epoch": whole(1),
        "ema": Span(0, 1),
        "finish": Span(0, 1),
        "precision": Choice(lambda: ("bf16", "float32")),
        "seed": SEED,
        "optimizer": Choice(lambda: ("adam", "soap")),
    },
    Start: {"arch": Choice(lambda: ARCHITECTURES), "seed": SEED, "after": TRAINED, "weights": NAME},
    FakeQuantize: {
        "method": Choice(lambda: METHODS),
        "act": BITS_OR_FLOAT,
        "weight": BITS_OR_FLOAT,
        "fixed": whole(0, FLOAT),
        "batches": whole(1, 10**6),
        "batch": COUNT,
        "patch": SIDE,
        "limit": Span(0, 10**6, above=True),
    },
    RefQSR: {
        "method": Choice(lambda: METHODS),
        "high": BITS,
        "low": BITS,
        "medium": whole(0, WIDEST),
        "refers": whole(-1, 1000),
        "form": Choice(lambda: FORMS),
        "matching": Choice(lambda: MATCHINGS),
        "queries": Span(0, 1, below=True),
        "threshold": Span(-1, 2),
        "patch": SIDE,
        "batches": whole(1, 10**6),
        "batch": COUNT,
        "crop": SIDE,
        "limit": Span(0, 10**6, above=True),
    },
    Carry: {},
    Reparameterize: {"form": Choice(lambda: ("plain", "et"))},
    Quantize: {
        "method": Choice(lambda: POST_TRAINING_METHODS),
        "bits": BITS,
        "refine": whole(0, 10**6),
        "budget": Span(0, 32, above=True),
        "batch": COUNT,
        **CUT,
    },
    Refine: {
        "steps": whole(0),
        "epochs": whole(1, 10**6),
        "batch": COUNT,
        "rate": Span(0, 10, above=True),
        **CUT,
    },
    Freeze: {},
    Export: {"format": Choice(lambda: EXPORTS), "name": NAME},
    Form: {"weights": NAME, "parameters": WEIGHT, "macs": WEIGHT},
    Expected: {"psnr": PSNR, "ssim": Span(-1, 1), "psnr_within": WEIGHT, "ssim_within": WEIGHT},
    Recipe: {},
}

SETTINGS: Mapping[str, type] = {
    "train": Training,
    "carry": Carry,
    "reparameterize": Reparameterize,
    "fake_quantize": FakeQuantize,
    "refqsr": RefQSR,
    "quantize": Quantize,
    "refine": Refine,
    "freeze": Freeze,
    "export": Export,
}
