"""The command `sharpbit batch`."""

from __future__ import annotations

import sys
from typing import Any

import click

from sharpbit.app import options


@click.command(cls=options.FilesAndOptions)
@click.argument("source", metavar="SOURCE")
@click.argument("results", metavar="RESULTS")
@options.SCALE
@options.MODEL
@options.FORMAT
@options.ENSEMBLE
@options.WIDTH
@options.HEIGHT
@click.option(
    "--fit", type=options.Fit(), help="Largest width and height of the result, its aspect ratio kept.  [default: none]"
)
@options.COMPRESSION
@options.QUALITY
@options.STRIP
@options.ENGINE
@options.EXACT
@click.option(
    "-w",
    "--workers",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Processes, or actors of Ray.  [default: as many as cores, by --threads]",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N", help="Threads of each worker."
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Ray cluster to work on, or local to start one here.  [default: processes of this machine]",
)
@click.option("--retry", is_flag=True, help="Try files again that failed in an earlier run.")
@options.MAX_PIXELS
@click.option(
    "--max-seconds", type=options.Number(0.1), metavar="N", help="Give up a file after this time.  [default: never]"
)
@click.option(
    "--max-memory",
    type=click.IntRange(128),
    metavar="MIB",
    help="Memory that a worker may hold.  [default: no limit]",
)
@options.JSON
@click.option("--json-lines", is_flag=True, help="Print the row of each file as a line of JSON when it is known.")
@options.QUIET
def batch(**given: Any) -> None:
    """Upscale a collection: all images and videos of the folder SOURCE into the folder RESULTS, its tree kept.

    Folders may be addresses of object stores, such as s3://bucket/photos. RESULTS/manifest.parquet has a row for each
    file. A run that was ended, by Ctrl-C or otherwise, goes on with the same command; a second run does nothing but for
    what is new or was changed.
    """
    from sharpbit.app.collection import Given, run_batch

    sys.exit(run_batch(Given(**given)))
