"""The command `sharpbit models`."""

from __future__ import annotations

import click

from sharpbit.app import options


@click.command()
@click.argument("name", required=False, metavar="[MODEL]")
@options.JSON
def models(name: str | None, as_json: bool) -> None:
    """List the embedded models, or print the whole card of MODEL (an embedded name or a model file)."""
    from sharpbit.app.show import card_of, table_of_models

    click.echo(card_of(name, as_json) if name else table_of_models(as_json))
