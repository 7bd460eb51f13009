"""Defaults of options that a settings file gives.

`~/.config/sharpbit.toml` (or the folder that XDG_CONFIG_HOME names) holds for a user, `sharpbit.toml` in the working
folder for a project, which comes first. SHARPBIT_SETTINGS names another file in place of both. A key outside of tables
is an option of every command that has it; a table has the name of a command::

    threads = 2

    [upscale]
    format = "webp"

The command line comes before environment variables (SHARPBIT_UPSCALE_FORMAT, SHARPBIT_LOG), these before settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sharpbit.errors import UsageError

NAME = "sharpbit.toml"
PREFIX = "SHARPBIT"  # of environment variables


def files() -> list[Path]:
    """The settings files that exist, the one that comes first at the end."""
    named = os.environ.get("SHARPBIT_SETTINGS")
    if named:
        return [Path(named)]
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 (home may not exist)
    return [path for path in (Path(home, NAME), Path(NAME)) if path.is_file()]


@dataclass
class Settings:
    """What the files say, as it stands in them.

    Attributes:
        tables: The keys and tables of each file, as TOML has them.
        origins: The file that gave a value, by command ("" for the program itself) and option.
    """

    tables: dict[Path, dict[str, Any]] = field(default_factory=dict)
    origins: dict[tuple[str, str], Path] = field(default_factory=dict)

    def of_program(self, program: click.Group) -> dict[str, Any]:
        """Values for the options of the program itself; names of tables and commands are checked.

        Raises:
            UsageError: a table that is no command.
        """
        own, found = _names(program), {}
        for path, table in self.tables.items():
            for key, value in table.items():
                if isinstance(value, Mapping) and key not in (program.commands or {}):
                    raise UsageError(f"{path}: [{key}] is no command of sharpbit{_near(key, program.commands)}")
                if key in own:
                    found[own[key]] = value
                    self.origins["", own[key]] = path
        return found

    def of_command(self, name: str, command: click.Command, program: click.Group) -> dict[str, Any]:
        """Values for the options of a command.

        Raises:
            UsageError: a key of its table that is none of its options, or a key outside of tables that no command has.
        """
        own, general, found = _names(command), _names(program), {}
        for path, table in self.tables.items():
            given = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
            for key in given:
                if key not in own and key not in general and not _anywhere(key, program):
                    raise UsageError(f"{path}: {key} is no option of any command; tables such as [upscale] come last")
            for key in table.get(name, {}):
                if key not in own:
                    near = _near(key, own)
                    raise UsageError(f"{path}: [{name}] {key} is no option of sharpbit {name}{near}")
            for key, value in {**given, **table.get(name, {})}.items():
                if key in own:
                    found[own[key]] = value
                    self.origins[name, own[key]] = path
        return found

    def origin(self, error: click.BadParameter) -> str:
        """Where a value that cannot be used comes from; empty where it stands on the command line."""
        if error.ctx is None or error.param is None or error.param.name is None:
            return ""
        name, source = error.param.name, error.ctx.get_parameter_source(error.param.name)
        if source is ParameterSource.ENVIRONMENT:
            return f"the environment variable {error.ctx.auto_envvar_prefix}_{name.upper()}"
        if source is not ParameterSource.DEFAULT_MAP:
            return ""
        command = (error.ctx.info_name or "") if error.ctx.parent else ""
        return str(self.origins.get((command, name), ""))


def read() -> Settings:
    """Read the files.

    Raises:
        UsageError: a file that cannot be read or is not TOML.
    """
    tables = {}
    for path in files():
        import tomllib

        try:
            tables[path] = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise UsageError(f"the settings file {path} cannot be read: {error.strerror or error}") from None
        except ValueError as error:  # what is no TOML, and what is no text
            raise UsageError(f"the settings file {path} is not TOML: {error}") from None
    return Settings(tables)


def _names(command: click.Command) -> dict[str, str]:
    """The parameters of a command by their long options, without dashes: `max-pixels` and `max_pixels`."""
    found = {}
    for parameter in command.params:
        for option in parameter.opts if isinstance(parameter, click.Option) else ():
            if option.startswith("--") and parameter.name and parameter.name != "version":
                found[option[2:]] = found[option[2:].replace("-", "_")] = parameter.name
    return found


def _anywhere(key: str, program: click.Group) -> bool:
    """Whether any command has an option; loads them all, and is asked where the command at hand has none."""
    return any(key in _names(command) for command in program.commands.values())


def _near(key: str, names: Mapping[str, Any]) -> str:
    """The names that may have been meant."""
    from difflib import get_close_matches

    near = get_close_matches(key, list(names), 3, 0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""
