"""The one writer of Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

RULES = {"l": "---", "r": "---:"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> list[str]:
    """The lines of a table.

    Args:
        head: titles of the columns.
        rows: cells of each row.
        align: a letter for each column, `l` (left) or `r` (right); columns without one are on the left.
    """
    rules = [RULES[kind] for kind in align.ljust(len(head), "l")]
    return [_row(head), f"|{'|'.join(rules)}|", *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
