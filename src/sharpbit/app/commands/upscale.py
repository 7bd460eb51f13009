"""The command `sharpbit upscale`."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from sharpbit.app import options


class _Jobs(options.ParamType):
    name = "LOAD:PROC:SAVE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value
        parts = re.fullmatch(r"(\d{1,3}):(\d{1,3}):(\d{1,3})", str(value))
        if not parts or not all(1 <= int(part) <= 256 for part in parts.groups()):
            self.fail(f"{value!r} is not three counts of threads such as 1:2:2", param, ctx)
        load, proc, save = map(int, parts.groups())
        return load, proc, save


@click.command(cls=options.FilesAndOptions)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option(
    "-i",
    "--input",
    "more_inputs",
    multiple=True,
    metavar="INPUT",
    help="One more image or folder, or - for standard input.  [default: none]",
)
@click.option(
    "-o", "--output", metavar="OUT", help="File, folder, or - for standard output.  [default: beside the input]"
)
@options.SCALE
@click.option(
    "-t",
    "--tile-size",
    default=0,
    show_default=True,
    metavar="PIXELS",
    help="Side of tiles in LR pixels; 0 chooses.",
)
@options.MODEL
@options.FORMAT
@click.option(
    "-j",
    "--jobs",
    type=_Jobs(),
    help="Threads that read ahead, run the engine, and compress.  [default: chosen by cores]",
)
@options.ENSEMBLE
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each image.")
@options.WIDTH
@options.HEIGHT
@click.option(
    "--fit", type=options.Fit(), help="Largest width and height of the result, its aspect ratio kept.  [default: none]"
)
@click.option("--overwrite", is_flag=True, help="Replace results that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave out images whose result exists.")
@click.option("--follow-links", is_flag=True, help="Enter folders that are symbolic links.")
@click.option("--dry-run", is_flag=True, help="Print what would be done and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome of each entry as JSON, at the end.")
@click.option("--json-lines", is_flag=True, help="Print the outcome of each entry as a line of JSON when it is known.")
@options.THREADS
@options.ENGINE
@options.EXACT
@options.DEVICE
@options.RANGE
@options.DENOISE
@options.STRIP
@click.option(
    "--name-template",
    metavar="TEXT",
    help="Names of results, of {stem} {ext} {model} {scale}.  [default: {stem}_x{scale}, in another folder {stem}]",
)
@options.COMPRESSION
@options.QUALITY
@click.option(
    "--subsampling",
    type=click.Choice(["4:4:4", "4:2:2", "4:2:0"]),  # as in sharpbit.image, which would import numpy
    help="Resolution of the colours of JPEG, 4:4:4 being full.  [default: full from quality 90 on, else 4:2:0]",
)
@options.MAX_PIXELS
@click.option("--quiet", is_flag=True, help="Print errors only.")
def upscale(**given: Any) -> None:
    """Upscale images, folders of images (with their tree), or - for standard input.

    Results lie beside the input unless -o says otherwise. JPEG and WebP stay what they are and everything else becomes
    PNG, unless -f or the name of the output says otherwise. Nothing is overwritten unasked; a run that was interrupted
    goes on with the same command and --skip-existing.
    """
    from sharpbit.app.run import Upscale, run_upscale

    sys.exit(run_upscale(Upscale(**given)))
