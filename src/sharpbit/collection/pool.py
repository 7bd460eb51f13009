"""Many processes of this machine, each on cores of its own; one that is killed costs nothing but its file's time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from sharpbit.collection.manifest import Row, row_of
from sharpbit.collection.places import Item
from sharpbit.collection.worker import Settings, Worker
from sharpbit.errors import SharpbitError, UsageError

_LOOK = 0.05  # seconds from look to look at the memory of a process
_MEMORY = Path("/proc/self/statm")
AHEAD = 3  # files that wait for each process
TRIES = 2  # how often a file that was alone in its process may have lost it

_worker: Worker | Exception | None = None


def in_processes(items: Iterable[Item], settings: Settings, workers: int) -> Iterator[Row]:
    """Upscale the files of a collection; each row comes when it is known, in any order.

    A process that ends by itself (killed by the system for its memory, or by a fault of a decoder) is replaced. What it
    and its neighbours worked on is done again, alone, so that the file that ends processes is found; that one fails.

    Args:
        items: The files.
        settings: How.
        workers: The number of processes.
    """
    if settings.max_memory is not None and not _MEMORY.exists():
        raise UsageError("the memory of a process cannot be limited on this system; leave --max-memory out")
    coming = iter(items)
    suspects: deque[tuple[Item, int]] = deque()  # with the number of processes that each has lost, alone
    while True:
        yield from _run(coming, settings, workers, suspects)
        if not suspects:
            return
        while suspects:
            yield from _one_by_one(suspects, settings)


def _run(coming: Iterator[Item], settings: Settings, workers: int, suspects: deque[tuple[Item, int]]) -> Iterator[Row]:
    """Work until there is nothing left, or a process has ended; then what was under way is suspected."""
    with _pool(settings, workers) as (pool, begun):
        under_way: dict[Future[Row], Item] = {}
        more = True
        while more or under_way:
            try:
                while more and len(under_way) < workers * (1 + AHEAD):
                    item = next(coming, None)
                    if item is None:
                        more = False
                        break
                    suspects.append((item, 0))  # a pool that has broken takes nothing more
                    future = _submit(pool, item)
                    under_way[future] = suspects.pop()[0]
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for each in done:
                    row = each.result()
                    del under_way[each]
                    yield row
            except BrokenProcessPool:
                if not begun.value:
                    raise UsageError(
                        "the processes end before they begin; the call must stand in the file of a script, below"
                        " 'if __name__ == \"__main__\":'"
                    ) from None
                yield from _finished(under_way, suspects)
                return


def _finished(under_way: dict[Future[Row], Item], suspects: deque[tuple[Item, int]]) -> Iterator[Row]:
    """What was done when a process ended; the rest becomes suspect."""
    for future, item in under_way.items():
        if future.done() and not future.cancelled() and future.exception() is None:
            yield future.result()
        else:
            suspects.append((item, 0))


def _one_by_one(suspects: deque[tuple[Item, int]], settings: Settings) -> Iterator[Row]:
    """Work on what was under way when a process ended, one file after another, until a process ends again."""
    with _pool(settings, 1) as (pool, _):
        while suspects:
            item, lost = suspects.popleft()
            try:
                yield _submit(pool, item).result()
            except BrokenProcessPool:
                if lost + 1 < TRIES:
                    suspects.append((item, lost + 1))
                else:
                    most = f"the limit of {settings.max_memory} MiB" if settings.max_memory else "the memory"
                    ended = (
                        f"the process that worked on {item.path} was ended {TRIES} times; perhaps {most} is too small"
                    )
                    yield row_of(item, "failed", error=f"{ended} for it")
                return


def _submit(pool: ProcessPoolExecutor, item: Item) -> Future[Row]:
    """Give a file to the pool; a process that starts for it does not hear Ctrl-C, not even before it can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        return pool.submit(_make, item)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_make, item)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _pool(settings: Settings, workers: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    """Processes, and the number of those that have begun."""
    context = multiprocessing.get_context("spawn")  # a fork would take the locks of our threads with it
    number = context.Value("i", 0)
    workers = min(workers, 61) if os.name == "nt" else workers  # as many handles can be waited for there
    pool = ProcessPoolExecutor(workers, context, _begin, (settings, number))
    try:
        yield pool, number
        pool.shutdown()
    except BaseException:  # a signal: results appear complete or not at all, so that nobody need wait for them
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _begin(settings: Settings, number: Any) -> None:
    """Prepare a process: its cores, its models, and what ends it."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us ends us
    with number.get_lock():
        mine = number.value
        number.value += 1
    threading.Thread(target=_watch, args=(settings.max_memory,), daemon=True).start()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        first = mine * settings.threads
        os.sched_setaffinity(0, {cores[(first + k) % len(cores)] for k in range(settings.threads)})
    try:
        _worker = Worker(settings)
    except SharpbitError as error:  # told with the first file: a pool would only say that it is broken
        _worker = error


def _watch(most: int | None) -> None:
    """End when the process that started this one is gone, or when this one holds more than `most` MiB of memory."""
    page = os.sysconf("SC_PAGE_SIZE") if most else 1
    parent = multiprocessing.parent_process()
    assert parent is not None
    while parent.is_alive():
        parent.join(_LOOK if most else None)
        if most and int(_MEMORY.read_text("ascii").split()[1]) * page > most << 20:
            break
    os._exit(1)


def _make(item: Item) -> Row:
    if isinstance(_worker, Exception):
        raise _worker
    assert _worker is not None
    return _worker.make(item)
