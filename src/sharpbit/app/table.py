"""Tables of measured models: Markdown for people, CSV for programs, a plot of quality against cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sharpbit.report.markdown import table
from sharpbit.report.scatter import Point, plot
from sharpbit.system.atomic import open_atomic

Entry = dict[str, Any]


def write_tables(folder: Path, entries: Sequence[Entry]) -> list[Path]:
    """Write `table.md`, `table.csv` and, where costs are known, `plot.svg`, replacing older ones.

    Args:
        folder: which exists.
        entries: one a model, as `sharpbit evaluate --json` gives them, with `parameters` and `macs`.
    """
    entries = sorted(entries, key=lambda entry: (entry["scale"], entry["macs"] or 0, entry["name"]))
    texts = {"table.md": markdown(entries), "table.csv": comma_separated(entries), "plot.svg": _plot(entries)}
    written = []
    for name, text in texts.items():
        if text:
            with open_atomic(folder / name, overwrite=True) as file:
                file.write(text.encode())
            written.append(folder / name)
    return written


def markdown(entries: Sequence[Entry]) -> str:
    """One row a model, PSNR / SSIM for each set, with the protocol below."""
    sets = _sets(entries)
    rows = []
    for entry in entries:
        scores = {item["name"]: item for item in entry["sets"]}
        cells = [_cell(scores[name]) if name in scores else "" for name in sets]
        cost = [_fixed(_divided(entry["parameters"], 1e3), 2), _fixed(_divided(entry["macs"], 1e9), 2)]
        rows.append([entry["name"], f"x{entry['scale']}", *cost, *cells])
    lines = table(["model", "scale", "parameters (K)", "MACs (G)", *sets], rows, "llrr")
    protocols = dict.fromkeys(item["protocol"] for entry in entries for item in entry["sets"])
    return "\n".join([*lines, "", f"PSNR (dB) / SSIM: {' / '.join(protocols)}.", ""])


def comma_separated(entries: Sequence[Entry]) -> str:
    """The same with all digits, and a column for each number."""
    sets = _sets(entries)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    scores = [f"{name}_{kind}" for name in sets for kind in ("psnr", "ssim")]
    writer.writerow(["model", "scale", "parameters", "macs", *scores])
    for entry in entries:
        found = {f"{item['name']}_{kind}": item[kind] for item in entry["sets"] for kind in ("psnr", "ssim")}
        row = [entry["name"], entry["scale"], entry["parameters"], entry["macs"]]
        writer.writerow([*row, *(_fixed(found.get(name), 6) for name in scores)])
    return text.getvalue()


def _plot(entries: Sequence[Entry]) -> str:
    panels: dict[str, list[Point]] = {}
    for entry in entries:
        score = entry["sets"][0]
        if entry["macs"] and score["psnr"] is not None:
            label = entry["name"].removesuffix(f"_x{entry['scale']}")
            title = f"x{entry['scale']}: PSNR on {score['name']} (dB) against MACs (G, 640x360 in)"
            panels.setdefault(title, []).append(Point(label, entry["macs"] / 1e9, score["psnr"]))
    return plot(panels) if panels else ""


def _cell(score: Entry) -> str:
    return f"{_fixed(score['psnr'], 2)} / {_fixed(score['ssim'], 4)}"


def _sets(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(item["name"] for entry in entries for item in entry["sets"]))


def _divided(value: int | None, by: float) -> float | None:
    return None if value is None else value / by


def _fixed(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
