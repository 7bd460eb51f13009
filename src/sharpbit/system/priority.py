"""Priorities of threads, which a library may not raise."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_THREADS = Path("/proc/self/task")


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Whatever runs inside, this thread and those that it starts have no real-time priority afterwards.

    SVT-AV1, where root runs it, gives both the highest one, and with it all that they start later. Two of them with
    work to do then keep everything else on a machine of two cores from running, even what would tell them to end.
    """
    if not (hasattr(os, "sched_getscheduler") and _THREADS.is_dir()):
        yield
        return
    policy, parameters, before = os.sched_getscheduler(0), os.sched_getparam(0), _threads()
    try:
        yield
    finally:
        for thread in (_threads() - before) | {0}:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, parameters)


def _threads() -> set[int]:
    return {int(path.name) for path in _THREADS.iterdir()}
