"""The results of `sharpbit compare`: Markdown, CSV, LaTeX, and a figure of quality against time with error bars."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from sharpbit.report.markdown import table
from sharpbit.report.scatter import Point, plot
from sharpbit.verbs.compare import Group

SPECIAL = {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#"}


def files(groups: Sequence[Group], size: tuple[int, int]) -> dict[str, str]:
    """The text of each file by its name."""
    return {
        "table.md": markdown(groups, size),
        "table.csv": comma_separated(groups),
        "table.tex": latex(groups),
        "figure.svg": figure(groups),
    }


def markdown(groups: Sequence[Group], size: tuple[int, int]) -> str:
    """One row a combination; means over the seeds, with their standard deviation."""
    sets = _sets(groups)
    head = ["network", "method", "bits", *sets, "lost at most", f"ms at {size[1]}x{size[0]}", "bytes", "engine"]
    rows = [[*_first(group), *_cells(group, sets, "±"), *_costs(group)] for group in groups if not group.error]
    lines = table(head, rows, f"llr{'r' * len(sets)}rrrl")
    failed = [f"{' '.join(_first(group))}: {group.error}" for group in groups if group.error]
    count = max((group.count for group in groups), default=0)
    note = f"PSNR in dB (Y channel), mean ± standard deviation over {count} seeds." if count > 1 else "PSNR in dB (Y)."
    return "\n".join([*lines, "", note, *failed, ""])


def comma_separated(groups: Sequence[Group]) -> str:
    """The same with all digits, and a column for each number."""
    sets = _sets(groups)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kinds = ("psnr", "spread", "drop")
    head = [f"{name}_{kind}" for name in sets for kind in kinds]
    writer.writerow(["network", "method", "bits", "seeds", *head, "ms", "bytes", "engine", "error"])
    for group in groups:
        values = [getattr(group, kind).get(name, "") for name in sets for kind in kinds]
        time = "" if math.isnan(group.ms) else group.ms
        costs = [time, group.bytes or "", group.engine, group.error]
        writer.writerow([group.model, group.method, group.bits, group.count, *values, *costs])
    return text.getvalue()


def latex(groups: Sequence[Group]) -> str:
    """A table for a paper, without anything but `tabular`."""
    sets = _sets(groups)
    head = ["network", "method", "bits", *map(_escaped, sets), "ms"]
    lines = [rf"\begin{{tabular}}{{llr{'r' * len(sets)}r}}", r"\hline", " & ".join(head) + r" \\", r"\hline"]
    for group in groups:
        if not group.error:
            cells = [*map(_escaped, _first(group)), *_cells(group, sets, r"$\pm$"), f"{group.ms:.4g}"]
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def figure(groups: Sequence[Group]) -> str:
    """Quality against time, a panel a set; error bars are standard deviations over the seeds."""
    panels: dict[str, list[Point]] = {}
    for name in _sets(groups):
        panels[f"PSNR in dB on {name} against milliseconds"] = [
            Point(" ".join(_first(group)), group.ms, group.psnr[name], group.spread[name])
            for group in groups
            if not group.error and math.isfinite(group.psnr[name])
        ]
    return plot({title: points for title, points in panels.items() if points})


def _sets(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group.psnr))


def _first(group: Group) -> list[str]:
    return [Path(group.model).stem if "/" in group.model else group.model, group.method, str(group.bits)]


def _cells(group: Group, sets: Sequence[str], sign: str) -> list[str]:
    spread = [f" {sign} {group.spread[name]:.3f}" if group.count > 1 else "" for name in sets]
    return [f"{group.psnr[name]:.3f}{more}" for name, more in zip(sets, spread, strict=True)]


def _costs(group: Group) -> list[str]:
    return [f"{max(group.drop.values()):.3f}", f"{group.ms:.4g}", f"{group.bytes:,}", group.engine]


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text)
