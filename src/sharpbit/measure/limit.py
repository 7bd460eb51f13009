"""The most that a processor can do with 8 bits, measured beside what is measured against it.

AMX does half of its products, and loads tiles three times as slowly, while a neighbour on the same core is at work;
that changes within milliseconds. A limit that was measured once says little.
"""

from __future__ import annotations

import importlib
import os
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
            instruction_set: as a runtime prints it. That of another engine counts as the one here that it uses, and
                as the fastest one where it does not say.
            seconds: The seconds to measure for; nothing happens where there is no native engine.
        """
        if find_spec("sharpbit.runtime.native") is None:
            return
        native = importlib.import_module("sharpbit.runtime.native")
        if native.available():
            name = _here(instruction_set)
            self._found[native.printed(name)].append(float(native.peak(self.threads, seconds, name)))

    def of(self, instruction_set: str) -> tuple[str, float, float] | None:
        """The instruction set whose limit counts, the most that was measured, and the median; None: not measured."""
        if not self._found:
            return None
        native = importlib.import_module("sharpbit.runtime.native")
        name = native.printed(_here(instruction_set))
        found = self._found.get(name)
        return (name, max(found), median(found)) if found and max(found) > 0 else None


def _here(instruction_set: str) -> str | None:
    """The native engine's name of what a runtime prints as its instruction set; None: the fastest.

    OpenVINO and PyTorch print how wide registers are, such as `avx512_amx` or `avx2`. The same kernels for AVX2 run
    with VNNI where the processor has it, unless the variable of oneDNN keeps them from it.
    """
    native = importlib.import_module("sharpbit.runtime.native")
    if own := native.named(instruction_set):
        return str(own)
    kept = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    width = next((width for width in _KERNELS if width in instruction_set.lower()), "")
    able = [name for name in _KERNELS.get(width, ()) if (name, kept) != ("avx-vnni", "AVX2")]
    return next((name for name in able if name in native.instruction_sets()), None)


_KERNELS = {"amx": ("amx-int8",), "avx512": ("avx512-vnni",), "avx2": ("avx-vnni", "avx2")}
