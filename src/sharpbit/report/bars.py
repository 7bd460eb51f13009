"""Horizontal bars as SVG: medians, with a line from the tenth to the ninetieth percentile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sharpbit.report import svg

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
    parts = [svg.text(16, 26, title, font_size=14, font_weight="bold", fill="#111")]
    for number, row in enumerate(sorted(rows, key=lambda row: row.value)):
        top = TOP + number * ROW
        end, low, high = (LEFT + value * per_unit for value in (row.value, row.low, row.high))
        parts += [
            svg.text(LEFT - 8, top + 15, row.label, text_anchor="end", fill="#333"),
            svg.rect(LEFT, top + 3, end - LEFT, ROW - 8, fill=COLOUR),
            svg.path(f"M{low:.1f} {top + 12}H{high:.1f}", stroke="#111", stroke_width=1.5),
            svg.text(max(end, high) + 6, top + 16, f"{row.value:.2f}", fill="#333"),
        ]
    return svg.drawing(WIDTH, height, parts, size=12)
