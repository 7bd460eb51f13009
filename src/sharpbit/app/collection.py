"""`sharpbit batch`: from options to a call, from rows to what is printed."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from typing import Any

import click

from sharpbit.app import dump, log, say
from sharpbit.app.signals import code_of, word_of
from sharpbit.app.text import printable
from sharpbit.collection.upscaling import CollectionReport, upscale_collection
from sharpbit.errors import UsageError
from sharpbit.image import MAX_PIXELS
from sharpbit.system.extras import need

_SHOWN = 20  # failures that are printed one by one


@dataclass(frozen=True)
class Given:
    """What was given to `sharpbit batch`; see its help."""

    source: str
    results: str
    scale: float | None
    model: str | None
    format: str | None
    ensemble: bool
    width: int | None
    height: int | None
    fit: tuple[int, int] | None
    compression: int
    quality: int
    strip_metadata: bool
    engine: str
    exact: bool
    workers: int | None
    threads: int
    ray: str | None
    retry: bool
    max_pixels: int | None
    max_seconds: float | None
    max_memory: int | None
    as_json: bool
    json_lines: bool
    quiet: bool


def run_batch(given: Given) -> int:
    """Do it; returns the exit code: 0, 1 if a file failed, 130 by Ctrl-C and 143 by SIGTERM."""
    need("batch", "sharpbit batch")
    if given.ray is not None:
        need("ray", "sharpbit batch --ray")
    if given.as_json and given.json_lines:
        raise UsageError("--json and --json-lines exclude each other; give one of them")
    hidden = given.quiet or given.as_json or given.json_lines or not sys.stderr.isatty()
    failures: list[dict[str, Any]] = []
    with contextlib.nullcontext() if hidden else _bar() as bar:

        def each(row: dict[str, Any]) -> None:
            if row["status"] == "failed":
                failures.append(row)
            log.line(f"{row['status']}: {row['path']} {row.get('error') or row.get('note') or ''}".rstrip())
            if given.json_lines:
                click.echo(json.dumps({key: value for key, value in row.items() if value not in (None, "")}))

        def expected(count: int) -> None:
            if bar is not None:
                bar.total = count

        try:
            report = upscale_collection(
                given.source,
                given.results,
                model=given.model,
                scale=given.scale,
                width=given.width,
                height=given.height,
                fit=None if given.fit is None else (given.fit[1], given.fit[0]),
                format=given.format,
                quality=given.quality,
                compression=given.compression,
                strip_metadata=given.strip_metadata,
                ensemble=given.ensemble,
                engine=given.engine,
                exact=given.exact,
                workers=given.workers,
                threads=given.threads,
                ray=given.ray,
                retry=given.retry,
                max_pixels=given.max_pixels or MAX_PIXELS,
                max_seconds=given.max_seconds,
                max_memory=given.max_memory,
                each=each,
                progress=bar.update if bar else None,
                expected=expected,
            )
        except KeyboardInterrupt as end:
            say(f"sharpbit: {word_of(end)}; what is finished is kept, and the same command goes on")
            return code_of(end)
    _report(given, report, failures)
    return 1 if report.failed else 0


def _bar() -> Any:
    from tqdm import tqdm

    form = "{l_bar}{bar}| {n:.0f}/{total} [{elapsed}<{remaining}, {rate_fmt}]"
    return tqdm(delay=1, leave=False, bar_format=form, desc="upscaling", unit="file", smoothing=0.05)


def _report(given: Given, report: CollectionReport, failures: list[dict[str, Any]]) -> None:
    if given.as_json:
        failed = [{"path": row["path"], "error": row["error"]} for row in failures]
        click.echo(dump({**vars(report), "failures": failed}))
        return
    for row in failures[:_SHOWN]:
        say(f"sharpbit: {printable(row['path'])}: {row['error']}")
    if len(failures) > _SHOWN:
        say(f"sharpbit: and {len(failures) - _SHOWN} more failed; the manifest names them")
    if not given.quiet:
        words = {"done": report.done, "done before": report.before, "failed": report.failed, "ignored": report.ignored}
        text = ", ".join(f"{number} {word}" for word, number in words.items() if number) or "nothing to do"
        rate = f", {report.done / report.seconds:.1f} files a second" if report.done and report.seconds > 2 else ""
        say(f"{text} in {report.seconds:.1f} s{rate}; {report.manifest}")
