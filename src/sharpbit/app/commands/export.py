"""The command `sharpbit export`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.argument("model", metavar="MODEL")
@options.overrides
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "native", "tflite", "authors"]),
    help="Format of the result.  [default: that of FILE's ending, onnx without FILE]",
)
@click.option("-o", "--output", metavar="FILE", help="Path of the result.  [default: name of MODEL, here]")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@options.JSON
@options.QUIET
def export(**given: Any) -> None:
    """Write MODEL for engines: onnx for all of them, native (integer models only) for that of sharpbit.

    The format tflite is for phones: plain chains in float or in integers (method lossless), as LiteRT runs them. The
    format authors is a .pth file with the tensors named as in the classes of the network's authors.
    """
    from sharpbit.system.extras import need

    need("train", "exporting", "onnx", "onnxscript")
    from sharpbit.app.quantize import run_export

    click.echo(run_export(**given))
