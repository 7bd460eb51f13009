"""What a process of a collection does: one file after another, through models that are opened once."""

from __future__ import annotations

import gc
import hashlib
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sharpbit import zoo
from sharpbit.collection.manifest import THERE, Row, row_of
from sharpbit.collection.places import Item, place
from sharpbit.errors import SharpbitError, UsageError
from sharpbit.image import MAX_PIXELS, WRITE_FORMATS, WriteOptions
from sharpbit.pipeline.batch import Batch
from sharpbit.pipeline.format import suffix_like, suffix_of
from sharpbit.pipeline.jobs import Job
from sharpbit.pipeline.ledger import Outcome
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.walk import is_video_name
from sharpbit.pipeline.writing import Target
from sharpbit.runtime import AUTO
from sharpbit.verbs.video import upscale_video

_RETRIES, _PAUSE = (
    3,
    0.5,
)  # how often an object is fetched or stored again after an error, and the first pause in seconds
_VIDEOS = (".mp4", ".mkv", ".webm")  # what stays what it is; everything else becomes Matroska


@dataclass(frozen=True)
class Settings:
    """How a collection is upscaled.

    Attributes:
        source: The folder of the collection, or its address.
        results: The folder of the results, or its address.
        model: The name of an embedded model or the path of a model file; None lets each image decide.
        scale: The upscaling factor; None takes 2 or the model's own.
        width: The width of results in pixels, in place of a factor.
        height: The height of results in pixels, in place of a factor.
        fit: The largest width and height of a result in pixels, in place of a factor.
        format: The format of results; None keeps JPEG and WebP, and makes everything else PNG.
        quality: The quality of JPEG, WebP and AVIF, 1 to 100.
        compression: The deflate level of PNG and TIFF, 0 to 9.
        strip_metadata: Whether EXIF, XMP and the resolution are left out.
        ensemble: Whether the mean of eight orientations is taken.
        engine: As `sharpbit.upscale` takes it.
        exact: Whether only engines run that give what float32 gives.
        threads: The threads of each process's engine.
        max_pixels: The most pixels that an image may have.
        max_seconds: The seconds after which a file is given up; None gives none up.
        max_memory: The MiB of memory that a process may hold; None limits none.
    """

    source: str
    results: str
    model: str | None = None
    scale: float | None = None
    width: int | None = None
    height: int | None = None
    fit: tuple[int, int] | None = None
    format: str | None = None
    quality: int = 95
    compression: int = 3
    strip_metadata: bool = False
    ensemble: bool = False
    engine: str = AUTO
    exact: bool = False
    threads: int = 1
    max_pixels: int = MAX_PIXELS
    max_seconds: float | None = None
    max_memory: int | None = None

    def identity(self) -> dict[str, Any]:
        """What decides the results, and must be the same in every run to one folder."""
        others = ("source", "results", "threads", "max_pixels", "max_seconds", "max_memory", "engine")
        known = {key: value for key, value in asdict(self).items() if key not in others}
        file = None if self.model is None or self.model in zoo.names() else zoo.path_of(self.model)
        return known | {
            "fit": None if self.fit is None else list(self.fit),
            "model_sha256": None if file is None else hashlib.sha256(file.read_bytes()).hexdigest(),
        }

    def size(self) -> Size:
        """The size that results should have."""
        return Size(self.scale, self.width, self.height, None if self.fit is None else (self.fit[1], self.fit[0]))

    def upscaler(self) -> Upscaler:
        """The models, opened.

        Raises:
            SharpbitError: they cannot be, or options exclude each other.
        """
        return Upscaler(
            self.model,
            size=self.size(),
            ensemble=self.ensemble,
            threads=self.threads,
            engine=self.engine,
            exact=self.exact,
        )


class Worker:
    """Upscales the files of a collection, one at a time.

    Args:
        settings: How.

    Raises:
        SharpbitError: the models cannot be opened, or a limit cannot be kept here.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._source, self._results = place(settings.source), place(settings.results)
        self._suffix = None if settings.format is None else suffix_of(settings.format)
        target = Target(
            None if self._suffix is None else WRITE_FORMATS[self._suffix],
            WriteOptions(settings.compression, settings.quality, None),
            strip_metadata=settings.strip_metadata,
            threads=settings.threads,
        )
        self._batch = Batch(settings.upscaler(), target, skip_existing=True, max_pixels=settings.max_pixels)
        self._again = replace(self._batch, target=replace(target, overwrite=True), skip_existing=False)

    def make(self, item: Item) -> Row:
        """Upscale one file; whatever goes wrong with it becomes the error of its row."""
        started = time.monotonic()
        try:
            with _within(self.settings.max_seconds):
                row = row_of(item, **self._made(item))
        except SharpbitError as error:
            row = row_of(item, "failed", error=str(error))
        except Exception as error:  # of one file, by a decoder or a file system: the others go on
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            row = row_of(item, "failed", error=f"{item.path}: {reason}")
        if row["status"] == "failed":
            gc.collect()  # what an error holds of a large image would be lacking for the next
        if row["error"] and self._is_remote:  # it speaks of the file as it lies here for a moment
            row["error"] = re.sub(rf"{re.escape(tempfile.gettempdir())}/sharpbit-\w+/(result/)?", "", row["error"])
        return row | {"seconds": round(time.monotonic() - started, 4)}

    def _made(self, item: Item) -> Row:
        with tempfile.TemporaryDirectory(prefix="sharpbit-") if self._is_remote else _nowhere() as folder:
            source = self._fetched(item, folder)
            with source.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            result = self._name_of(item.path, source)
            old = item.replaces == result
            if not (self._results.is_local or old) and self._results.exists(result):
                return {"sha256": sha256, "status": "done", "result": result, "note": THERE}
            target = Path(folder) / "result" / Path(result).name
            if self._results.is_local:
                target = Path(self._results.of(result))
            make = self._video if is_video_name(source) else self._image
            row = {"sha256": sha256, "result": result, **make(source, target, old)}
            if row["status"] != "done":
                return {key: value for key, value in row.items() if not (key == "scale" or key.startswith("result"))}
            row["result_bytes"] = target.stat().st_size
            if not self._results.is_local:
                again(lambda: self._results.fs.put_file(str(target), self._results.of(result)))
            return row

    @property
    def _is_remote(self) -> bool:
        return not (self._source.is_local and self._results.is_local)

    def _fetched(self, item: Item, folder: str) -> Path:
        if self._source.is_local:
            return Path(self._source.of(item.path))
        path = Path(folder) / Path(item.path).name
        again(lambda: self._source.fs.get_file(self._source.of(item.path), str(path)))
        return path

    def _name_of(self, path: str, source: Path) -> str:
        """The path of a result: that of the file, with the ending of another format behind it where it becomes one."""
        own = Path(path).suffix.lower()
        if is_video_name(source):
            return path if own in _VIDEOS else f"{path}.mkv"
        suffix = self._suffix or suffix_like(source)
        return path if WRITE_FORMATS.get(own) == WRITE_FORMATS[suffix] else path + suffix

    def _image(self, source: Path, target: Path, replaces: bool) -> Row:
        batch = self._again if replaces else self._batch
        (outcome,) = batch.run([Job(source, target, found=True)], lambda share: None)
        return _row_of(outcome)

    def _video(self, source: Path, target: Path, replaces: bool) -> Row:
        if target.exists() and not replaces:
            return {"status": "done", "note": THERE}
        settings, upscaled = self.settings, self.settings.size()
        report = upscale_video(
            source,
            target,
            model=settings.model,
            scale=upscaled.scale,
            width=settings.width,
            height=settings.height,
            fit=settings.fit,
            overwrite=replaces,
            ensemble=settings.ensemble,
            threads=settings.threads,
            engine=settings.engine,
        )
        return {
            "status": "done",
            **_sizes(report.size, report.result_size),
            "model": "+".join(report.models),
            "note": "; ".join(report.notes),
        }


def again(work: Any) -> None:
    """Do what a network may disturb; an error of it is met by another try, after a pause that grows."""
    for tries in range(_RETRIES + 1):
        try:
            work()
            return
        except FileNotFoundError:
            raise
        except OSError:
            if tries == _RETRIES:
                raise
            time.sleep(_PAUSE * 2**tries)


def _row_of(outcome: Outcome) -> Row:
    row: Row = {"status": outcome.status, "model": outcome.model}
    row |= {"error": outcome.error or "", "note": "; ".join(outcome.notes)}
    if outcome.size and outcome.result_size:
        row |= _sizes(outcome.size, outcome.result_size)
    if outcome.status == "skipped":
        there = (outcome.reason or "").startswith(("its result exists", "another run made"))
        row |= {"status": "done", "note": THERE} if there else {"status": "ignored", "note": outcome.reason or ""}
    return row


def _sizes(size: tuple[int, int], result: tuple[int, int]) -> Row:
    return {
        "height": size[0],
        "width": size[1],
        "result_height": result[0],
        "result_width": result[1],
        "scale": round(result[0] / size[0], 4),
    }


@contextmanager
def _nowhere() -> Iterator[str]:
    yield ""


@contextmanager
def _within(seconds: float | None) -> Iterator[None]:
    """Give up after a time."""
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        raise UsageError("the time of a file cannot be limited here; leave --max-seconds out")

    def stop(number: int, frame: object) -> None:
        raise UsageError(f"it was given up after {seconds:g} s; give --max-seconds more, or leave it out")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 5.0)  # again where something has swallowed the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
