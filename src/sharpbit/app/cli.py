"""The command `sharpbit`: each command parses, calls and prints."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from sharpbit._version import __version__
from sharpbit.app import INTERRUPTED, options
from sharpbit.errors import SharpbitError


class Sentences(click.Group):
    """A group of commands that turns our errors into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a user's mistake never becomes a stack trace."""
        try:
            return super().invoke(ctx)
        except SharpbitError as error:
            click.echo(f"sharpbit: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("sharpbit: interrupted; the same command goes on from where files were last saved", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()  # whoever read our output has gone: nothing more to say
            ctx.exit(1)
        except OSError as error:  # of a name that was given: too long, in a folder that may not be entered
            about = f"{error.filename}: " if error.filename else ""
            click.echo(f"sharpbit: {about}{error.strerror or error}", err=True)
            ctx.exit(1)


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sharpbit", message="%(prog)s %(version)s")
def app() -> None:
    """Makes image super-resolution networks small and fast, and runs them."""


@app.command()
@options.upscale
def upscale(**given: Any) -> None:
    """Enlarge pictures, folders of pictures (with their tree), or - for standard input.

    Results are PNG beside the input unless -o or -f say otherwise. Nothing is overwritten unasked; a run that was
    interrupted goes on with the same command and --skip-existing.
    """
    from sharpbit.app.run import run_upscale

    sys.exit(run_upscale(options.Upscale(**given)))


@app.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(name: str | None, as_json: bool) -> None:
    """List the embedded models, or show the whole card of one (or of a model file)."""
    from sharpbit.app.show import card_of, table_of_models

    click.echo(card_of(name, as_json) if name else table_of_models(as_json))


@app.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Print versions, engines, instruction sets, and which extras are installed."""
    from sharpbit.app.show import doctor_report

    click.echo(doctor_report(as_json))


@app.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option("--data", metavar="DIR", help="Folder of the training pictures (the recipe says which).")
@click.option("--out", metavar="DIR", help="Folder of results, log and checkpoint [default: runs/NAME].")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--stop-after", type=click.IntRange(1), metavar="STEPS", help="Stop, with a checkpoint, after these.")
@click.option("--overwrite", is_flag=True, help="Replace the exported file of an earlier run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def train(recipe: str, as_json: bool, **given: Any) -> None:
    """Carry out a recipe: train, transform and export a network. Run again to go on where it stopped."""
    from sharpbit.app.show import trained
    from sharpbit.extras import need

    need("train", "training")
    from sharpbit.recipe import run

    click.echo(trained(run(recipe, **given), as_json))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    signal.signal(signal.SIGTERM, _interrupt)
    app.main(args=None if arguments is None else list(arguments), prog_name="sharpbit")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
