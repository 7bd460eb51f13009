"""Engines that run a model file, one file each: tiles of a picture in, enlarged tiles out, in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sharpbit.catalog import Catalog

Tensor = NDArray[np.float32]


class Runtime(Protocol):
    """A model opened by an engine.

    Attributes:
        engine: name and version, for people.
        scale: upscaling factor.
        halo: surroundings that a tile needs, in input pixels; None if the network sees everything.
        tile: the only tile side (halo included) that the file accepts; None if any will do.
        precision: of the arithmetic that really runs.
        notes: what the user should hear of this file.
    """

    engine: str
    scale: int
    halo: int | None
    tile: int | None
    precision: str
    notes: tuple[str, ...]

    def __call__(self, tiles: Iterable[Tensor]) -> Iterator[Tensor]:
        """`(h, w, 3)` RGB float32 in `[0, 1]` each in; `(h * scale, w * scale, 3)` each out, in order, unclipped."""


class Opener(Protocol):
    """What a runtime module calls `RUNTIME`."""

    def __call__(self, path: Path, *, threads: int | None = None) -> Runtime:
        """Open a model file; `threads` None lets the engine use every core that the process may use."""


RUNTIMES: Mapping[str, Opener] = Catalog("sharpbit.runtime", "RUNTIME")


def available_cpus() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
