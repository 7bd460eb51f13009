"""Horizontal bars as SVG: medians, with a line from the tenth to the ninetieth percentile."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, ROW, TOP = 840, 26, 44  # in pixels
LEFT, RIGHT = 260, 80  # room for the labels and the numbers
COLOUR = "#0b6fb8"


class Bar(NamedTuple):
    """A label, its value, and the ends of the line across the end of its bar."""

    label: str
    value: float
    low: float
    high: float


def bars(title: str, rows: Sequence[Bar]) -> str:
    """An SVG drawing; the shortest bar comes first."""
    height = TOP + ROW * len(rows) + 12
    longest = max((max(row.value, row.high) for row in rows), default=1.0)
    per_unit = (WIDTH - LEFT - RIGHT) / longest
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="26" font-size="14" font-weight="bold" fill="#111">{escape(title)}</text>',
    ]
    for number, row in enumerate(sorted(rows, key=lambda row: row.value)):
        top = TOP + number * ROW
        end, low, high = (LEFT + value * per_unit for value in (row.value, row.low, row.high))
        parts += [
            f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end" fill="#333">{escape(row.label)}</text>',
            f'<rect x="{LEFT}" y="{top + 3}" width="{end - LEFT:.1f}" height="{ROW - 8}" fill="{COLOUR}"/>',
            f'<path d="M{low:.1f} {top + 12}H{high:.1f}" stroke="#111" stroke-width="1.5"/>',
            f'<text x="{max(end, high) + 6:.1f}" y="{top + 16}" fill="#333">{row.value:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
