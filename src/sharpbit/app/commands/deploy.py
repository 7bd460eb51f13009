"""The command `sharpbit deploy`."""

from __future__ import annotations

from pathlib import Path

import click

from sharpbit.app import dump, options


@click.command()
@click.argument("model", metavar="[FILE]", required=False)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="NAME",
    help="Kind of folder: c, cpp, onnx, web, tflite or docker (required).",
)
@click.option("-o", "--output", required=True, metavar="FOLDER", help="Folder to make (required).")
@click.option("--overwrite", is_flag=True, help="Replace FOLDER if it exists.")
@options.JSON
def deploy(model: str | None, target: str, output: str, overwrite: bool, as_json: bool) -> None:
    """Write FILE, a model file or an embedded name, as a folder that works on its own.

    The targets c and cpp are the engine's sources, the model as bytes and an example with a Makefile, for a compiler
    alone; onnx is for ONNX Runtime alone, and tflite for LiteRT alone, in float and integers where FILE is an embedded
    name; docker is a container file around one of these, which is not built; web is a page that upscales on the
    visitor's own device, without FILE with all families of embedded models, of which it chooses. Each folder has a
    README.
    """
    from sharpbit.verbs.deploy import deploy as write

    files = write(model, target, output, overwrite=overwrite)
    if as_json:
        click.echo(dump({"folder": output, "files": [str(path) for path in files]}))
    else:
        click.echo(f"{output}: {len(files)} files; begin with {Path(output) / 'README.md'}")
