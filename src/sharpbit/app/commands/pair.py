"""The command `sharpbit pair`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.argument("large", metavar="LARGE.onnx")
@click.argument("small", metavar="SMALL.onnx")
@click.option("-o", "--output", required=True, metavar="FILE.onnx", help="Path of the result (required).")
@click.option("--calibrate", metavar="FOLDER", help="Images on which --max-drop is kept.  [default: none]")
@click.option(
    "--max-drop", type=click.FloatRange(0), metavar="DB", help="Largest loss of PSNR there in dB.  [default: 0.05]"
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="Images of that folder to use.  [default: 12]")
@click.option(
    "--detail",
    type=click.FloatRange(0),
    metavar="LEVELS",
    help="Threshold of detail in grey levels.  [default: found by --calibrate]",
)
@click.option(
    "--patch",
    type=click.IntRange(1),
    default=48,
    show_default=True,
    metavar="PIXELS",
    help="Side of a patch in LR pixels.",
)
@click.option(
    "--shared",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    metavar="PIXELS",
    help="LR pixels that neighbouring patches share.",
)
@options.THREADS
@click.option("--overwrite", is_flag=True, help="Replace FILE.onnx if it exists.")
@options.JSON
@options.QUIET
def pair(**given: Any) -> None:
    """Make one file of two networks of the same scale: patches with little detail go through the small one.

    LARGE and SMALL are files from 'sharpbit export', or embedded names. The file needs less time than LARGE, and
    loses what --max-drop allows; how much of both is measured and printed.
    """
    from sharpbit.system.extras import need

    need("train", "making a pair", "onnx")
    from sharpbit.app.pair import PairOptions, run_pair

    click.echo(run_pair(PairOptions(**given)))
