"""Upscale a collection of any size: what `sharpbit batch` does, from Python."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sharpbit import zoo
from sharpbit.collection.manifest import MANIFEST, THERE, Known, Manifest, Row, row_of, row_of_other
from sharpbit.collection.places import OWN, Item, Place, items, place
from sharpbit.collection.worker import Settings
from sharpbit.errors import UsageError
from sharpbit.image import MAX_PIXELS
from sharpbit.pipeline.arguments import at_least_one, number, pair
from sharpbit.pipeline.claims import BEAT, PATIENCE, Claims, claim_of
from sharpbit.pipeline.format import suffix_of
from sharpbit.runtime import AUTO, available_cpus
from sharpbit.system.progress import Progress


@dataclass(frozen=True)
class CollectionReport:
    """What became of a collection.

    Attributes:
        done: The number of files that were upscaled in this run.
        before: The number of files that earlier runs had upscaled.
        failed: The number of files that failed, in this run or before.
        ignored: The number of files that are neither images nor videos, or results themselves.
        seconds: The time that it took.
        manifest: The path of the manifest.
    """

    done: int
    before: int
    failed: int
    ignored: int
    seconds: float
    manifest: str


def upscale_collection(
    source: str | os.PathLike[str],
    results: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: tuple[int, int] | None = None,
    format: str | None = None,  # noqa: A002 - the option of the command
    quality: int = 95,
    compression: int = 3,
    strip_metadata: bool = False,
    ensemble: bool = False,
    engine: str = AUTO,
    exact: bool = False,
    workers: int | None = None,
    threads: int = 1,
    ray: str | None = None,
    retry: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_seconds: float | None = None,
    max_memory: int | None = None,
    each: Callable[[Row], object] | None = None,
    progress: Progress | None = None,
    expected: Callable[[int], object] | None = None,
) -> CollectionReport:
    """Upscale every image and video of a folder, by many processes or machines, and record each in a manifest.

    A run that was ended in any way is continued by the same call: what is in the manifest, unchanged and with its
    result still there, is not looked at again, and no file is upscaled twice. A file that fails does not end the run.

    Args:
        source: The folder of the collection, at any depth, or the address of one in an object store.
        results: The folder of the results, in which the tree is kept, or the address of one in an object store.
        model: The name of an embedded model or the path of a model file; by default (`auto`) the embedded model that
            suits each image.
        scale: The upscaling factor, by default 2 or the model's own.
        width: The width of results in pixels, in place of a factor.
        height: The height of results in pixels, in place of a factor.
        fit: The largest width and height of a result in pixels, its aspect ratio kept, in place of a factor.
        format: The format of the results; by default JPEG and WebP stay what they are, everything else becomes PNG.
        quality: The quality of JPEG, WebP and AVIF, 1 to 100, by default 95.
        compression: The deflate level of PNG and TIFF, 0 to 9, by default 3.
        strip_metadata: Whether EXIF, XMP and the resolution are left out, by default not.
        ensemble: Whether all eight orientations of each tile are run and their mean is taken, by default not.
        engine: As `upscale` takes it.
        exact: Whether only engines run that give what float32 gives; False by default.
        workers: The number of processes; by default as many as cores by `threads`.
        threads: The threads of each process's engine, by default 1.
        ray: The address of a Ray cluster, or `local`, which starts one here; by default processes of this machine.
        retry: Whether files that failed before are tried again, by default not.
        max_pixels: The most pixels that an image may have; others fail.
        max_seconds: The seconds after which a file is given up; by default never.
        max_memory: The MiB of memory that a process may hold; by default no limit.
        each: Called with the row of each file when it is known; the columns are those of
            `sharpbit.collection.manifest.COLUMNS`.
        progress: Called with the number of files that are done.
        expected: Called once with the number of files that there are.

    Returns:
        The counts, and where the manifest lies.

    Raises:
        UsageError: No such folder, results of other settings in the folder of the results, options that exclude each
            other.
        ModelError: The model cannot be opened.
        MissingExtra: A package of the extras `batch` or `ray` is not installed.

    Examples:
        >>> import sharpbit
        >>> report = sharpbit.upscale_collection("holiday", "holiday_x2", scale=2)
        >>> report.failed
        0
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(1)  # a process of our own reads the script that calls this: whoever started it says so
    started = time.monotonic()
    taken, made = place(source), place(results)
    settings = Settings(
        os.path.abspath(taken.root) if taken.is_local else taken.url,  # noqa: PTH100
        os.path.abspath(made.root) if made.is_local else made.url,  # noqa: PTH100
        _model(model),
        scale,
        width,
        height,
        pair("fit", fit),
        format,
        quality,
        compression,
        strip_metadata,
        ensemble,
        engine,
        exact,
        at_least_one("threads", threads) or 1,
        at_least_one("max_pixels", max_pixels) or MAX_PIXELS,
        number("max_seconds", max_seconds),
        at_least_one("max_memory", max_memory),
    )
    _check(taken, settings)
    count = at_least_one("workers", workers) or max(1, available_cpus() // settings.threads)
    with Claims() as claims:
        if made.is_local:
            _claim(made, claims)
        manifest = Manifest(made)
        known = manifest.known()
        manifest.settle(settings.identity())
        ledger = _Ledger(manifest, each, progress or (lambda share: None))
        there = _results(made, known)
        todo = [_marked(item, known) for item in items(taken, made) if not ledger.has(item, known, there, retry=retry)]
        if expected is not None:
            expected(ledger.seen + len(todo))
        ledger.progress(ledger.seen)
        try:
            for row in _work(todo, settings, count, ray):
                ledger.add(row)
        finally:
            manifest.merge()
    return CollectionReport(
        ledger.done, ledger.before, ledger.failed, ledger.ignored, time.monotonic() - started, made.name_of(MANIFEST)
    )


def _model(model: str | os.PathLike[str] | None) -> str | None:
    """A name of an embedded model as it is, and the path of a file so that every process finds it."""
    text = None if model is None else os.fspath(model)
    if text is None or text == AUTO:
        return None
    return os.path.abspath(text) if text not in zoo.names() and Path(text).is_file() else text  # noqa: PTH100


def _claim(results: Place, claims: Claims) -> None:
    """Keep other runs from the folder; the claim of one that was killed on another machine is waited out."""
    lock = Path(results.of(OWN)) / "run"
    end, touched = time.monotonic() + PATIENCE + BEAT, _touched(lock)
    while not claims.take(lock):
        if time.monotonic() > end or _touched(lock) != touched:
            raise UsageError(f"another run works on {results.url}; wait for it, or give another folder")
        time.sleep(BEAT / 4)


def _touched(lock: Path) -> int:
    try:
        return claim_of(lock).stat().st_mtime_ns
    except OSError:
        return 0


def _check(source: Place, settings: Settings) -> None:
    """Raise before long work what every process would."""
    if not source.is_folder():
        raise UsageError(f"there is no folder {source.url!r} to take images from")
    if settings.max_seconds is not None and settings.max_seconds <= 0:
        raise UsageError(f"max_seconds is a number of seconds above 0, not {settings.max_seconds:g}")
    results = Path(settings.results)
    if settings.source == settings.results or (source.is_local and results.exists() and results.samefile(source.root)):
        raise UsageError(f"{source.url} would hold the results of its own images; give another folder")
    if settings.format is not None:
        suffix_of(settings.format)
    settings.upscaler()


def _results(results: Place, known: dict[str, Known]) -> Callable[[str], bool]:
    """Whether a result is there; of an object store one listing is asked for, and not every object."""
    if results.is_local or not known:
        return results.exists
    found = set(results.files())
    return lambda path: results.of(path) in found


def _marked(item: Item, known: dict[str, Known]) -> Item:
    """The file, with the result that is of what it was before, if there is one."""
    row = known.get(item.path)
    old = row is not None and (row.status == "failed" or (row.status == "done" and not row.holds(item)))
    return replace(item, replaces=row.result) if row is not None and old else item


def _work(todo: list[Item], settings: Settings, count: int, ray: str | None) -> Iterator[Row]:
    plain = [item for item in todo if not (item.ignored or item.error)]
    yield from (row_of_other(item) for item in todo if item.ignored or item.error)
    if not plain:
        return
    if ray is not None:
        from sharpbit.collection.cluster import on_ray

        yield from on_ray(plain, settings, ray, count)
        return
    from sharpbit.collection.pool import in_processes

    yield from in_processes(plain, settings, min(count, len(plain)))


@dataclass
class _Ledger:
    """Counts, and the way of each row into the manifest."""

    manifest: Manifest
    each: Callable[[Row], object] | None
    progress: Progress
    done: int = 0
    before: int = 0
    failed: int = 0
    ignored: int = 0
    seen: int = 0

    def has(self, item: Item, known: dict[str, Known], there: Callable[[str], bool], *, retry: bool) -> bool:
        """Whether nothing is to be done for a file, as far as the manifest says."""
        row = known.get(item.path)
        if row is None or not row.holds(item) or item.error or (item.ignored and row.status != "ignored"):
            return False
        if row.status == "failed":
            if retry:
                return False
            if self.each is not None:
                self.each(row_of(item, "failed", error=row.error, note="it failed in an earlier run"))
        if row.status == "done" and not there(row.result):
            return False
        self._count(row.status, earlier=True)
        self.seen += 1
        return True

    def add(self, row: Row) -> None:
        """Record a row."""
        self.manifest.add(row)
        self._count(row["status"], earlier=row["note"] == THERE)
        if self.each is not None:
            self.each(row)
        self.progress(1)

    def _count(self, status: str, *, earlier: bool) -> None:
        name = status if status != "done" else "before" if earlier else "done"
        setattr(self, name, getattr(self, name) + 1)
