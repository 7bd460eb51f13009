"""What a shell completes: commands and options by click, and beside them names of models and of files."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from sharpbit.app.options import ParamType

VARIABLE = "_SHARPBIT_COMPLETE"  # set by the script of the shell while it asks
SHELLS = ("bash", "zsh", "fish")
_MODELS = ("model", "models", "words")  # parameters that take a model


class _ModelOrFile(ParamType):
    """Text that is the name of a model, or a file."""

    name = "text"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """The models whose names begin so; files where there is none."""
        from sharpbit import zoo
        from sharpbit.zoo import added

        names = [name for name in (*zoo.names(), *added.names()) if name.startswith(incomplete)]
        return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


class _File(ParamType):
    """Text that is a file or a folder."""

    name = "text"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Leave it to the shell, which knows files."""
        return [CompletionItem(incomplete, type="file")]


def completes(command: click.Command) -> click.Command:
    """Let the parameters of a command that are plain text complete models and files, where a shell asks."""
    if VARIABLE in os.environ:
        for parameter in command.params:
            if isinstance(parameter.type, click.types.StringParamType):
                parameter.type = _ModelOrFile() if parameter.name in _MODELS else _File()
    return command


def script(shell: str, program: click.Command) -> str:
    """The lines that a shell reads at its start: one of `SHELLS`."""
    found = get_completion_class(shell)
    assert found is not None, f"click completes {shell}"
    return found(program, {}, "sharpbit", VARIABLE).source()
