"""What `sharpbit compress` prints: a table of the steps, and a page of HTML that stands by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sharpbit._version import __version__
from sharpbit.report.receipt import STYLE, cells
from sharpbit.report.scatter import Point, plot

HEAD = ("step", "engine", "loss", "against float", "constant colours", "time", "memory", "payload")
Row = Mapping[str, Any]


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """The head and a line for each step; what failed has its reason in place of numbers."""
    return [list(HEAD), *(line(row, rows[0]) for row in rows)]


def line(row: Row, first: Row) -> list[str]:
    """One step, with what it bought against the first one, the float network."""
    if "error" in row:
        return [str(row["step"]), f"none: {row['error']}", *[""] * (len(HEAD) - 2)]
    worst = max((drop for drop in row["drop"].values() if drop is not None), default=None)
    against = row["against_float"]
    return [
        str(row["step"]),
        f"{row['engine'].removeprefix('sharpbit ')}, {row['precision']}",
        "" if row is first or worst is None else f"{worst:.3f} dB",
        "" if row is first else "equal" if against is None else f"{against:.2f} dB",
        f"{row['flatness']} of 255",
        _against(row["ms"], first.get("ms"), "{:.4g} ms"),
        "" if row["memory_mib"] is None else _against(row["memory_mib"], first.get("memory_mib"), "{:.0f} MiB"),
        _against(row["bytes"], first.get("bytes"), "{:,} bytes"),
    ]


def _against(value: float, before: float | None, form: str) -> str:
    own = form.format(value)
    return own if not before or before == value else f"{own} ({before / value:.2g}x less)" if value < before else own


def facts(receipt: Row) -> dict[str, str]:
    """What was done with which data, a line each."""
    calibrated, source = receipt["calibrated"], receipt["source"]
    sets = [f"{item['set']} ({item['images']} images)" for item in calibrated["measured_on"]]
    apart = "" if calibrated["apart"] else "; too few images to keep any apart from the calibration"
    limits = {"max_drop": "at most {} dB lost", "max_ms": "at most {} ms", "max_bytes": "at most {:,} bytes"}
    targets = receipt["targets"]
    asked = [words.format(targets[key]) for key, words in limits.items() if key in targets]
    return {
        "network": ", ".join(str(source[key]) for key in ("name", "architecture") if key in source),
        "asked for": ", ".join(asked),
        "calibrated on": f"{calibrated['images']} images, sha256 {calibrated['sha256'][:12]}",
        "measured on": ", ".join(sets) + apart,
        "timed": "an image of {1}x{0} pixels".format(*targets["size"]),
    }


def html(receipt: Row, why: str) -> str:
    """One page of HTML that needs no other file, and no script."""
    steps: Sequence[Row] = receipt["steps"]
    title = escape(f"{receipt['source'].get('name', receipt['source']['architecture'])}, compressed")
    parts = [f"<h1>{title}</h1>", f"<p>{escape(why[0].upper() + why[1:])}.</p>"]
    parts += [cells([], [[escape(key), escape(value)] for key, value in facts(receipt).items()])]
    table = lines(steps)
    body = [[escape(cell) for cell in row] for row in table[1:]]
    parts += ["<h2>What each step bought</h2>", cells([escape(cell) for cell in table[0]], body, range(2, len(HEAD)))]
    for item in receipt["calibrated"]["measured_on"]:
        rows = [
            [escape(row["step"]), _number(row["psnr"].get(item["set"])), _number(row["drop"].get(item["set"]))]
            for row in steps
            if "error" not in row
        ]
        parts += [f"<h2>{escape(item['set'])}</h2>", f"<p>{item['images']} images; {escape(item['protocol'])}.</p>"]
        parts += [cells(["step", "PSNR in dB", "lost in dB"], rows, range(1, 3))]
    first = receipt["calibrated"]["measured_on"][-1]["set"]
    points = [
        Point(row["step"], row["ms"], row["psnr"][first])
        for row in steps
        if "error" not in row and row["psnr"].get(first) is not None
    ]
    if points:
        parts += ["<h2>Quality against time</h2>", plot({f"PSNR in dB on {first} against milliseconds": points})]
    done = [[escape(row["step"]), escape(_flat(row.get("did", {})))] for row in steps if row.get("did")]
    parts += ["<h2>What was done</h2>", cells([], done)] if done else []
    versions = ", ".join(f"{name} {version}" for name, version in receipt["versions"].items())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body>{chr(10).join(parts)}\n<footer>sharpbit {__version__}; {escape(versions)}</footer></body></html>\n"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _flat(done: Row) -> str:
    shown = {key: value for key, value in done.items() if key != "sensitivity"}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())
