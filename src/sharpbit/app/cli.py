"""The command `sharpbit`: each command parses, calls and prints."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from sharpbit._version import __version__
from sharpbit.app import log, say, settings
from sharpbit.app.signals import code_of, listen, word_of
from sharpbit.errors import SharpbitError, UsageError

_SETTINGS, _ARGUMENTS = "sharpbit.settings", "sharpbit.arguments"  # of a context


class Sentences(click.Group):
    """A group of commands that takes defaults from settings files and turns our errors into one sentence."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        """Parse the options of the program, whose defaults may stand in settings files."""
        given = tuple(args)
        try:
            found = settings.read()
            extra["default_map"] = found.of_program(self)
        except SharpbitError as error:
            say(f"sharpbit: {error}")
            raise click.exceptions.Exit(error.exit_code) from None
        ctx = super().make_context(info_name, args, parent, **extra)
        ctx.meta.update({_SETTINGS: found, _ARGUMENTS: given})
        return ctx

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Find the command and give it its defaults."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            table = ctx.meta[_SETTINGS].of_command(name, command, self)
            ctx.default_map = {**(ctx.default_map or {}), name: table}
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what happens goes to the log where there is one."""
        try:
            with log.to(ctx.params["log"], ctx.meta[_ARGUMENTS]):
                return self._run(ctx)
        except OSError as error:  # of the log: all others became sentences
            say(f"sharpbit: the log {ctx.params['log']} cannot be written: {error.strerror or error}")
            ctx.exit(1)

    def _run(self, ctx: click.Context) -> Any:
        """Run the command; a user's mistake never becomes a stack trace."""
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            if not (origin := ctx.meta[_SETTINGS].origin(error)):
                raise
            raise click.BadParameter(f"{error.message} (from {origin})", error.ctx, error.param) from None
        except SharpbitError as error:
            say(f"sharpbit: {error}")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt as end:
            goes_on = "the same command goes on from its last checkpoint"
            begins = "files that it had written are complete"
            say(f"sharpbit: {word_of(end)}; {goes_on if ctx.invoked_subcommand == 'train' else begins}")
            ctx.exit(code_of(end))
        except BrokenPipeError:
            sys.stderr.close()  # whoever read our output has gone: nothing more to say
            ctx.exit(1)
        except OSError as error:  # of a name that was given: too long, in a folder that may not be entered
            about = f"{error.filename}: " if error.filename else ""
            say(f"sharpbit: {about}{error.strerror or error}")
            ctx.exit(1)


class Commands(Mapping[str, click.Command]):
    """The commands by name: the files of `commands`, each loaded only when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in iter(self):
            raise KeyError(name)
        command: click.Command = getattr(import_module(f"sharpbit.app.commands.{name}"), name)
        if "_SHARPBIT_COMPLETE" not in os.environ:
            return command
        from sharpbit.app.completion import completes

        return completes(command)

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(Path(__file__).with_name("commands").glob("[a-z]*.py")))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _manual(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    """Print the manual page and end."""
    if wanted:
        from sharpbit.app.manual import page

        click.echo(page(app), nl=False)
        ctx.exit()


def _completion(ctx: click.Context, param: click.Parameter, shell: str | None) -> None:
    """Print the script for a shell and end."""
    if shell:
        from sharpbit.app.completion import script

        click.echo(script(shell, app))
        ctx.exit()


@click.group(
    cls=Sentences,
    commands=Commands(),
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "auto_envvar_prefix": settings.PREFIX,
    },
)
@click.version_option(__version__, prog_name="sharpbit", message="%(prog)s %(version)s")
@click.option("--log", metavar="FILE", help="Append what is printed, and each outcome, to this file.  [default: none]")
@click.option(
    "--nice",
    type=click.IntRange(0, 19),
    metavar="N",
    help="Give way to other programs, from 0 to 19, the most.  [default: as the shell]",
)
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    is_eager=True,
    expose_value=False,
    callback=_completion,
    help="Print the lines that let this shell complete commands, options and models, and exit.",
)
@click.option(
    "--man",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_manual,
    help="Print the manual page, for man -l -, and exit.",
)
def app(log: str | None, nice: int | None) -> None:
    """Makes image super-resolution networks small and fast, and runs them.

    Defaults of all options can stand in ~/.config/sharpbit.toml, in sharpbit.toml of the working folder, and in
    environment variables such as SHARPBIT_UPSCALE_QUALITY.
    """
    if nice:
        if not hasattr(os, "nice"):
            raise UsageError("--nice is not there on this system; start sharpbit by a program that lowers its priority")
        os.nice(nice)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    listen()
    warnings.showwarning = _note  # type: ignore[assignment]
    app.main(args=None if arguments is None else list(arguments), prog_name="sharpbit")


def _note(message: Warning | str, *rest: object) -> None:
    """Print a warning as one line, without the place in the code that it came from."""
    say(f"note: {message}")


if __name__ == "__main__":
    main()
