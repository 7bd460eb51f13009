"""Images on their way in: some are read by other threads while the network works on the one before."""

from __future__ import annotations

import os
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path

from sharpbit import image as image_io
from sharpbit.errors import SharpbitError
from sharpbit.image import ImageData
from sharpbit.image.source import Source, read_all
from sharpbit.pipeline.claims import claim_of
from sharpbit.pipeline.jobs import Job
from sharpbit.pipeline.ledger import StageTimes
from sharpbit.pipeline.skipping import Skipping
from sharpbit.pipeline.walk import STREAM

READ_AHEAD = 16 << 20  # pixels; larger images go through one at a time, to bound the memory
STDIN = "standard input"


class Reading:
    """Reads the images of a run.

    Args:
        jobs: The images in their order.
        skipping: What is left out.
        loaders: How many images are read ahead.
        spent: The time that each stage takes.
    """

    def __init__(self, jobs: Sequence[Job], skipping: Skipping, loaders: int, spent: StageTimes) -> None:
        self._jobs, self._skipping, self._loaders, self._spent = jobs, skipping, loaders, spent
        self._images = [number for number, job in enumerate(jobs) if job.is_image]
        self._ahead: dict[int, Future[ImageData | None]] = {}
        self._stdin = b""

    def turn(self, number: int, readers: Executor) -> Callable[[], ImageData | None]:
        """Begin to read what follows; what gives the image whose turn it is, if it was read ahead.

        Args:
            number: The place of its job.
            readers: What reads in other threads.
        """
        first = bisect_left(self._images, number)
        for later in self._images[first : first + 1 + self._loaders]:
            if later not in self._ahead and self._may_read_ahead(self._jobs[later], later == number):
                self._ahead[later] = readers.submit(self._read_ahead, self._jobs[later])
        return self._ahead.pop(number).result if number in self._ahead else lambda: None

    def read(self, job: Job) -> ImageData:
        """Read an image here and now, with the family of models that suits it."""
        started, limit = time.perf_counter(), self._skipping.max_pixels
        try:
            if job.source == STREAM:
                self._stdin = read_all(sys.stdin.buffer, STDIN, limit)
            name = STDIN if job.source == STREAM else str(job.source)
            return self._skipping.upscaler.chosen(image_io.read(self.source(job), name=name, max_pixels=limit))
        finally:
            self._spent.decode += time.perf_counter() - started

    def source(self, job: Job) -> Source:
        """What an image can be read from again, also where it came from standard input."""
        return self._stdin if job.source == STREAM else Path(job.source)

    def cancel(self) -> None:
        """Read nothing more ahead."""
        for future in self._ahead.values():
            future.cancel()

    def _read_ahead(self, job: Job) -> ImageData | None:
        """An image, or None where it will most likely not be needed."""
        skipping = self._skipping
        claimed = skipping.skip_existing and isinstance(job.target, Path) and claim_of(job.target).exists()
        return None if claimed or skipping.reason(job) is not None else self.read(job)

    def _may_read_ahead(self, job: Job, is_next: bool) -> bool:
        """Whether another thread may read it: a file, and small unless it is the next to be upscaled.

        Pipes, which may be silent for ever, are read by the main thread, the only one that Ctrl-C interrupts.
        """
        if job.error or job.source == STREAM or not os.path.isfile(job.source):  # noqa: PTH113 - names may be impossible
            return False
        if is_next:
            return True
        try:
            height, width = image_io.probe(Path(job.source), self._skipping.max_pixels)
        except SharpbitError:
            return False
        return height * width <= READ_AHEAD
