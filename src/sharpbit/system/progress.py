"""Progress: a word for what is being done, how much of it is done, and how much there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tqdm import tqdm

Progress = Callable[[str, int, int], object]


def shown(bar: tqdm[Any]) -> Progress:
    """Progress as one line of a bar, whatever is being done."""

    def tell(word: str, done: int, total: int) -> None:
        bar.desc, bar.total = f"{word}: ", total
        bar.update(done - bar.n)

    return tell
