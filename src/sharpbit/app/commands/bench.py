"""The command `sharpbit bench`."""

from __future__ import annotations

import sys
from typing import Any

import click

from sharpbit.app import options


@click.command(cls=options.ManyFolders)
@click.argument("model", metavar="MODEL")
@click.option(
    "--size",
    multiple=True,
    type=options.Fit(1 << 14),
    help="Width and height of the input image in pixels; may be given several times.  [default: 640x360]",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), metavar="N", help="Threads of each engine.  [default: all cores]"
)
@options.ENGINE
@options.DEVICE
@options.RANGE
@click.option("--compare", metavar="ENGINE,...", help="Engines to measure in turn.  [default: --engine alone]")
@click.option(
    "--seconds",
    type=options.Number(0, 3600),
    metavar="S",
    help="Seconds of samples for each engine.  [default: 3, or 60]",
)
@click.option(
    "--single-stream", is_flag=True, help="Measure as MLPerf Mobile does: 1024 images, 60 s, 90th percentile."
)
@click.option("--data", multiple=True, metavar="FOLDER...", help="Sets of test images for PSNR.  [default: none]")
@options.JSON
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--plot", metavar="FILE.svg", help="Draw the medians.  [default: none]")
@options.QUIET
def bench(**given: Any) -> None:
    """Measure how fast MODEL runs: milliseconds an image, memory, cold start, and what really ran.

    Engines run in turn, after warming up. Bytes go in and bytes come out. How to measure well: docs/bench.md.
    """
    from sharpbit.app.bench import run_bench

    sys.exit(run_bench(**given))
