"""The command `sharpbit prepare`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from sharpbit.app import options


class Small(options.ParamType):
    """`X2=FOLDER` to (2, Path)."""

    name = "X2=FOLDER"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, Path]:
        """See `click.ParamType`."""
        parts = re.fullmatch(r"[xX]?(\d)=(.+)", str(value))
        if not parts:
            self.fail(f"{value!r} is not a scale and its folder such as X2=DIV2K_train_LR_bicubic/X2", param, ctx)
        return int(parts[1]), Path(parts[2])


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("out", metavar="OUT")
@click.option(
    "--scale",
    type=click.IntRange(2, 6),
    multiple=True,
    metavar="N",
    help="Upscaling factors that LR images are made for.  [default: 2, 3 and 4]",
)
@click.option("--lr", multiple=True, type=Small(), help="Read LR images from FOLDER.  [default: made by bicubic]")
@click.option(
    "--size",
    type=click.IntRange(1),
    default=480,
    show_default=True,
    metavar="PIXELS",
    help="Side of a window in HR pixels.",
)
@click.option(
    "--step",
    type=click.IntRange(1),
    default=240,
    show_default=True,
    metavar="PIXELS",
    help="Distance from window to window in HR pixels.",
)
@click.option(
    "--cut",
    type=click.IntRange(2, 1024),
    default=12,
    show_default=True,
    metavar="PIXELS",
    help="Cut images at the right and below to multiples of this; the scale itself gives the published windows.",
)
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Threads to cut with.  [default: all cores]")
@options.JSON
@options.QUIET
def prepare(**given: Any) -> None:
    """Cut the HR images of the folder SOURCE, such as DIV2K, into training windows with their LR images, in OUT.

    Run it again to go on where it stopped, or with another --scale to add one.
    """
    from sharpbit.app.prepare import run_prepare

    sys.exit(run_prepare(**given))
