"""The manual page, written from the help texts."""

from __future__ import annotations

import inspect

import click

from sharpbit._version import __version__

EXIT_CODES = (
    (0, "Everything that was asked for is done."),
    (1, "An image, model or network failed, is not what it should be, or a result exists; the rest is done."),
    (2, "The command cannot be meant so, or needs a package that is not installed; nothing was done."),
    (130, "Interrupted by Ctrl-C; what was written is complete."),
    (143, "Terminated by SIGTERM; what was written is complete."),
)
FILES = (
    ("~/.config/sharpbit.toml", "Defaults of options, of all commands or, in a table such as [upscale], of one."),
    ("sharpbit.toml", "The same for the folder in which a command is called; it comes before the file of the user."),
    ("~/.local/share/sharpbit/models", "Models that 'sharpbit models add' has put there."),
)
VARIABLES = (
    ("SHARPBIT_COMMAND_OPTION", "A default, such as SHARPBIT_UPSCALE_QUALITY=90; it comes before all files."),
    ("SHARPBIT_SETTINGS", "A settings file in place of both others."),
    ("SHARPBIT_MODELS", "The folder of models that were added."),
    ("SHARPBIT_INSTRUCTION_SET", "The instruction set that the native engine keeps to, for measuring."),
)


def page(program: click.Group) -> str:
    """The manual page of a program in roff, as `man -l` reads it."""
    lines = [f'.TH SHARPBIT 1 "" "sharpbit {__version__}"', ".SH NAME", f"sharpbit \\- {_first(program)}"]
    with click.Context(program, info_name="sharpbit") as parent:
        lines += [".SH SYNOPSIS", ".B sharpbit", _text("[OPTIONS] COMMAND [ARGS]..."), ".SH DESCRIPTION"]
        lines += [*_paragraphs(program), ".SH OPTIONS", *_options(program, parent), ".SH COMMANDS"]
        for name in sorted(program.commands):
            command = program.commands[name]
            context = click.Context(command, info_name=name, parent=parent)
            usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
            lines += [f".SS {_text(usage)}", *_paragraphs(command), *_options(command, context)]
    sections = (("EXIT STATUS", EXIT_CODES), ("FILES", FILES), ("ENVIRONMENT", VARIABLES))
    for title, entries in sections:
        lines.append(f".SH {title}")
        lines += [part for name, text in entries for part in (".TP", f"\\fB{_text(str(name))}\\fR", _text(text))]
    return "\n".join(lines) + "\n"


def _options(command: click.Command, context: click.Context) -> list[str]:
    records = [found for part in command.get_params(context) if (found := part.get_help_record(context))]
    return [line for option, text in records if text for line in (".TP", f"\\fB{_text(option)}\\fR", _text(text))]


def _first(command: click.Command) -> str:
    return _text(inspect.cleandoc(command.help or "").split("\n\n")[0]).rstrip(".")


def _paragraphs(command: click.Command) -> list[str]:
    parts = inspect.cleandoc(command.help or "").split("\n\n")
    return [line for part in parts for line in (".PP", _text(part))]


def _text(text: str) -> str:
    """Text in one line without what roff would take for marks."""
    line = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{line}" if line.startswith(".") else line
