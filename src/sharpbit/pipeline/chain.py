"""Networks in a row: any factor out of the few that networks have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import prod

BICUBIC = "bicubic"  # what runs where no network is needed


@dataclass(frozen=True)
class Chain:
    """How an image gets its size: through networks in a row, and by bicubic where they do not give it exactly.

    Attributes:
        models: The names of the networks in the order in which they run; none where the result is not larger.
        scales: The upscaling factor of each network.
        height: The height of the result in pixels.
        width: The width of the result in pixels.
        resized: Whether bicubic brings what comes out of the networks to the size of the result.
    """

    models: tuple[str, ...]
    scales: tuple[int, ...]
    height: int
    width: int
    resized: bool

    @property
    def scale(self) -> int:
        """The factor of all the networks together."""
        return prod(self.scales)

    @property
    def model(self) -> str:
        """The names of the networks in one, or `bicubic` where there is none."""
        return "+".join(self.models) or BICUBIC

    def __str__(self) -> str:
        if not self.models:
            return BICUBIC if self.resized else "nothing to do"
        networks = [f"{model} (x{scale})" for model, scale in zip(self.models, self.scales, strict=True)]
        return ", then ".join([*networks, f"{BICUBIC} from x{self.scale} to the size"] if self.resized else networks)


def scales_for(factor: float, scales: Sequence[int]) -> tuple[int, ...]:
    """Which scales give at least a factor in a row: as few as can be, of them the least too large, small ones first.

    Small ones first take less time, and gave the better images on Set5 and Set14 (8 times: 2 and 4 give 23.95 dB, 4
    and 2 give 23.90, three times 2 gives 23.92, 3 and 3 give 23.91).

    Args:
        factor: The factor of both sides, above 0.
        scales: The scales of the networks that there are, each above 1.
    """
    count = 1
    while max(scales) ** count < factor:
        count += 1
    rows = [row for row in combinations_with_replacement(sorted(scales), count) if prod(row) >= factor]
    return min(rows, key=prod)
