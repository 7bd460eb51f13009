"""The command line: parse, call, print."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from sharpbit.app import log
from sharpbit.app.text import printable
from sharpbit.system.numbers import finite


def say(line: str) -> None:
    """Print a line for people, to standard error, and append it to the log where there is one."""
    click.echo(printable(line), err=True)
    log.line(line)


def dump(value: Any) -> str:
    """JSON for `--json`; in ASCII, because the name of a file need not be text that the terminal can encode."""
    return json.dumps(finite(value), indent=2)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def flat(value: Any) -> str:
    """A value of a table or a header in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {flat(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(flat(item) for item in value)
    return str(value)


def ran(facts: Mapping[str, Any]) -> str:
    """What ran, in one line: precision, engine, instruction set, threads, device."""
    engine = f"{facts['engine']} ({facts['instruction_set']})" if facts["instruction_set"] else facts["engine"]
    threads = "1 thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
    return f"{facts['precision']}, {engine}, {threads}, {facts['device']}"
