"""The command `sharpbit compare`."""

from __future__ import annotations

import re
from typing import Any

import click

from sharpbit.app import options
from sharpbit.errors import UsageError


class Numbers(options.ParamType):
    """`8,4` to (8, 4)."""

    name = "N,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """See `click.ParamType`."""
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", str(value)):
            raise UsageError(f"{param.opts[0]} {value}: give whole numbers with commas between them, such as 8,4")
        return tuple(dict.fromkeys(map(int, str(value).split(","))))


class Names(options.ParamType):
    """`auto,minmax` to ("auto", "minmax")."""

    name = "NAME,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """See `click.ParamType`."""
        return value if isinstance(value, tuple) else tuple(dict.fromkeys(str(value).split(",")))


@click.command(cls=options.ManyFolders)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--calibrate",
    required=True,
    metavar="FOLDER",
    help="Calibration images, ten or more; some are kept apart to measure on (required).",
)
@click.option(
    "-o", "--output", "folder", required=True, metavar="FOLDER", help="Folder of results and tables (required)."
)
@click.option("--data", multiple=True, metavar="FOLDER...", help="Sets of test images besides.  [default: none]")
@click.option("--methods", type=Names(), default="auto", show_default=True, help="Methods, as of quantize.")
@click.option("--bits", type=Numbers(), default="8", show_default=True, help="Bits of weights and activations.")
@click.option(
    "--seeds", type=Numbers(), default="0", show_default=True, help="Seeds of the draws of calibration images."
)
@click.option(
    "--size",
    type=options.Fit(1 << 14),
    default="320x180",
    show_default=True,
    help="Width and height of the image that is timed.",
)
@options.THREADS
@click.option("--overwrite", is_flag=True, help="Replace results of other images or sizes in FOLDER.")
@options.JSON
@options.QUIET
def compare(**given: Any) -> None:
    """Quantize each float network MODEL by several methods to several widths, and measure every file by its engine.

    The folder gets table.md, table.csv, table.tex and figure.svg, quality against time with error bars over the seeds.
    Each result is kept at once: a run that was ended goes on, and one with more methods or networks adds them.
    """
    from sharpbit.system.extras import need

    need("train", "comparing")
    from sharpbit.app.compare import run_compare

    click.echo(run_compare(**given))
