"""The command `sharpbit evaluate`."""

from __future__ import annotations

import sys
from typing import Any

import click

from sharpbit.app import options


@click.command(cls=options.ManyFolders)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--data", multiple=True, metavar="FOLDER...", help="Sets of test images, or a folder of sets (required).")
@click.option(
    "-s",
    "--scale",
    multiple=True,
    type=click.IntRange(2, 8),
    metavar="N",
    help="Upscaling factor of bicubic, and of weights for several.  [default: that of the other models]",
)
@click.option(
    "--crop",
    type=click.IntRange(1, 96),
    default=12,
    show_default=True,
    metavar="PIXELS",
    help="HR images are cut to multiples of this many pixels.",
)
@options.patch
@click.option("--make-lr", is_flag=True, help="Make LR images even where a folder holds them.")
@options.THREADS
@options.ENGINE
@options.DEVICE
@click.option(
    "--table",
    metavar="FOLDER",
    help="Write table.md, table.csv and plot.svg there; a run goes on.  [default: none]",
)
@click.option(
    "--save",
    metavar="FOLDER",
    help="Write the upscaled images there, as MODEL/SET/NAME.png.  [default: they are not kept]",
)
@click.option("--images", is_flag=True, help="Print the numbers of each image, also for several models.")
@click.option("--pictures", "images", is_flag=True, hidden=True)
@options.JSON
@options.QUIET
@options.overrides
def evaluate(**given: Any) -> None:
    """Measure models: PSNR and SSIM on sets of test images, by the protocol of the benchmarks.

    A MODEL is an embedded name, a file (.onnx, .safetensors, .pth), a folder of such files, or bicubic (that of the
    deep learning frameworks, as in published tables; bicubic-matlab is MATLAB's). LR images are read where there
    are some (LRbicx2, LR_bicubic/X2), and made from HR images (GTmod12, HR, or the folder itself) otherwise.
    """
    from sharpbit.app.evaluate import Evaluate, run_evaluate

    sys.exit(run_evaluate(Evaluate(**given)))
