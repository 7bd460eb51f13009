"""One image through the network and into its file, which another thread writes while the network goes on."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharpbit.errors import SharpbitError
from sharpbit.image import ImageData
from sharpbit.pipeline.jobs import Job
from sharpbit.pipeline.ledger import Outcome, StageTimes
from sharpbit.pipeline.reading import Reading
from sharpbit.pipeline.samples import Strip
from sharpbit.pipeline.strip_queue import Handover
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.walk import STREAM
from sharpbit.pipeline.writing import Target, Written, holds_all, losses, write
from sharpbit.system.progress import Progress


@dataclass
class Begun:
    """An image that is on its way: its job, its outcome so far, when it began, and its result being written."""

    job: Job
    outcome: Outcome
    started: float
    written: Future[Written] | None = None
    stream: io.BytesIO | None = None  # standard output gets a whole image or nothing


@dataclass(frozen=True)
class Making:
    """What makes results.

    Attributes:
        upscaler: The opened models.
        target: The way in which results are written.
        reading: What images are read with.
        writer: What writes in another thread.
        spent: The time that each stage takes.
        max_pixels: The most pixels that an image may have.
    """

    upscaler: Upscaler
    target: Target
    reading: Reading
    writer: Executor
    spent: StageTimes
    max_pixels: int

    def begin(self, begun: Begun, image: ImageData, progress: Progress, *, dry_run: bool) -> None:
        """Take an image through the network; its strips go to the writer as they come.

        Args:
            begun: Where its outcome and its result are noted.
            image: The image.
            progress: Called with the share of the image that is done since the last call.
            dry_run: Whether only what would be done is noted.
        """
        job, outcome, chain = begun.job, begun.outcome, self.upscaler.chain_of(image)
        outcome.why = image.choice.why if image.choice else None
        outcome.model, outcome.models, outcome.plan = chain.model, chain.models, str(chain)
        height, width = image.pixels.shape[:2]
        outcome.size, outcome.result_size = (height, width), (chain.height, chain.width)
        lost = losses(self.upscaler, image, job.target, self.target)
        all_frames = holds_all(image, job.target, self.target)
        if dry_run:
            notes = image.notes if all_frames else image.still_notes
            outcome.notes, outcome.status = (*notes, *self.upscaler.losses(image), *lost), "planned"
            return
        begun.stream = io.BytesIO() if job.target == STREAM else None
        if all_frames:
            begun.written = self._sequence(begun, image, progress)
        else:
            self._network(begun, image, progress)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time that is spent here as waiting."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent.waiting += time.perf_counter() - started

    def _network(self, begun: Begun, image: ImageData, progress: Progress) -> None:
        strips: Handover[Strip] = Handover()
        error: BaseException | None = None
        made = self.upscaler.strips(image, str(begun.job.source), progress)
        try:
            begun.written = self.writer.submit(self._write, strips, image, _place(begun))
            while True:
                started = time.perf_counter()
                strip = next(made, None)
                self.spent.network += time.perf_counter() - started
                if strip is None:
                    break
                with self.waiting():
                    if not strips.put(strip):
                        return  # the reason comes with `written`
        except SharpbitError as caught:
            error = caught
        except BaseException as caught:
            error = caught
            raise
        finally:
            strips.end(error)

    def _sequence(self, begun: Begun, image: ImageData, progress: Progress) -> Future[Written]:
        """All frames of an animation, or pages; each is written before the next."""
        from sharpbit.pipeline.sequence import write_sequence  # few images need it, and it takes time to load

        started, done = time.perf_counter(), Future[Written]()
        source, target = self.reading.source(begun.job), _place(begun)
        written = write_sequence(self.upscaler, image, source, target, self.target, progress, self.max_pixels)
        self.spent.encode += written.seconds
        self.spent.network += time.perf_counter() - started - written.seconds
        done.set_result(written)
        return done

    def _write(self, strips: Handover[Strip], image: ImageData, target: Any) -> Written:
        try:
            written = write(strips, self.upscaler, image, target, self.target)
        finally:
            strips.leave()
        self.spent.encode += written.seconds
        return written


def _place(begun: Begun) -> Any:
    """Where a result is written to."""
    return begun.stream if begun.stream is not None else Path(begun.job.target)
