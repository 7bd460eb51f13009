"""`sharpbit upscale`: from options to a batch, from its outcomes to what is printed."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sharpbit import image as image_io
from sharpbit.app import dump, log, ran, say
from sharpbit.app.signals import code_of, word_of
from sharpbit.app.text import printable
from sharpbit.errors import UsageError
from sharpbit.image import WriteOptions
from sharpbit.pipeline.batch import Batch
from sharpbit.pipeline.chain import BICUBIC
from sharpbit.pipeline.format import suffix_of
from sharpbit.pipeline.jobs import Job, jobs
from sharpbit.pipeline.ledger import Ledger, Outcome, StageTimes
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.walk import HIDDEN, STREAM
from sharpbit.pipeline.writing import Target
from sharpbit.runtime import AUTO, available_cpus


@dataclass(frozen=True)
class Upscale:
    """What was given to `sharpbit upscale`; see its help."""

    inputs: tuple[str, ...]
    more_inputs: tuple[str, ...]
    output: str | None
    scale: float | None
    tile_size: int
    model: str | None
    format: str | None
    jobs: tuple[int, int, int] | None
    ensemble: bool
    verbose: bool
    width: int | None
    height: int | None
    fit: tuple[int, int] | None
    overwrite: bool
    skip_existing: bool
    follow_links: bool
    dry_run: bool
    as_json: bool
    json_lines: bool
    threads: int | None
    engine: str
    exact: bool
    device: str | None
    white: str | None
    denoise: float | None
    strip_metadata: bool
    name_template: str | None
    compression: int
    quality: int
    subsampling: str | None
    max_pixels: int | None
    quiet: bool


def run_upscale(given: Upscale) -> int:
    """Do it; returns the exit code: 0, 1 if anything failed, 130 by Ctrl-C and 143 by SIGTERM."""
    started = time.monotonic()
    todo, batch = _prepare(given)
    to_stream = any(job.target == STREAM for job in todo)
    machine = given.as_json or given.json_lines
    if to_stream and (machine or not sys.stdout or sys.stdout.isatty()):
        raise UsageError("the image goes to standard output; redirect it to a file or a pipe, and leave --json out")
    if given.as_json and given.json_lines:
        raise UsageError("--json and --json-lines exclude each other; give one of them")
    if any(job.source == STREAM for job in todo) and (not sys.stdin or sys.stdin.isatty()):
        raise UsageError("the image comes from standard input, which holds none; redirect a file or a pipe to it")
    ledger = Ledger()
    end: KeyboardInterrupt | None = None
    hidden = given.quiet or machine or to_stream or not sys.stderr.isatty()
    with contextlib.nullcontext() if hidden else _bar(len(todo), given.verbose) as bar:
        try:
            for outcome in batch.run(todo, bar.update if bar else lambda share: None):
                ledger.outcomes.append(outcome)
                log.line(_line(outcome))
                if given.json_lines:
                    click.echo(json.dumps(outcome.as_json()))
                if given.verbose and not given.quiet:
                    (bar.write if bar else print)(printable(_line(outcome)), file=sys.stderr)
        except KeyboardInterrupt as signal:
            end = signal
    seconds = time.monotonic() - started
    _report(given, batch, todo, ledger, seconds, end)
    return ledger.exit_code if end is None else code_of(end)


def _bar(total: int, verbose: bool) -> Any:
    """A bar of progress; what draws it takes a tenth of a cold start to load, so only where it is seen."""
    from tqdm import tqdm

    form = "{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"
    delay = 0 if verbose else 1  # a bar that shows itself early, for a line above it, is not cleared at the end
    return tqdm(total=total, delay=delay, leave=False, bar_format=form, desc="upscaling")


def _prepare(given: Upscale) -> tuple[list[Job], Batch]:
    if given.overwrite and given.skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other; give one of them")
    suffix = suffix_of(given.format) if given.format else None
    ending = Path(given.output or "").suffix.lower()
    if suffix and image_io.WRITE_FORMATS.get(ending, image_io.WRITE_FORMATS[suffix]) != image_io.WRITE_FORMATS[suffix]:
        raise UsageError(f"-o {given.output} and -f {given.format} name two formats; leave -f out, or give a folder")
    load, proc, save = given.jobs or (1, None, None)
    threads = given.threads or proc
    size = Size(given.scale, given.width, given.height, given.fit)
    tile = given.tile_size or None
    upscaler = Upscaler(
        given.model,
        size=size,
        tile=tile,
        ensemble=given.ensemble,
        threads=threads,
        engine=given.engine,
        device=given.device,
        exact=given.exact,
        white=given.white,
        denoise=given.denoise,
    )
    todo = jobs(
        [*given.inputs, *given.more_inputs],
        given.output,
        suffix=suffix,
        template=given.name_template,
        model=Path(given.model or AUTO).stem,
        scale="fit" if size.in_pixels else f"{upscaler.factor:g}",
        follow_links=given.follow_links,
    )
    target = Target(
        format=image_io.WRITE_FORMATS[suffix] if suffix else None,
        options=WriteOptions(given.compression, given.quality, given.subsampling),
        overwrite=given.overwrite,
        strip_metadata=given.strip_metadata,
        threads=save or available_cpus(),
    )
    return (
        todo,
        Batch(
            upscaler=upscaler,
            target=target,
            skip_existing=given.skip_existing,
            dry_run=given.dry_run,
            loaders=load,
            max_pixels=given.max_pixels or image_io.MAX_PIXELS,
        ),
    )


def _report(
    given: Upscale, batch: Batch, todo: list[Job], ledger: Ledger, seconds: float, end: KeyboardInterrupt | None
) -> None:
    outcomes, counts = ledger.outcomes, ledger.counts()
    models = dict.fromkeys(model for o in outcomes if o.model for model in o.models or [BICUBIC])
    used = [batch.upscaler.describe(model) for model in models]
    if given.as_json:
        spent = {stage: round(value, 3) for stage, value in vars(batch.spent).items()}
        summary: dict[str, Any] = {
            **counts,
            "interrupted": end is not None,
            "seconds": round(seconds, 3),
            "spent": spent,
            "ran": used,
        }
        images = [outcome.as_json() for outcome in outcomes if outcome.status != "ignored"]
        ignored = [outcome.as_json() for outcome in ledger.of("ignored")]
        click.echo(dump({"pictures": images, "ignored": ignored, "summary": summary}))
        return
    if not given.quiet:
        _tell_notes(given, ledger, used)
        if end is None or any(outcome.status != "ignored" for outcome in outcomes):
            say(_summary(given, counts, outcomes, used, seconds, batch.spent))
    for outcome in ledger.of("failed"):
        say(f"sharpbit: {outcome.error}")
    if end is not None:
        left = len(todo) - len(outcomes)
        say(f"sharpbit: {word_of(end)}, {left} left; the same command with --skip-existing goes on")


def _tell_notes(given: Upscale, ledger: Ledger, used: list[dict[str, Any]]) -> None:
    for facts in used:
        for note in facts["notes"]:
            say(f"note: {note}")
    if given.dry_run:
        for outcome in ledger.of("planned"):
            say(_line(outcome))
    if given.verbose:
        return
    noted: dict[str, list[str]] = {}
    for outcome in ledger.outcomes:
        why = [] if outcome.reason in (None, HIDDEN) else [f"{outcome.status}: {outcome.reason}"]
        for note in (*outcome.notes, *why):
            noted.setdefault(note, []).append(outcome.input)
    for note, names in noted.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        say(f"note: {names[0]}{more}: {note}")


def _summary(
    given: Upscale,
    counts: dict[str, int],
    outcomes: list[Outcome],
    used: list[dict[str, Any]],
    seconds: float,
    spent: StageTimes,
) -> str:
    text = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
    if not any(number for status, number in counts.items() if status != "ignored"):
        return f"nothing to do: there is no image in {', '.join([*given.inputs, *given.more_inputs])}" + (
            f" ({text})" if text else ""
        )
    if len(outcomes) == 1 and outcomes[0].status == "done":
        outcome = outcomes[0]
        assert outcome.size and outcome.result_size
        text = f"{outcome.output} ({_size(outcome.size)} -> {_size(outcome.result_size)})"
    text += f" in {seconds:.2f} s"
    if counts["done"]:
        text += " (" + ", ".join(f"{stage} {value:.2f}" for stage, value in vars(spent).items()) + ")"
    facts = [f"{facts['model']}{_why(facts['model'], outcomes)}, {ran(facts)}" for facts in used]
    plans = dict.fromkeys(outcome.plan for outcome in outcomes if outcome.plan and ", then " in outcome.plan)
    return text + (f" [{'; '.join([*facts, *(f'plan: {plan}' for plan in plans)])}]" if used else "")


def _why(model: str, outcomes: list[Outcome]) -> str:
    """What a model was chosen by, and for how many images where there are others."""
    those = [outcome for outcome in outcomes if outcome.models[:1] == (model,)]
    reasons = list(dict.fromkeys(outcome.why for outcome in those if outcome.why))
    if not reasons:
        return ""
    more = f" and {len(reasons) - 2} more" if len(reasons) > 2 else ""
    count = f"{len(those)} of {len(outcomes)}: " if len(outcomes) > 1 else ""
    return f" ({count}{', '.join(reasons[:2])}{more})"


def _line(outcome: Outcome) -> str:
    text = f"{outcome.status}: {outcome.input}" + (f" -> {outcome.output}" if outcome.output else "")
    if outcome.size and outcome.result_size:
        text += f" ({_size(outcome.size)} -> {_size(outcome.result_size)}, {outcome.seconds:.2f} s)"
    if outcome.model and outcome.why:
        text += f" [{outcome.model}: {outcome.why}]"
    notes = "; ".join(outcome.notes) or outcome.error or outcome.reason or ""
    return f"{text} {notes}".rstrip()


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
