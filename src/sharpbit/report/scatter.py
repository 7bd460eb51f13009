"""A scatter plot as SVG, one panel below the other: enough for quality against cost, and no plotting library."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from sharpbit.report import svg

WIDTH, HEIGHT = 840, 420  # of a panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 60, 110, 44, 40  # around its axes
LETTER, LINE = 7.0, 13  # width and height of a letter of a label, roughly
HALO = {"stroke": "white", "stroke_width": 2.5, "paint_order": "stroke"}
COLOURS = ("#0b6fb8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#be185d", "#0f766e", "#475569")


class Point(NamedTuple):
    """One model: what it costs (x, logarithmic), how good it is (y), and half the length of its error bar."""

    label: str
    x: float
    y: float
    spread: float = 0.0


class Box(NamedTuple):
    """A rectangle of the drawing."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have something in common."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def plot(panels: Mapping[str, Sequence[Point]]) -> str:
    """An SVG drawing.

    Args:
        panels: points by the title of their panel. Labels that begin alike (`ETDS_M5C16`, `ETDS_M6C32`) are one family,
            with one colour and joined by a line.
    """
    labels = [point.label for points in panels.values() for point in points]
    colours = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(dict.fromkeys(map(_family, labels)))}
    parts = [
        svg.group(_panel(title, points, colours), 0, number * HEIGHT)
        for number, (title, points) in enumerate(panels.items())
    ]
    return svg.drawing(WIDTH, HEIGHT * len(panels), parts, size=11)


def _panel(title: str, points: Sequence[Point], colours: Mapping[str, str]) -> Iterator[str]:
    low, high = min(p.x for p in points) / 1.25, max(p.x for p in points) * 1.25
    least, most = min(p.y - p.spread for p in points), max(p.y + p.spread for p in points)
    room = 0.06 * (most - least) or 0.5
    bottom, top = least - room, most + room

    def at(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / low) / math.log(high / low)
        up = (y - bottom) / (top - bottom)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    yield svg.text(LEFT, 24, title, font_size=14, font_weight="bold", fill="#111")
    for value in _ticks(bottom, top):
        y = at(low, value)[1]
        yield svg.path(f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}", stroke="#ddd")
        yield svg.text(LEFT - 8, y + 4, f"{value:g}", text_anchor="end", fill="#444")
    for value in _log_ticks(low, high):
        x = at(value, bottom)[0]
        yield svg.path(f"M{x:.1f} {TOP}V{HEIGHT - BOTTOM}", stroke="#eee")
        yield svg.text(x, HEIGHT - BOTTOM + 18, f"{value:g}", text_anchor="middle", fill="#444")
    yield svg.path(f"M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}", fill="none", stroke="#444")
    families: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda p: p.x):
        families.setdefault(_family(point.label), []).append(point)
    for family, members in families.items():
        yield svg.polyline((at(p.x, p.y) for p in members), stroke=colours[family], stroke_opacity="0.45")
    for point in points:
        if point.spread:
            (x, low_end), (_, high_end) = (at(point.x, point.y + sign * point.spread) for sign in (-1, 1))
            ends = f"M{x - 4:.1f} {low_end:.1f}H{x + 4:.1f}M{x - 4:.1f} {high_end:.1f}H{x + 4:.1f}"
            colour = colours[_family(point.label)]
            yield svg.path(f"M{x:.1f} {low_end:.1f}V{high_end:.1f}{ends}", stroke=colour, stroke_width=1.2)
    yield from _labelled([(p.label, *at(p.x, p.y), colours[_family(p.label)]) for p in points])


def _labelled(dots: Sequence[tuple[str, float, float, str]]) -> Iterator[str]:
    """Dots with their labels, each where it covers nothing else, with a thin line to its dot if that is far."""
    taken = [Box(x - 4, y - 4, x + 4, y + 4) for _, x, y, _ in dots]
    for label, x, y, colour in sorted(dots, key=lambda dot: (dot[2], dot[1])):
        box = next((box for box in _places(label, x, y) if not any(box.meets(other) for other in taken)), None)
        box = box or next(_places(label, x, y))
        taken.append(box)
        if min(abs(box.left - x), abs(box.right - x)) > 12 or min(abs(box.top - y), abs(box.bottom - y)) > 12:
            end = f"{min(max(x, box.left), box.right):.1f} {min(max(y, box.top), box.bottom):.1f}"
            yield svg.path(f"M{x:.1f} {y:.1f}L{end}", stroke=colour, stroke_opacity=0.5)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{escape(label)}</title></circle>'
        yield svg.text(box.left, box.bottom - 3, label, fill=colour, **HALO)


def _places(label: str, x: float, y: float) -> Iterator[Box]:
    """Where a label may stand: right of its dot, left, above, below, and farther and farther out."""
    width = LETTER * len(label)
    for out in range(9):
        for dx, dy in ((7, 0), (-7 - width, 0), (7, 1), (7, -1), (-7 - width, -1), (-7 - width, 1), (-width / 2, 1.2)):
            down = dy * (LINE + 1) * max(out, 1) if dy else 0
            if dy == 0 and out:
                continue
            left, top = x + dx, y - LINE / 2 + down
            box = Box(left, top, left + width, top + LINE)
            if box.left > LEFT and box.right < WIDTH and box.top > TOP - 12 and box.bottom < HEIGHT - BOTTOM:
                yield box
    yield Box(x + 7, y - LINE / 2, x + 7 + width, y + LINE / 2)


def _family(label: str) -> str:
    return re.sub(r"[_-]?(M\d+C\d+|x\d)(?=[_-]|$)", "", label)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, four to ten of them."""
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(step * part for part in (0.1, 0.2, 0.5, 1.0) if (high - low) / (step * part) <= 10)
    return [round(k * step, 6) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for power in powers for k in (1, 2, 5) if low <= (value := round(k * 10.0**power, 9)) <= high]
