"""The command `sharpbit train`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.argument("recipe", metavar="RECIPE", type=click.Path(dir_okay=False))
@click.option("--data", metavar="FOLDER", help="Training images; the recipe names them.  [default: none]")
@click.option("--weights", metavar="FOLDER", help="Folder below which published weights lie.  [default: none]")
@click.option("--out", metavar="FOLDER", help="Folder of results, log and checkpoint.  [default: runs/NAME]")
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="Device: cpu, cuda or cuda:N.")
@click.option(
    "--stop-after",
    type=click.IntRange(1),
    metavar="STEPS",
    help="Stop with a checkpoint after STEPS steps of training.  [default: never]",
)
@click.option(
    "--validate",
    multiple=True,
    metavar="FOLDER",
    help="Measure on this set of test images while training, into log.jsonl; may be repeated.  [default: nothing]",
)
@click.option(
    "--validate-every",
    type=click.IntRange(1),
    default=5000,
    show_default=True,
    metavar="STEPS",
    help="Steps from one such measurement to the next.",
)
@click.option("--overwrite", is_flag=True, help="Replace the exported file of an earlier run.")
@options.JSON
@options.QUIET
def train(recipe: str, as_json: bool, **given: Any) -> None:
    """Carry out a recipe: train, transform and export a network. Run it again to go on where it stopped.

    Several GPUs or processes take: torchrun --nproc-per-node 2 -m sharpbit train RECIPE --device cuda.
    """
    from sharpbit.app.show import trained
    from sharpbit.system.extras import need

    need("train", "training")
    from sharpbit.recipe import run

    if results := run(recipe, **given):  # of several processes one tells
        click.echo(trained(results, as_json))
