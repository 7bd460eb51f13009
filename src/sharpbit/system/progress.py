"""How long work reports how far it has come: one function for a loop, one for work in several phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm  # takes a tenth of a cold start to load

Progress = Callable[[float], object]
"""Called with the number, or the share, that was done since the last call; `tqdm.update` is one."""

Phases = Callable[[str, int, int], object]
"""Called with the name of a phase, how much of it is done, and how much there is."""


def counted(phases: Phases | None, name: str, total: int) -> Progress:
    """The progress of one phase of `total` steps, as a loop reports it."""
    done = 0.0

    def count(more: float) -> None:
        nonlocal done
        done += more
        if phases:
            phases(name, min(int(done), total), total)

    return count


def shown(bar: tqdm[Any]) -> Phases:
    """Phases as one line of a bar, whatever is being done."""

    def show(name: str, done: int, total: int) -> None:
        bar.desc, bar.total = f"{name}: ", total
        bar.update(done - bar.n)

    return show
