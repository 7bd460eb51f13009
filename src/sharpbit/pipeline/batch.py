"""Upscale many images: read ahead, and go on past a bad one."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sharpbit import image as image_io
from sharpbit.errors import OutputExists, SharpbitError
from sharpbit.image import ImageData
from sharpbit.pipeline.claims import Claims, claim_of
from sharpbit.pipeline.jobs import Job
from sharpbit.pipeline.ledger import Outcome
from sharpbit.pipeline.strip_queue import Handover
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.walk import STREAM
from sharpbit.pipeline.writing import Target, Written, losses, write
from sharpbit.system.atomic import refuse_existing
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress

POLL = 0.2  # seconds until what other processes have claimed is looked at again
READ_AHEAD = 16 << 20  # pixels; larger images go through one at a time, to bound the memory


@dataclass
class StageTimes:
    """Where the time went, in seconds.

    The network runs in the main thread, which waits where reading ahead or writing behind is slower; the threads that
    decode and encode work at the same time.
    """

    decode: float = 0.0
    network: float = 0.0
    encode: float = 0.0
    waiting: float = 0.0


@dataclass
class _Begun:
    """An image that is on its way: its job, its outcome so far, when it began, and its result being written."""

    job: Job
    outcome: Outcome
    started: float
    written: Future[Written] | None = None
    stream: io.BytesIO | None = None  # standard output gets a whole image or nothing


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
        before: _Begun | None = None
        images = [number for number, job in enumerate(jobs) if job.is_image]
        elsewhere: list[Job] = []
        with (
            Claims() as claims,
            ThreadPoolExecutor(self.loaders, "read") as readers,
            ThreadPoolExecutor(1, "write") as writer,
        ):
            ahead: dict[int, Future[ImageData | None]] = {}
            try:
                for number, job in enumerate(jobs):
                    if job.ignored is not None:
                        progress(1.0)
                        yield Outcome(str(job.source), "", "ignored", reason=job.ignored)
                        continue
                    first = bisect_left(images, number)
                    for later in images[first : first + 1 + self.loaders]:
                        if later not in ahead and self._may_read_ahead(jobs[later], later == number):
                            ahead[later] = readers.submit(self._read_ahead, jobs[later])
                    load = ahead.pop(number).result if number in ahead else (lambda: None)
                    begun = self._begin(job, load, claims, writer, progress)
                    if begun is None:
                        elsewhere.append(job)
                        continue
                    if before is not None:
                        yield self._end(before, claims)
                    before = begun
                    if _is_large(begun.outcome):  # two of them need not be in memory at a time
                        before = None
                        yield self._end(begun, claims)
                if before is not None:
                    yield self._end(before, claims)
                    before = None
                for begun in self._wait_for(elsewhere, claims, writer, progress):
                    before = begun
                    yield self._end(begun, claims)
                    before = None
            except KeyboardInterrupt:
                if before is not None:  # complete but for its last strips, which are being written
                    yield self._end(before, claims)
                raise
            finally:
                for future in ahead.values():
                    future.cancel()

    def _wait_for(
        self, jobs: list[Job], claims: Claims, writer: ThreadPoolExecutor, progress: Progress
    ) -> Iterator[_Begun]:
        """What other processes had claimed: it is skipped when they have made it, and made if they were killed."""
        while jobs:
            left = []
            for job in jobs:
                begun = self._begin(job, lambda: None, claims, writer, progress)
                if begun is None:
                    left.append(job)
                    continue
                yield begun
            if len(left) == len(jobs):
                time.sleep(POLL)
            jobs = left

    def _begin(
        self,
        job: Job,
        load: Callable[[], ImageData | None],
        claims: Claims,
        writer: ThreadPoolExecutor,
        progress: Progress,
    ) -> _Begun | None:
        """Take an image through the network; its strips go to `writer` as they come. None: another process has it."""
        begun = _Begun(job, Outcome(str(job.source), str(job.target), "failed"), time.monotonic())
        outcome, reported = begun.outcome, 0.0

        def report(share: float) -> None:
            nonlocal reported
            reported += share
            progress(share)

        with _told(outcome):
            if job.error:
                raise job.error
            outcome.reason = self._reason_to_skip(job)
            if outcome.reason is None and self.skip_existing and isinstance(job.target, Path) and not self.dry_run:
                if not claims.take(job.target):
                    return None
                outcome.reason = self._reason_to_skip(job)  # what was made until the claim was there
            if outcome.reason is not None:
                outcome.status = "skipped"
                if isinstance(job.target, Path):
                    claims.tidy(job.target)
            else:
                if isinstance(job.target, Path) and not self.target.overwrite:
                    refuse_existing(job.target)
                with self._waiting():
                    image = load() or self._read(job)
                height, width = image.pixels.shape[:2]
                chain = self.upscaler.chain_of(image)
                outcome.why = image.choice.why if image.choice else None
                outcome.model, outcome.models, outcome.plan = chain.model, chain.models, str(chain)
                outcome.size, outcome.result_size = (height, width), (chain.height, chain.width)
                lost = losses(self.upscaler, image, job.target, self.target)
                if self.dry_run:
                    outcome.notes, outcome.status = (*image.notes, *self.upscaler.losses(image), *lost), "planned"
                elif image.frames > 1 and self._holds_all(image, job):
                    begun.written = self._sequence(job, image, report)
                else:
                    self._network(job, image, begun, writer, report)
        progress(1.0 - reported)
        return begun

    def _network(
        self,
        job: Job,
        image: ImageData,
        begun: _Begun,
        writer: ThreadPoolExecutor,
        progress: Progress,
    ) -> None:
        begun.stream = io.BytesIO() if job.target == STREAM else None
        strips = Handover()
        error: BaseException | None = None
        made = self.upscaler.strips(image, str(job.source), progress)
        try:
            begun.written = writer.submit(self._write, strips, image, begun.stream or job.target)
            while True:
                started = time.perf_counter()
                strip = next(made, None)
                self.spent.network += time.perf_counter() - started
                if strip is None:
                    break
                with self._waiting():
                    if not strips.put(strip):
                        return  # the reason comes with `written`
        except SharpbitError as caught:
            error = caught
        except BaseException as caught:
            error = caught
            raise
        finally:
            strips.end(error)

    def _holds_all(self, image: ImageData, job: Job) -> bool:
        from sharpbit.pipeline.sequence import is_sequence  # few images need it, and it takes time to load

        return is_sequence(image, job.target, self.target)

    def _sequence(self, job: Job, image: ImageData, progress: Progress) -> Future[Written]:
        """All frames of an animation, or pages; each is written before the next."""
        from sharpbit.pipeline.sequence import write_sequence

        started, done = time.perf_counter(), Future[Written]()
        source, target = Path(job.source), Path(job.target)
        written = write_sequence(self.upscaler, image, source, target, self.target, progress, self.max_pixels)
        self.spent.encode += written.seconds
        self.spent.network += time.perf_counter() - started - written.seconds
        done.set_result(written)
        return done

    def _write(self, strips: Handover, image: ImageData, target: Any) -> Written:
        try:
            written = write(strips, self.upscaler, image, target, self.target)
        finally:
            strips.leave()
        self.spent.encode += written.seconds
        return written

    def _end(self, begun: _Begun, claims: Claims) -> Outcome:
        """Wait until a result has been written."""
        outcome = begun.outcome
        with contextlib.ExitStack() as stack:
            if isinstance(begun.job.target, Path):
                stack.callback(claims.release, begun.job.target)
            self._finish(begun, outcome)
        outcome.seconds = round(time.monotonic() - begun.started, 3)
        return outcome

    def _finish(self, begun: _Begun, outcome: Outcome) -> None:
        if begun.written is not None:
            with _told(outcome):
                try:
                    with self._waiting():
                        notes = begun.written.result().notes
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
    def _waiting(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent.waiting += time.perf_counter() - started

    def _read_ahead(self, job: Job) -> ImageData | None:
        """An image, or None where it will most likely not be needed."""
        claimed = self.skip_existing and isinstance(job.target, Path) and claim_of(job.target).exists()
        return None if claimed or self._reason_to_skip(job) is not None else self._read(job)

    def _read(self, job: Job) -> ImageData:
        started = time.perf_counter()
        try:
            if job.source == STREAM:
                image = image_io.read(sys.stdin.buffer, name="standard input", max_pixels=self.max_pixels)
            else:
                image = image_io.read(Path(job.source), name=str(job.source), max_pixels=self.max_pixels)
            return self.upscaler.chosen(image)
        finally:
            self.spent.decode += time.perf_counter() - started

    def _reason_to_skip(self, job: Job) -> str | None:
        """Why an image is left out, if it is.

        Raises:
            OutputExists: What is there was made by another model or scale, so that it is not what was asked for.
        """
        if job.found and (made := image_io.made_by(Path(job.source))):
            return f"it is a result of sharpbit ({made}); name the file itself to upscale it again"
        if not (self.skip_existing and isinstance(job.target, Path) and job.target.exists()):
            return None
        made = image_io.made_by(job.target)
        if made is not None and not self._makes(made, job):
            raise OutputExists(
                f"{job.target} was made by {made}, which is not what is asked for now; give --overwrite without"
                " --skip-existing to replace it, or another folder with -o"
            )
        return "its result exists"

    def _makes(self, made: str, job: Job) -> bool:
        """Whether this run would make a result with that mark; an image that cannot be read is not told apart."""
        if job.source == STREAM or not os.path.isfile(job.source):  # noqa: PTH113 - no error for impossible names
            return True
        try:
            size = image_io.probe(Path(job.source), self.max_pixels)
        except SharpbitError:
            return True
        return self.upscaler.makes(made, *size)

    def _may_read_ahead(self, job: Job, is_next: bool) -> bool:
        """Whether another thread may read it: a file, and small unless it is the next to be upscaled.

        Pipes, which may be silent for ever, are read by the main thread, the only one that Ctrl-C interrupts.
        """
        if job.error or job.source == STREAM or not os.path.isfile(job.source):  # noqa: PTH113 - names may be impossible
            return False
        if is_next:
            return True
        try:
            height, width = image_io.probe(Path(job.source), self.max_pixels)
        except SharpbitError:
            return False
        return height * width <= READ_AHEAD


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
