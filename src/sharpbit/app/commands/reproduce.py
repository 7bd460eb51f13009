"""The command `sharpbit reproduce`."""

from __future__ import annotations

import sys
from typing import Any

import click

from sharpbit.app import options


@click.command(cls=options.ManyFolders)
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
@click.option("--data", multiple=True, metavar="FOLDER...", help="Sets of test images, or a folder of sets (required).")
@click.option("--weights", metavar="FOLDER", help="Folder below which published weights lie.  [default: none]")
@click.option(
    "--runs", default="runs", show_default=True, metavar="FOLDER", help="Folder with the results of training."
)
@options.THREADS
@click.option(
    "--table", metavar="FILE.md", help="Write a Markdown table, published beside measured, to FILE.md.  [default: none]"
)
@click.option("--strict", is_flag=True, help="Exit with 1 where a claim could not be checked, too.")
@options.JSON
@options.QUIET
def reproduce(**given: Any) -> None:
    """Compare the numbers that recipes claim with those that their weights give here.

    A RECIPE is a file, or a folder of them. Nothing is trained. Claims are counted as held, failed or unchecked (no
    weights, no images of that set, or no [expect]). The exit code is 0 if at least one held and none failed, else 1.
    """
    from sharpbit.system.extras import need

    need("train", "reproducing a recipe", "onnx", "onnxscript")
    from sharpbit.app.reproduce import run_reproduce

    sys.exit(run_reproduce(**given))
