"""`sharpbit prepare`: cut training images, say what came out."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from sharpbit.app import dump
from sharpbit.app.signals import code_of, word_of
from sharpbit.data.prepare import PreparationPlan, prepare
from sharpbit.errors import UsageError
from sharpbit.runtime import available_cpus

MOST = 10  # notes that are printed one by one


def run_prepare(
    source: str,
    out: str,
    scale: tuple[int, ...],
    lr: tuple[tuple[int, Path], ...],
    size: int,
    step: int,
    cut: int,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Do it; returns the exit code: 0, or 130 by Ctrl-C and 143 by SIGTERM."""
    small = dict(lr)
    if len(small) < len(lr):
        raise UsageError("--lr gives two folders for one scale; give one")
    plan = PreparationPlan(
        Path(source), Path(out), tuple(sorted({*scale} or {*small} or {2, 3, 4})), small, size, step, cut
    )
    try:
        done = prepare(plan, workers=workers or available_cpus(), quiet=quiet or as_json or not sys.stderr.isatty())
    except KeyboardInterrupt as end:
        click.echo(f"sharpbit: {word_of(end)}; run the same command again to go on", err=True)
        return code_of(end)
    if as_json:
        facts = asdict(done)
        facts["pictures"] = facts.pop("images")  # the name that programs read since version 0.1
        click.echo(dump({"out": out, "scales": plan.scales, **facts}))
        return 0
    for note in () if quiet else done.notes[:MOST]:
        click.echo(f"note: {note}", err=True)
    if len(done.notes) > MOST and not quiet:
        click.echo(f"note: and so on, for {len(done.notes)} images in all; --json lists them", err=True)
    click.echo(
        f"{out}: {done.windows} windows of {done.images} images, each with LR images for"
        f" {', '.join(f'x{number}' for number in plan.scales)}; {done.written} of them written now"
    )
    return 0
