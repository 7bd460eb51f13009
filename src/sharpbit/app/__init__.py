"""The command line: parse, call, print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def dump(value: Any) -> str:
    """JSON for `--json`."""
    return json.dumps(value, indent=2, ensure_ascii=False)


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
