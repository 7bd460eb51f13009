"""`sharpbit bench`: measure, then a table for people, JSON, Markdown or a drawing."""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from sharpbit._version import __version__
from sharpbit.app import aligned, dump, ran
from sharpbit.errors import UsageError
from sharpbit.report.bars import Bar, bars
from sharpbit.report.markdown import table
from sharpbit.runtime import available_cpus
from sharpbit.system.atomic import check_target, open_atomic
from sharpbit.verbs.bench import Candidate, Row, Rules, bench

NOTE = "Bytes in, bytes out: engines that compute in floats include the conversion, as upscaling an image needs it."


def run_bench(
    model: str,
    size: tuple[tuple[int, int], ...],
    threads: int | None,
    engine: str,
    device: str | None,
    white: str | None,
    compare: str | None,
    seconds: float | None,
    single_stream: bool,
    data: tuple[str, ...],
    as_json: bool,
    as_markdown: bool,
    plot: str | None,
    quiet: bool,
) -> int:
    """Do it; returns the exit code: 0, or 1 if a candidate could not run."""
    if compare and engine != "auto":
        raise UsageError("--engine and --compare exclude each other; name all engines with --compare")
    if as_json and as_markdown:
        raise UsageError("--json and --markdown exclude each other; give one of them")
    if plot:
        if Path(plot).suffix.lower() != ".svg":
            raise UsageError(f"the drawing is a .svg, not {Path(plot).name!r}")
        check_target(Path(plot))
    names = [name.strip() for name in compare.split(",")] if compare else [engine]
    if not all(names):
        raise UsageError(f"--compare {compare}: give the names of engines with commas between, such as native,onnx")
    candidates = [Candidate(name, model, name) for name in names]
    rules = Rules(threads=threads, device=device, seconds=seconds, stream=single_stream, data=data, white=white)
    hidden = True if quiet or as_json else None  # None: hidden unless on a terminal
    with tqdm(disable=hidden, bar_format="measuring [{elapsed}] {desc}", leave=False) as bar:
        rows = bench(candidates, size or ((360, 640),), rules, lambda word, done, total: bar.set_description_str(word))
    if plot:
        with open_atomic(Path(plot)) as file:
            file.write(drawing(rows, model).encode())
    facts = machine(threads)
    if as_json:
        click.echo(dump({"machine": facts, "note": NOTE, "rows": [as_dict(row) for row in rows]}))
    elif as_markdown:
        click.echo(markdown(rows, facts))
    else:
        click.echo(_for_people(rows, model, facts))
    return 1 if any(row.error for row in rows) else 0


def as_dict(row: Row) -> dict[str, Any]:
    """A row for machines: its times beside the rest, such as `median_ms`."""
    facts = asdict(row)
    times = facts.pop("latency") or {}
    spread = {} if row.latency is None else {"spread": row.latency.spread}
    return {**facts, **times, **spread, "psnr": dict(row.psnr)}


def machine(threads: int | None) -> dict[str, Any]:
    """What was measured on, and when."""
    return {
        "processor": processor(),
        "threads": threads or available_cpus(),
        "sharpbit": __version__,
        "python": platform.python_version(),
        "date": str(datetime.date.today()),
    }


def processor() -> str:
    """The processor's own name for itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()


HEAD = ("what", "input image", "median ms", "p10", "p90", "fps", "GMAC/s", "of limit", "first s", "MiB", "engine MiB")


def markdown(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """A table, with the machine and the way of measuring below it."""
    sets = _sets(rows)
    head = [*HEAD, *sets, "what ran"]
    lines = table(head, [[*_cells(row, sets), _ran(row)] for row in rows], "ll" + "r" * (len(head) - 3))
    return "\n".join([*lines, "", _below(rows, facts)])


def drawing(rows: Sequence[Row], title: str) -> str:
    """Bars of the medians, as SVG."""
    found = [
        Bar(
            f"{row.label} {row.size[1]}x{row.size[0]}",
            *(getattr(row.latency, k) for k in ("median_ms", "p10_ms", "p90_ms")),
        )
        for row in rows
        if row.latency is not None
    ]
    return bars(f"{title}: milliseconds an image", found)


def _for_people(rows: Sequence[Row], model: str, facts: dict[str, Any]) -> str:
    sets = _sets(rows)
    table = [[*HEAD, *sets], *([*_cells(row, sets)] for row in rows if row.latency)]
    lines = [f"{model}, {facts['processor']}", ""]
    if len(table) > 1:
        lines += [aligned(table), "", *dict.fromkeys(f"{row.label}: {_ran(row)}" for row in rows if row.latency)]
    lines += dict.fromkeys(f"{row.label}: {row.error}" for row in rows if row.error)
    heard: dict[str, dict[str, None]] = {}
    for row in rows:
        for note in row.notes:
            heard.setdefault(note, {})[row.label] = None
    lines += [f"{', '.join(labels)}: {note}" for note, labels in heard.items()]
    return "\n".join([*lines, "", _below(rows, facts)])


def _cells(row: Row, sets: Sequence[str]) -> list[str]:
    size = f"{row.size[1]}x{row.size[0]}"
    if row.latency is None:
        return [row.label, size, *[""] * (len(HEAD) - 2 + len(sets))]
    times = [f"{value:.2f}" for value in (row.latency.median_ms, row.latency.p10_ms, row.latency.p90_ms)]
    quality = dict(row.psnr)
    return [
        row.label,
        size,
        *times,
        f"{row.fps:.1f}",
        _number(row.gmacs, "{:.0f}"),
        _number(row.share, "{:.0%}", "not measured" if row.in_bytes else "-"),
        _number(row.first_s, "{:.2f}"),
        _number(row.memory_mib, "{:.0f}"),
        _number(row.engine_mib, "{:.0f}"),
        *(_number(quality.get(name), "{:.3f}") for name in sets),
    ]


def _number(value: float | None, form: str, missing: str = "") -> str:
    return missing if value is None else form.format(value)


def _ran(row: Row) -> str:
    return row.error or ran(
        {name: getattr(row, name) for name in ("engine", "precision", "instruction_set", "threads", "device")}
    )


def _sets(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name, _ in row.psnr))


def _below(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    timed = [row.latency for row in rows if row.latency is not None]
    counts = sorted({latency.samples for latency in timed})
    samples = "no" if not counts else f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    dropped, disturbed = sum(t.dropped for t in timed), sum(t.disturbed for t in timed)
    threads = "1 thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
    return (
        f"{samples} samples of each; left out because other processes used the processor: {dropped}, kept all the"
        f" same: {disturbed}. {NOTE} {_limits(rows)}First: from the start of"
        f" Python to the first result. {facts['processor']}, {threads}, sharpbit"
        f" {facts['sharpbit']}, {facts['date']}."
    )


def _limits(rows: Sequence[Row]) -> str:
    found = {row.limit_of: (row.limit, row.limit_median) for row in rows if row.limit and row.limit_median}
    each = [f"{name} {most:,.0f} at most, {middle:,.0f} in the median" for name, (most, middle) in found.items()]
    limits = f"Limits beside the samples, in 8-bit GMAC/s: {'; '.join(each)}. " if each else ""
    if any(row.latency and not row.in_bytes for row in rows):
        limits += "The limit is that of 8 bits, so rows in other precisions are not compared with it. "
    return limits


def report_phase(word: str, done: int = 0, total: int = 0) -> None:
    """Phases for scripts: a line on standard error for each that begins. See `sharpbit.system.progress.Phases`."""
    sys.stderr.write(f"{word}\n")
