"""The command `sharpbit doctor`."""

from __future__ import annotations

import click

from sharpbit.app import options


@click.command()
@options.JSON
@click.option(
    "--report", is_flag=True, help="Print it for a bug report, in Markdown, without the name of your home folder."
)
def doctor(as_json: bool, report: bool) -> None:
    """Print versions, engines, instruction sets, settings files, and the optional packages that are installed."""
    from sharpbit.app.show import bug_report, doctor_report
    from sharpbit.errors import UsageError

    if as_json and report:
        raise UsageError("--json and --report exclude each other; give one of them")
    click.echo(bug_report() if report else doctor_report(as_json))
