"""The command `sharpbit models`."""

from __future__ import annotations

import click

from sharpbit.app import options
from sharpbit.errors import UsageError


@click.command()
@click.argument("words", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--name",
    metavar="NAME",
    help="With add: the name of the model, or of one in an archive.  [default: that of the file]",
)
@click.option("--licence", metavar="SPDX", help="With add: the licence of the weights.  [default: what the file says]")
@click.option("--overwrite", is_flag=True, help="With add: replace a model that was added under this name.")
@options.JSON
def models(words: tuple[str, ...], name: str | None, licence: str | None, overwrite: bool, as_json: bool) -> None:
    """List the models, or print the whole card of MODEL (an embedded name or a model file).

    With two words it adds or removes one of the user's own: in "sharpbit models add FILE" a model (.pth, .onnx,
    .sharpbit, one of the two files of ncnn, or a zip file or wheel that holds some) is copied into the folder
    $SHARPBIT_MODELS, which is ~/.local/share/sharpbit/models by default, from where -n takes it by its name;
    "sharpbit models remove MODEL" deletes that copy.
    """
    from sharpbit.app import added, show

    adding = len(words) == 2 and words[0] == "add"
    if not adding and (name or licence or overwrite):
        raise UsageError("--name, --licence and --overwrite belong to 'sharpbit models add FILE'")
    match words:
        case ():
            click.echo(show.table_of_models(as_json))
        case ("add" | "remove",):
            what = "FILE, the model to add" if words[0] == "add" else "MODEL, the name of one that was added"
            raise UsageError(f"'sharpbit models {words[0]}' takes {what}")
        case (model,):
            click.echo(show.card_of(model, as_json))
        case ("add", file):
            click.echo(added.run_add(file, name, licence, overwrite=overwrite, as_json=as_json))
        case ("remove", model):
            click.echo(added.run_remove(model, as_json=as_json))
        case _:
            raise UsageError(f"'sharpbit models' takes MODEL, add FILE or remove MODEL, not {' '.join(words)!r}")
