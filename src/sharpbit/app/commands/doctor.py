"""The command `sharpbit doctor`."""

from __future__ import annotations

import click

from sharpbit.app import options


@click.command()
@options.JSON
def doctor(as_json: bool) -> None:
    """Print versions, engines, instruction sets, and the optional packages that are installed."""
    from sharpbit.app.show import doctor_report

    click.echo(doctor_report(as_json))
