"""How long work reports how far it has come: one function for a loop, one for work in phases, a clock for the rest."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def timed(what: str, *, hidden: bool = False, delay: float = 1.0) -> Iterator[None]:
    """Within, a line on the terminal has the time that one piece of work without steps has taken, second by second.

    Args:
        what: the work, such as `exporting`.
        hidden: whether there is no such line; by default there is one, on a terminal alone.
        delay: seconds until it shows itself; default: 1.
    """
    started, done = time.time(), threading.Event()

    def show() -> None:
        if hidden or done.wait(delay):
            return
        from tqdm import tqdm

        name = what.replace("{", "{{").replace("}", "}}")
        with tqdm(disable=None, bar_format=f"{name} [{{elapsed}}]", leave=False) as bar:
            bar.start_t = started
            while not done.wait(1.0):
                bar.refresh()

    thread = threading.Thread(target=show, name="sharpbit-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
