"""The command `sharpbit freeze`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("-o", "--output", required=True, metavar="FILE", help="Path of the result, .safetensors (required).")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@options.JSON
def freeze(**given: Any) -> None:
    """Turn the clipping ranges of a quantized MODEL into numbers, and its weights into integers.

    The result is evaluated as it is; export writes it for engines.
    """
    from sharpbit.system.extras import need

    need("train", "freezing")
    from sharpbit.app.stages import run_freeze

    click.echo(run_freeze(**given))
