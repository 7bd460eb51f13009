"""The command `sharpbit compress`."""

from __future__ import annotations

import sys
from typing import Any

import click

from sharpbit.app import options
from sharpbit.app.commands.quantize import Bits, Budget


@click.command(cls=options.ManyFolders)
@click.argument("model", metavar="MODEL")
@options.overrides
@click.option(
    "--calibrate",
    required=True,
    metavar="FOLDER",
    help="Calibration images, ten or more; some are kept apart to measure on (required).",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Path of the result: .sharpbit, .onnx, or without an ending, which the best way adds (required).",
)
@click.option(
    "--data",
    multiple=True,
    metavar="FOLDER...",
    help="Sets of test images that --max-drop is for.  [default: the images kept apart]",
)
@click.option(
    "--max-drop",
    type=options.Number(),
    metavar="DB",
    help="Largest loss against the float network.  [default: 0.1 without any target]",
)
@click.option(
    "--max-ms", type=options.Number(0), metavar="MS", help="Longest time of an image of --size.  [default: any]"
)
@click.option(
    "--max-bytes", type=click.IntRange(1), metavar="N", help="Most bytes of weights and graph.  [default: any]"
)
@click.option(
    "--size",
    type=options.Fit(1 << 14),
    help="Width and height of the image that is timed.  [default: 320x180]",
)
@click.option(
    "--bits",
    type=Bits(),
    default=8,
    show_default=True,
    help="Bits of weights and activations; several, such as 8,6,4, are allocated by layer.",
)
@click.option("--budget", type=Budget(), help="Budget of mixed precision, as of quantize.  [default: none]")
@click.option("--all", "every", is_flag=True, help="Try all ways, even after one that meets the targets.")
@click.option(
    "--minutes", type=options.Number(0), metavar="M", help="Begin no further way after so long.  [default: no limit]"
)
@options.THREADS
@click.option("--html", "page", metavar="FILE", help="Write the receipt as a page.  [default: none]")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@options.JSON
@options.QUIET
def compress(**given: Any) -> None:
    """Make of the network MODEL, an embedded name or a file, the fastest file that meets the targets.

    Ways are tried, the cheapest first: a plain chain, 8-bit integers for the native engine, 8 bits for ONNX Runtime,
    the same with some layers in float. Each is measured through the engine that runs it. The table says what each step
    bought, and the file has a receipt that 'sharpbit verify' checks. A run that was ended goes on where it was.
    """
    from sharpbit.system.extras import need

    need("train", "compressing")
    from sharpbit.app.compress import run_compress

    sys.exit(run_compress(**given))
