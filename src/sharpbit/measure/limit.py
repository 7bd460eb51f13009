"""The most that a processor can do with 8 bits, measured beside what is measured against it.

AMX does half of its products, and loads tiles three times as slowly, while a neighbour on the same core is at work;
that changes within milliseconds. A limit that was measured once says little.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from importlib.util import find_spec
from statistics import median


class Limits:
    """Measured limits by instruction set, in 10^9 multiply-accumulate operations of bytes a second.

    Args:
        threads: The number of threads that work at the same time.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._found: dict[str, list[float]] = defaultdict(list)

    def measure(self, instruction_set: str, seconds: float) -> None:
        """Measure for about `seconds`.

        Args:
            instruction_set: as a runtime prints it. One that the native engine does not have, such as that of another
                engine, counts as the fastest one here.
            seconds: The seconds to measure for; nothing happens where there is no native engine.
        """
        if find_spec("sharpbit.runtime.native") is None:
            return
        native = importlib.import_module("sharpbit.runtime.native")
        if native.available():
            name = native.named(instruction_set)
            self._found[native.printed(name)].append(float(native.peak(self.threads, seconds, name)))

    def of(self, instruction_set: str) -> tuple[str, float, float] | None:
        """The instruction set whose limit counts, the most that was measured, and the median; None: not measured."""
        if not self._found:
            return None
        native = importlib.import_module("sharpbit.runtime.native")
        name = native.printed(native.named(instruction_set))
        found = self._found.get(name)
        return (name, max(found), median(found)) if found and max(found) > 0 else None
