"""Enlarge many pictures: read ahead, go on past a bad one, and tell at the end."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sharpbit import image as images
from sharpbit.app.plan import STREAM, Job
from sharpbit.atomic import refuse_existing
from sharpbit.errors import ImageError, SharpbitError
from sharpbit.image import Picture
from sharpbit.upscaler import BICUBIC, Upscaler
from sharpbit.upscaling import Target, write

READ_AHEAD = 16 << 20  # pixels; larger pictures are read one at a time, to bound the memory


@dataclass
class Outcome:
    """What became of one picture. `status` is done, failed, skipped or planned."""

    input: str
    output: str
    status: str
    size: tuple[int, int] | None = None
    result_size: tuple[int, int] | None = None
    model: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Batch:
    """How a run goes.

    Attributes:
        upscaler: the opened models.
        target: how results are written.
        skip_existing: leave out pictures whose result exists.
        dry_run: only say what would be done.
        loaders: threads that read ahead.
        max_pixels: refuse larger pictures.
    """

    upscaler: Upscaler
    target: Target
    skip_existing: bool = False
    dry_run: bool = False
    loaders: int = 1
    max_pixels: int = images.MAX_PIXELS

    def run(self, jobs: Sequence[Job], progress: Callable[[float], object]) -> Iterator[Outcome]:
        """Do the jobs in order; each outcome comes when it is known. Nothing but a signal ends the run early.

        Args:
            jobs: from `sharpbit.app.plan.jobs`.
            progress: called with the number of pictures, or shares of one, that are done.
        """
        with ThreadPoolExecutor(self.loaders, "read") as pool:
            ahead: dict[int, Future[Picture]] = {}
            try:
                for number, job in enumerate(jobs):
                    for later in range(number, min(len(jobs), number + 1 + self.loaders)):
                        if later not in ahead and self._may_read_ahead(jobs[later], later == number):
                            ahead[later] = pool.submit(self._read, jobs[later])
                    load = ahead.pop(number).result if number in ahead else partial(self._read, job)
                    yield self._one(job, load, progress)
            finally:
                for future in ahead.values():
                    future.cancel()

    def _one(self, job: Job, load: Callable[[], Picture], progress: Callable[[float], object]) -> Outcome:
        started = time.monotonic()
        outcome = Outcome(str(job.source), str(job.target), "failed")
        reported = 0.0

        def report(share: float) -> None:
            nonlocal reported
            reported += share
            progress(share)

        try:
            if job.error:
                raise job.error
            if self._skips(job):
                outcome.status = "skipped"
                return outcome
            if isinstance(job.target, Path) and not self.target.overwrite:
                refuse_existing(job.target)
            picture = load()
            height, width = picture.pixels.shape[:2]
            model, out_height, out_width = self.upscaler.plan(height, width)
            outcome.size, outcome.result_size = (height, width), (out_height, out_width)
            outcome.model = model
            if self.dry_run:
                outcome.notes, outcome.status = picture.notes, "planned"
                return outcome
            notes = self._write(job, picture, report)
            outcome.notes = (*notes, "not enlarged: resized by bicubic") if model == BICUBIC else notes
            outcome.status = "done"
        except SharpbitError as error:
            outcome.error = str(error)
        except OSError as error:
            outcome.error = f"{job.target} cannot be written: {error.strerror or error}"
        except MemoryError:
            outcome.error = f"{job.source} does not fit into the memory; close other programs or shrink it first"
        finally:
            progress(1.0 - reported)
            outcome.seconds = round(time.monotonic() - started, 3)
        return outcome

    def _write(self, job: Job, picture: Picture, progress: Callable[[float], None]) -> tuple[str, ...]:
        if job.target != STREAM:
            return write(self.upscaler, picture, job.target, self.target, name=str(job.source), progress=progress)
        buffer = io.BytesIO()  # standard output gets a whole picture or nothing
        notes = write(self.upscaler, picture, buffer, self.target, name=str(job.source), progress=progress)
        sys.stdout.buffer.write(buffer.getbuffer())
        sys.stdout.buffer.flush()
        return notes

    def _read(self, job: Job) -> Picture:
        if job.error or self._skips(job):
            raise ImageError(f"{job.source} was not read")
        if job.source == STREAM:
            return images.read(sys.stdin.buffer, name="standard input", max_pixels=self.max_pixels)
        return images.read(Path(job.source), name=str(job.source), max_pixels=self.max_pixels)

    def _skips(self, job: Job) -> bool:
        return self.skip_existing and isinstance(job.target, Path) and job.target.exists()

    def _may_read_ahead(self, job: Job, is_next: bool) -> bool:
        """Whether another thread may read it: a file, and small unless it is the next to be enlarged.

        Pipes, which may be silent for ever, are read by the main thread, the only one that Ctrl-C interrupts.
        """
        if job.source == STREAM or not os.path.isfile(job.source):  # noqa: PTH113 - no error for impossible names
            return False
        if is_next:
            return True
        try:
            height, width = images.probe(Path(job.source), self.max_pixels)
        except SharpbitError:
            return False
        return height * width <= READ_AHEAD


def as_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome for machines."""
    return {key: value for key, value in vars(outcome).items() if value not in (None, ())}
