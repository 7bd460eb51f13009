"""How long a call takes: interleaved runs of several, or one after the other as MLPerf's single stream."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from sharpbit.system.progress import Progress

LEAST = 15  # samples of each call
ENOUGH = 5  # undisturbed samples, without which disturbed ones count too
PAUSE = 0.02  # seconds before a sample: threads of another engine may still spin
FRAMES, SECONDS = 1024, 60.0  # of MLPerf Mobile's single stream (MLCommons inference rules, "minimum duration")
_STAT = Path("/proc/stat")

Call = Callable[[], object]
Name = TypeVar("Name")


@dataclass(frozen=True)
class Latency:
    """Times of one call, in milliseconds.

    Attributes:
        median_ms: the median in milliseconds of the samples that count.
        p10_ms: a tenth of them took less.
        p90_ms: a tenth of them took more.
        min_ms: the fastest of all.
        samples: how many count.
        dropped: how many do not, because other processes used the processor meanwhile.
        disturbed: how many count although that was so; not known (0) where the system does not tell.
        seconds: the time that all samples took together.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    min_ms: float
    samples: int
    dropped: int
    disturbed: int
    seconds: float

    @property
    def spread(self) -> float:
        """Distance of the tenth and the ninetieth percentile, as a share of the median."""
        return (self.p90_ms - self.p10_ms) / self.median_ms


def interleaved(
    calls: Mapping[Name, Call],
    *,
    seconds: float = 3.0,
    progress: Progress | None = None,
    beside: Callable[[Name], object] | None = None,
) -> dict[Name, Latency]:
    """Time several calls in turn, so that what disturbs one disturbs all.

    A sample is one timed call, after a pause and one that is not timed.

    Args:
        calls: the calls by name; each has run at least once.
        seconds: the time of the samples of each; there are at least `LEAST` of each in any case.
        progress: called with the share that is done since the last time.
        beside: called before each sample and the call that is not timed, with the name.
    """
    samples: dict[Name, list[tuple[float, bool]]] = {name: [] for name in calls}
    done = 0.0
    while min(map(_share(seconds), samples.values()), default=1.0) < 1:
        for name, call in calls.items():
            if _share(seconds)(samples[name]) < 1:
                time.sleep(PAUSE)
                if beside:
                    beside(name)
                call()
                samples[name].append(_sample(call))
        share = sum(map(_share(seconds), samples.values())) / len(samples)
        if progress:
            progress(share - done)
        done = share
    return {name: _latency(found) for name, found in samples.items()}


def single_stream(
    call: Call, *, frames: int = FRAMES, seconds: float = SECONDS, progress: Progress | None = None
) -> Latency:
    """Time a call again and again, each when the one before it has ended; what counts is the 90th percentile.

    Every sample counts, disturbed or not.

    Args:
        call: which has run before.
        frames: calls at least.
        seconds: at least.
        progress: called with the share that is done since the last time.
    """
    samples: list[tuple[float, bool]] = []
    spent = done = 0.0
    while len(samples) < frames or spent < seconds:
        samples.append(_sample(call))
        spent += samples[-1][0]
        share = min(len(samples) / frames, spent / seconds if seconds else 1.0, 1.0)
        if progress and share - done > 0.01:
            progress(share - done)
            done = share
    return _latency(samples, drop=False)


def _share(seconds: float) -> Callable[[list[tuple[float, bool]]], float]:
    """How much of the wanted samples there are; disturbed ones count a quarter, so that it comes to an end."""

    def share(found: list[tuple[float, bool]]) -> float:
        weights = [0.25 if disturbed else 1.0 for _, disturbed in found]
        spent = sum(weight * taken for weight, (taken, _) in zip(weights, found, strict=True))
        return min(sum(weights) / LEAST, spent / seconds if seconds else 1.0, 1.0)

    return share


def _sample(call: Call) -> tuple[float, bool]:
    """Seconds of a call, and whether other processes used the processor meanwhile."""
    before = _others()
    started = time.perf_counter()
    call()
    taken = time.perf_counter() - started
    return taken, _others() - before > 0.02 + 0.05 * taken  # the system counts in steps of 0.01 s


def _others() -> float:
    """Seconds for which the processors worked for other processes; 0 where the system does not tell."""
    if not _STAT.exists():
        return 0.0
    user, nice, system, _, _, irq, soft, steal = map(int, _STAT.read_text().split("\n", 1)[0].split()[1:9])
    own = os.times()
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK") - own.user - own.system


def _latency(found: list[tuple[float, bool]], *, drop: bool = True) -> Latency:
    good = [time for time, disturbed in found if not disturbed]
    every = [time for time, _ in found]
    dropped = len(every) - len(good) if drop and len(good) >= ENOUGH else 0
    counted = good if dropped else every
    low, middle, high = np.percentile(counted, [10, 50, 90]) * 1e3
    return Latency(
        median_ms=float(middle),
        p10_ms=float(low),
        p90_ms=float(high),
        min_ms=min(every) * 1e3,
        samples=len(counted),
        dropped=dropped,
        disturbed=len(every) - len(good) - dropped,
        seconds=sum(every),
    )
