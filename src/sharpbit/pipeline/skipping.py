"""Which images are left out: results of sharpbit that lie in a folder, and images whose result is there already."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from sharpbit import image as image_io
from sharpbit.errors import OutputExists, SharpbitError
from sharpbit.pipeline.jobs import Job
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.walk import STREAM

_Stamp = tuple[int, int, int]  # which file it is, how long, and when it was written


@dataclass(frozen=True)
class Skipping:
    """What a run leaves out.

    Attributes:
        upscaler: The opened models.
        skip_existing: Whether images whose result exists are left out.
        max_pixels: The most pixels that an image may have.
    """

    upscaler: Upscaler
    skip_existing: bool
    max_pixels: int
    _marks: dict[Path, tuple[_Stamp, str | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reason(self, job: Job) -> str | None:
        """Why an image is left out, if it is.

        Raises:
            OutputExists: What is there was made by another model or scale, so that it is not what was asked for.
        """
        if job.found and (made := self._made_by(Path(job.source))):
            return f"it is a result of sharpbit ({made}); name the file itself to upscale it again"
        if not (self.skip_existing and isinstance(job.target, Path) and job.target.exists()):
            return None
        made = self._made_by(job.target)
        if made is not None and not self._makes(made, job):
            raise OutputExists(
                f"{job.target} was made by {made}, which is not what is asked for now; give --overwrite without"
                " --skip-existing to replace it, or another folder with -o"
            )
        return "its result exists"

    def _made_by(self, path: Path) -> str | None:
        """The mark of a file, read once for as long as the file stays what it is."""
        try:
            status = path.stat()
        except OSError:
            return None
        stamp = status.st_ino, status.st_size, status.st_mtime_ns
        with self._lock:  # what reads ahead asks at the same time
            known = self._marks.get(path)
            if known is None or known[0] != stamp:
                known = self._marks[path] = stamp, image_io.made_by(path)
        return known[1]

    def _makes(self, made: str, job: Job) -> bool:
        """Whether this run would make a result with that mark; an image that cannot be read is not told apart."""
        if job.source == STREAM or not os.path.isfile(job.source):  # noqa: PTH113 - no error for impossible names
            return True
        try:
            size = image_io.probe(Path(job.source), self.max_pixels)
        except SharpbitError:
            return True
        return self.upscaler.makes(made, *size)
