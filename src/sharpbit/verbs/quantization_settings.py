"""What a post-training method is to do, and what such a method is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from sharpbit.errors import UsageError
from sharpbit.model import Model
from sharpbit.quant.grid import WIDEST
from sharpbit.quant.sloped import GATE
from sharpbit.system.progress import Phases

BATCH = 8  # LR images that are calibrated on at once


@dataclass(frozen=True)
class QuantizationSettings:
    """What a post-training method is to do.

    Attributes:
        bits: bits of weights and activations; several, such as `(8, 6, 4)`, are the choice of mixed precision.
        refine: steps in which clipping ranges (and weights, if the method is `tuned`) learn from the float network.
        keep: globs over the names of layers that stay in float.
        budget: what mixed precision may cost: mean bits such as 5, or a share such as `40%` of the cost in 8 bits
            (`sharpbit.quant.ptq.bit_allocation`).
        batch: LR images that are calibrated on at once, 8 by default. Methods that move clipping ranges batch by batch,
            such as `adc`, clip more the more batches there are.
        asymmetric: whether 8-bit weights have a zero point too, as published; by default they have none, as engines
            multiply such in integers.
        gate: mean dB from float that `sloped` and `graph` are to reach with the least of their numbers in 16 bits.
        work: folder in which `graph` keeps what it has found, so that a killed run goes on; by default nothing is kept.
    """

    bits: int | tuple[int, ...] = 8
    refine: int = 0
    keep: tuple[str, ...] = ()
    budget: float | str | None = None
    batch: int = BATCH
    asymmetric: bool = False
    gate: float = GATE
    work: Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int):
            widths = tuple(dict.fromkeys(self.bits))
            object.__setattr__(self, "bits", widths if len(widths) != 1 else widths[0])
        for bits in self.widths:
            if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= WIDEST:
                raise UsageError(f"layers are rounded to 2 to {WIDEST} bits, not {bits!r}; --keep leaves some in float")
        if self.batch < 1:
            raise UsageError(f"at least one image is calibrated on at once, not {self.batch}")
        if not self.gate >= 0:
            raise UsageError(f"the gate is so many dB from float, 0 or more, not {self.gate:g}")
        if not self.widths:
            raise UsageError("no bits are given; give a width such as 8, or several to choose from")
        if len(self.widths) > 1 and self.budget is None:
            raise UsageError(
                f"the bits {', '.join(map(str, self.widths))} are a choice for each layer; say with --budget what all"
                " may cost, such as 5 (a mean of bits) or 40% (of the cost in 8 bits)"
            )
        if len(self.widths) == 1 and self.budget is not None:
            raise UsageError("a budget chooses between widths; give several, such as --bits 8,6,4")

    @property
    def widths(self) -> tuple[int, ...]:
        """The bits, or those to choose from."""
        return (self.bits,) if isinstance(self.bits, int) else self.bits


class PostTrainingMethod(Protocol):
    """Makes a quantized model of a float one."""

    def __call__(self, model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
        """The quantized model, which may still have to be frozen; `crops` `(N, 3, h, w)` uint8 are LR images."""
