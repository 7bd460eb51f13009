"""The images that wait, run and are done: in fair turns for all clients, within limits, for a limited time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sharpbit.serve.job import CANCELLED, OVER, QUEUED, RUNNING, Job
from sharpbit.serve.limits import Limits, Refused

AGAIN = 2  # seconds after which a place may be free


class Queue:
    """Jobs in memory, and the threads that work on them.

    Args:
        work: What is called with a job, and ends it.
        limits: How many, and for how long.
        workers: The number of threads.
        forget: What is called with a job that is removed, by default nothing.
    """

    def __init__(
        self,
        work: Callable[[Job], None],
        limits: Limits,
        workers: int,
        forget: Callable[[Job], object] = lambda job: None,
    ) -> None:
        self._work, self._limits, self._forget = work, limits, forget
        self._jobs: dict[str, Job] = {}
        self._lock = threading.RLock()
        self._threads = ThreadPoolExecutor(workers, "sharpbit-serve")
        self._served: dict[str, float] = {}  # when each address had its turn
        self.ended: dict[str, int] = dict.fromkeys(OVER, 0)
        self.spent: dict[str, float] = {}
        self.pixels = 0

    def check(self, address: str) -> None:
        """Refuse one more job of an address, where that is too much.

        Raises:
            Refused: The queue or the storage is full, or the address has too many jobs.
        """
        with self._lock:
            self.expire()
            limits, jobs = self._limits, list(self._jobs.values())
            if sum(job.state == QUEUED for job in jobs) >= limits.queue:
                raise Refused(429, f"{limits.queue} images wait already, the most that may; try again soon", AGAIN)
            own = sum(job.address == address and job.state not in OVER for job in jobs)
            if own >= limits.per_client:
                raise Refused(
                    429, f"{own} of your images wait or run already, the most that may; try again soon", AGAIN
                )
            if len(jobs) >= limits.kept or self.stored >= limits.stored:
                raise Refused(
                    429,
                    f"the server keeps {len(jobs)} images with {self.stored / 2**20:.0f} MiB, the most that it may;"
                    " delete results that you have, or wait until they expire",
                    60,
                )

    def add(self, job: Job) -> Job:
        """Put a job at the end of the queue.

        Raises:
            Refused: As `check` does.
        """
        with self._lock:
            self.check(job.address)
            self._jobs[job.id] = job
        self._threads.submit(self._next)
        return job

    def get(self, name: str) -> Job:
        """The job with this id.

        Raises:
            Refused: There is none.
        """
        with self._lock:
            if name not in self._jobs:
                raise Refused(404, "there is no such job; its result has expired, or it was deleted")
            return self._jobs[name]

    def of(self, client: str) -> list[Job]:
        """The jobs of a client, in the order in which they came."""
        with self._lock:
            return [job for job in self._jobs.values() if client and job.client == client]

    def place(self, job: Job) -> int | None:
        """The place of a job in the queue, from 1; None where it does not wait."""
        with self._lock:
            waiting = [other.id for other in self._jobs.values() if other.state == QUEUED]
            return waiting.index(job.id) + 1 if job.id in waiting else None

    def remove(self, job: Job) -> None:
        """Forget a job and all that it keeps; one that runs ends soon."""
        with self._lock:
            if self._jobs.pop(job.id, None) is None:
                return
            job.stopping.set()
            self._forget(job)
            if job.state == QUEUED:
                job.ends(CANCELLED)
                self.ended[CANCELLED] += 1
            if job.state != RUNNING:
                job.let_go()

    def expire(self) -> None:
        """Forget the jobs whose time is over."""
        oldest = time.time() - self._limits.keep
        with self._lock:
            for job in list(self._jobs.values()):
                if job.state in OVER and job.ended < oldest:
                    self.remove(job)

    def close(self) -> None:
        """Cancel and forget everything, and wait for the threads."""
        with self._lock:
            for job in list(self._jobs.values()):
                self.remove(job)
        self._threads.shutdown(wait=True, cancel_futures=True)

    @property
    def stored(self) -> int:
        """The bytes that all jobs keep; a source that several share counts for each."""
        with self._lock:
            return sum(job.stored for job in self._jobs.values())

    def count(self, state: str) -> int:
        """How many jobs are in a state."""
        with self._lock:
            return sum(job.state == state for job in self._jobs.values())

    def _next(self) -> None:
        """Work on the next job: of the address whose last turn is longest ago, the one that came first."""
        with self._lock:
            waiting = [job for job in self._jobs.values() if job.state == QUEUED]
            if not waiting:
                return
            job = min(waiting, key=lambda job: self._served.get(job.address, 0.0))
            self._served = {job.address: self._served.get(job.address, 0.0) for job in waiting}
            self._served[job.address] = time.monotonic()
            job.state = RUNNING
        try:
            self._work(job)
        finally:
            with self._lock:
                self._note(job)
                if job.id not in self._jobs:
                    job.let_go()

    def _note(self, job: Job) -> None:
        self.ended[job.state] += 1
        for stage, seconds in job.seconds.items():
            self.spent[stage] = self.spent.get(stage, 0.0) + seconds
        size: dict[str, Any] = job.facts.get("result_size") or {"width": 0, "height": 0}
        self.pixels += size["width"] * size["height"] if job.result else 0
