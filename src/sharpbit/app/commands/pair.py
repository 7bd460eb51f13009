"""The command `sharpbit pair`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.argument("large", metavar="LARGE")
@click.argument("small", metavar="SMALL")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="Path of the result: .onnx or .sharpbit (required)."
)
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
    metavar="PIXELS",
    help="Side of a patch in LR pixels.  [default: 48, of .sharpbit 32]",
)
@click.option(
    "--shared",
    type=click.IntRange(0),
    metavar="PIXELS",
    help="LR pixels that neighbouring patches share, of .onnx.  [default: 6]",
)
@options.THREADS
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@options.JSON
@options.QUIET
def pair(output: str, patch: int | None, shared: int | None, **given: Any) -> None:
    """Make one file of two networks of the same scale: patches with little detail go through the small one.

    LARGE and SMALL are files from 'sharpbit export', or embedded names. The file needs less time than LARGE, and
    loses what --max-drop allows; how much of both is measured and printed. A .sharpbit file is for the native engine
    and takes networks in integers: each patch is as in the whole image, without seams.
    """
    from sharpbit.system.extras import need

    need("train", "making a pair", "onnx")
    from sharpbit.app.pair import PATCH, SHARED, TILE, PairOptions, run_pair

    tiled = output.lower().endswith(".sharpbit")
    patch = (TILE if tiled else PATCH) if patch is None else patch
    shared = (0 if tiled else SHARED) if shared is None else shared
    click.echo(run_pair(PairOptions(output=output, patch=patch, shared=shared, **given)))
