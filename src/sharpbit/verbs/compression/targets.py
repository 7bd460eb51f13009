"""What a compressed network is asked to meet, and how far one is from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sharpbit.errors import UsageError

DROP = 0.1  # dB, where nothing is asked for
SIZE = (180, 320)  # height and width of the image that is timed


@dataclass(frozen=True)
class Targets:
    """What is asked for; None asks nothing.

    Attributes:
        max_drop: largest loss against the float network in dB of PSNR (Y channel), on every set that is judged.
        max_ms: longest time of one image in milliseconds.
        max_bytes: most bytes of the payload, which is all of the file but its header.
        size: height and width in pixels of the LR image that is timed.
    """

    max_drop: float | None = None
    max_ms: float | None = None
    max_bytes: int | None = None
    size: tuple[int, int] = SIZE

    def __post_init__(self) -> None:
        if self.max_drop is None and self.max_ms is None and self.max_bytes is None:
            object.__setattr__(self, "max_drop", DROP)
        for name, value in (("max_ms", self.max_ms), ("max_bytes", self.max_bytes)):
            if value is not None and not value > 0:
                raise UsageError(f"{name} is {value}, and nothing is that small; give a number above 0")

    def table(self) -> dict[str, Any]:
        """For JSON, without what is not asked for."""
        limits = {"max_drop": self.max_drop, "max_ms": self.max_ms, "max_bytes": self.max_bytes}
        return {key: value for key, value in limits.items() if value is not None} | {"size": list(self.size)}

    def misses(self, measured: Mapping[str, Any], judged: tuple[str, ...]) -> dict[str, tuple[float, float]]:
        """What a file misses: by target its own value and the limit; empty where it meets all.

        Args:
            measured: the table of `Measured`.
            judged: names of the sets that `max_drop` is for.
        """
        found: dict[str, tuple[float, float]] = {}
        drops = [measured["drop"].get(name) for name in judged]
        worst = max((float("inf") if drop is None else float(drop) for drop in drops), default=0.0)
        values = {"max_drop": worst, "max_ms": measured["ms"], "max_bytes": measured["bytes"]}
        for name, value in values.items():
            limit = getattr(self, name)
            if limit is not None and not value <= limit:
                found[name] = (float(value), float(limit))
        return found


def distance(misses: Mapping[str, tuple[float, float]]) -> float:
    """How far a file is from what it misses: the sum of the ratios, dB counted in tenths."""
    return sum((value - limit) / (DROP if name == "max_drop" else limit) for name, (value, limit) in misses.items())


def sentence(misses: Mapping[str, tuple[float, float]]) -> str:
    """What a file misses, in words."""
    words = {"max_drop": "loses {0:.3f} dB, {1:g} are allowed", "max_ms": "takes {0:.4g} ms, {1:g} are allowed"}
    words["max_bytes"] = "has {0:,.0f} bytes, {1:,.0f} are allowed"
    return "; ".join(words[name].format(*both) for name, both in misses.items())
