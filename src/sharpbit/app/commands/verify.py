"""The command `sharpbit verify`."""

from __future__ import annotations

import sys
from typing import Any

import click

from sharpbit.app import options


@click.command(cls=options.ManyFolders)
@click.argument("model", metavar="FILE")
@click.option(
    "--data",
    multiple=True,
    metavar="FOLDER...",
    help="Images that FILE was measured on: test sets, or the calibration folder.  [default: none]",
)
@click.option(
    "--source", metavar="MODEL", help="Float network that FILE was made from, to measure too.  [default: none]"
)
@options.THREADS
@options.JSON
@options.QUIET
def verify(**given: Any) -> None:
    """Run the claims of the receipt in FILE again, and exit with 1 if one fails.

    Without images these are the hashes, what the network makes of a test image, constant colours, size and precision.
    With the images that the file was measured on, PSNR is measured again. All commands that make model files write
    receipts; only that of 'sharpbit compress' claims PSNR.
    """
    from sharpbit.app.verify import run_verify

    sys.exit(run_verify(**given))
