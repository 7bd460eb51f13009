"""The command `sharpbit`: each command parses, calls and prints."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import click

from sharpbit._version import __version__
from sharpbit.app import INTERRUPTED, say
from sharpbit.errors import SharpbitError

_MOMENT = 0.02  # seconds until a signal comes again


class Sentences(click.Group):
    """A group of commands that turns our errors into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a user's mistake never becomes a stack trace."""
        try:
            return super().invoke(ctx)
        except SharpbitError as error:
            say(f"sharpbit: {error}")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            goes_on = "the same command goes on from its last checkpoint"
            begins = "files that it had written are complete"
            say(f"sharpbit: interrupted; {goes_on if ctx.invoked_subcommand == 'train' else begins}")
            ctx.exit(INTERRUPTED)
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
        return command

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(Path(__file__).with_name("commands").glob("[a-z]*.py")))

    def __len__(self) -> int:
        return len(list(iter(self)))


@click.group(
    cls=Sentences,
    commands=Commands(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="sharpbit", message="%(prog)s %(version)s")
def app() -> None:
    """Makes image super-resolution networks small and fast, and runs them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as `sharpbit.__main__` leaves it while modules are loaded
        signal.signal(signal.SIGINT, _interrupt)
    warnings.showwarning = _note  # type: ignore[assignment]
    app.main(args=None if arguments is None else list(arguments), prog_name="sharpbit")


def _note(message: Warning | str, *rest: object) -> None:
    """Print a warning as one line, without the place in the code that it came from."""
    say(f"note: {message}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the run; a moment later where Python looks for a module, as it would keep a lock for which threads wait."""
    if frame is None or not frame.f_code.co_filename.startswith("<frozen importlib"):
        raise KeyboardInterrupt
    again = threading.Timer(_MOMENT, _send, [number])
    again.daemon = True
    again.start()


def _send(number: int) -> None:
    """Send the main thread a signal, so that it wakes up where it waits."""
    main_thread = threading.main_thread().ident
    if main_thread is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main_thread, number)
    else:
        signal.raise_signal(number)


if __name__ == "__main__":
    main()
