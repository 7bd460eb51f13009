"""Upscale many images: read ahead, and go on past a bad one."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sharpbit import image as image_io
from sharpbit.errors import OutputExists, SharpbitError
from sharpbit.image import ImageData
from sharpbit.pipeline.claims import Claims
from sharpbit.pipeline.jobs import Job
from sharpbit.pipeline.ledger import Outcome, StageTimes
from sharpbit.pipeline.making import Begun, Making
from sharpbit.pipeline.reading import READ_AHEAD, Reading
from sharpbit.pipeline.skipping import Skipping
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.writing import Target, Written
from sharpbit.system.atomic import refuse_existing
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress

POLL = 0.2  # seconds until what other processes have claimed is looked at again


@dataclass(frozen=True)
class _Run:
    """What the images of a run go through."""

    claims: Claims
    skipping: Skipping
    reading: Reading
    making: Making
    progress: Progress


@dataclass(frozen=True)
class Batch:
    """How a run goes.

    Attributes:
        upscaler: The opened models.
        target: The way in which results are written.
        skip_existing: Whether images whose result exists are left out.
        dry_run: Whether nothing is done, and only reported what would be.
        loaders: The number of threads that read ahead.
        max_pixels: The most pixels that an image may have.
        spent: The time that each stage of the run took.
    """

    upscaler: Upscaler
    target: Target
    skip_existing: bool = False
    dry_run: bool = False
    loaders: int = 1
    max_pixels: int = image_io.MAX_PIXELS
    spent: StageTimes = field(default_factory=StageTimes)

    def run(self, jobs: Sequence[Job], progress: Progress) -> Iterator[Outcome]:
        """Do the jobs in order; each outcome comes when it is known. Nothing but a signal ends the run early.

        What is to be ignored comes at its turn, while the image before it may still be being written.

        While the network works on an image, others are read ahead and the one before it is written.

        Args:
            jobs: The images and where their results go, see `sharpbit.pipeline.jobs.jobs`.
            progress: Called with the number of images, or the share of one, that is done since the last call.
        """
        before: Begun | None = None
        skipping = Skipping(self.upscaler, self.skip_existing, self.max_pixels)
        reading = Reading(jobs, skipping, self.loaders, self.spent)
        elsewhere: list[Job] = []
        with (
            Claims() as claims,
            ThreadPoolExecutor(self.loaders, "read") as readers,
            ThreadPoolExecutor(1, "write") as writer,
        ):
            making = Making(self.upscaler, self.target, reading, writer, self.spent, self.max_pixels)
            run = _Run(claims, skipping, reading, making, progress)
            try:
                for number, job in enumerate(jobs):
                    if job.ignored is not None:
                        progress(1.0)
                        yield Outcome(str(job.source), "", "ignored", reason=job.ignored)
                        continue
                    begun = self._begin(job, reading.turn(number, readers), run)
                    if begun is None:
                        elsewhere.append(job)
                        continue
                    if before is not None:
                        yield self._end(before, run)
                    before = begun
                    if _is_large(begun.outcome):  # two of them need not be in memory at a time
                        before = None
                        yield self._end(begun, run)
                if before is not None:
                    yield self._end(before, run)
                    before = None
                for begun in self._wait_for(elsewhere, run):
                    before = begun
                    yield self._end(begun, run)
                    before = None
            except KeyboardInterrupt:
                if before is not None:  # complete but for its last strips, which are being written
                    yield self._end(before, run)
                raise
            finally:
                reading.cancel()

    def _wait_for(self, jobs: list[Job], run: _Run) -> Iterator[Begun]:
        """What other processes had claimed: it is skipped when they have made it, and made if they were killed."""
        while jobs:
            left = []
            for job in jobs:
                begun = self._begin(job, lambda: None, run)
                if begun is None:
                    left.append(job)
                    continue
                yield begun
            if len(left) == len(jobs):
                time.sleep(POLL)
            jobs = left

    def _begin(self, job: Job, load: Callable[[], ImageData | None], run: _Run) -> Begun | None:
        """Take an image through the network. None: another process has it."""
        begun = Begun(job, Outcome(str(job.source), str(job.target), "failed"), time.monotonic())
        outcome, reported = begun.outcome, 0.0

        def report(share: float) -> None:
            nonlocal reported
            reported += share
            run.progress(share)

        with _told(outcome):
            if job.error:
                raise job.error
            outcome.reason = run.skipping.reason(job)
            if outcome.reason is None and self.skip_existing and isinstance(job.target, Path) and not self.dry_run:
                if not run.claims.take(job.target):
                    return None
                outcome.reason = run.skipping.reason(job)  # what was made until the claim was there
            if outcome.reason is not None:
                outcome.status = "skipped"
                if isinstance(job.target, Path):
                    run.claims.tidy(job.target)
            else:
                if isinstance(job.target, Path) and not self.target.overwrite:
                    refuse_existing(job.target)
                with run.making.waiting():
                    image = load() or run.reading.read(job)
                run.making.begin(begun, image, report, dry_run=self.dry_run)
        run.progress(1.0 - reported)
        return begun

    def _end(self, begun: Begun, run: _Run) -> Outcome:
        """Wait until a result has been written."""
        outcome = begun.outcome
        with contextlib.ExitStack() as stack:
            if isinstance(begun.job.target, Path):
                stack.callback(run.claims.release, begun.job.target)
            if begun.written is not None:
                with _told(outcome):
                    self._finish(begun, begun.written, run)
        outcome.seconds = round(time.monotonic() - begun.started, 3)
        return outcome

    def _finish(self, begun: Begun, written: Future[Written], run: _Run) -> None:
        outcome = begun.outcome
        try:
            with run.making.waiting():
                notes = written.result().notes
        except OutputExists:
            if not self.skip_existing:
                raise
            outcome.status, outcome.reason = "skipped", "another run made its result meanwhile"
            return
        if begun.stream is not None:
            sys.stdout.buffer.write(begun.stream.getbuffer())
            sys.stdout.buffer.flush()
        outcome.notes, outcome.status = notes, "done"


@contextlib.contextmanager
def _told(outcome: Outcome) -> Iterator[None]:
    """Make what goes wrong with one image a sentence of its outcome."""
    try:
        yield
    except SharpbitError as error:
        outcome.error = str(error)
    except OSError as error:
        outcome.error = f"{outcome.output} cannot be written: {error.strerror or error}"
    except MemoryError:
        outcome.error = f"{outcome.input} does not fit into the memory; close other programs or shrink it first"


def _is_large(outcome: Outcome) -> bool:
    return outcome.size is not None and outcome.size[0] * outcome.size[1] > READ_AHEAD


__getattr__ = old_names(__name__, {"Spent": "StageTimes"})
