"""The command `sharpbit reparameterize`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.argument("source", metavar="IN", type=click.Path(dir_okay=False))
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False))
@options.overrides
@click.option(
    "--form",
    type=click.Choice(["plain", "et"]),
    default="plain",
    show_default=True,
    help="Form of the chain, see above.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@options.JSON
def reparameterize(
    source: str, target: str, form: str, overwrite: bool, as_json: bool, overrides: dict[str, Any]
) -> None:
    """Write the model IN as a plain chain of convolutions to OUT.

    The form 'plain' clips with a clamp and keeps the addition of the image where there is one; 'et' is convolution
    and ReLU or PReLU alone, as published. OUT ends in .safetensors, .onnx, or .pth (the names of the authors). The two
    are compared, borders included; more than 1e-5 apart is an error, unless rounding in float32 moves the network
    itself by half as much and the two are equal in float64.
    """
    from sharpbit.system.extras import need

    need("train", "reparameterizing")
    from sharpbit.app.convert import convert

    click.echo(convert(source, target, form, overwrite=overwrite, as_json=as_json, overrides=overrides))
