"""`sharpbit reproduce`: claims beside what was measured, as text, JSON or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from tqdm import tqdm

from sharpbit.app import aligned, dump
from sharpbit.errors import RecipeError, UsageError
from sharpbit.measure.benchmarks import find
from sharpbit.recipe.reproduce import Number, Reproduction, reproduce
from sharpbit.system.atomic import open_atomic


def run_reproduce(
    recipes: Sequence[str],
    data: Sequence[str],
    weights: str | None,
    runs: str,
    threads: int | None,
    table: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Check every recipe; returns the exit code: 0 if every claim holds, 1 otherwise."""
    if not data:
        raise UsageError("give the folders of the test images with --data, such as --data Set5 Set14")
    if weights is not None and not Path(weights).is_dir():
        raise UsageError(f"there is no folder {weights}; give the one below which the published weights lie")
    sets = [found for folder in data for found in find(folder)]
    paths = _paths(recipes)
    done: list[Reproduction] = []
    with tqdm(total=len(paths), disable=True if quiet or as_json else None, desc="recipes") as bar:
        for path in paths:
            for result in reproduce(path, sets, weights=weights, runs=runs, threads=threads):
                done.append(result)
                if not as_json:
                    with bar.external_write_mode():
                        click.echo(_told(result))
            bar.update()
    off = [result for result in done if not result.holds]
    if table:
        with open_atomic(Path(table), overwrite=True) as file:
            file.write(markdown(done).encode())
    if as_json:
        click.echo(dump([{**asdict(item), "holds": item.holds} for item in done]))
    else:
        click.echo(f"{len(done) - len(off)} of {len(done)} hold. {_protocol(done)}")
    return 1 if off else 0


def markdown(results: Sequence[Reproduction]) -> str:
    """A table of what was found here and, in brackets, what is published; by scale and cost. What is off is bold."""
    measured = (number for item in results for number in item.numbers if number.found is not None)
    columns = list(dict.fromkeys(map(_column, measured)))
    lines = [f"| weights | scale | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    for item in sorted(results, key=_order):
        cells: dict[str, list[Number]] = {name: [] for name in columns}
        for number in item.numbers:
            if _column(number) in cells:
                cells[_column(number)].append(number)
        row = " | ".join(_cell(numbers) for numbers in cells.values())
        name = Path(item.weights).stem if item.weights else f"{item.recipe}: no weights"
        lines.append(f"| {name} | x{item.scale} | {row} |")
    return "\n".join([*lines, "", f"Found here (published). {_protocol(results)}", ""])


def _paths(recipes: Sequence[str]) -> list[Path]:
    paths = [path for name in recipes for path in (sorted(Path(name).rglob("*.toml")) or [Path(name)])]
    for path in paths:
        if path.is_dir():
            raise RecipeError(f"{path} holds no recipes")
    return paths


def _told(result: Reproduction) -> str:
    head = f"{result.recipe}: {result.title}"
    if result.weights is None:
        return f"{head}\n  {result.missing}\n"
    rows = [("  ", "claimed", "here", "difference", "")]
    for number in result.numbers:
        if number.found is None or number.difference is None:
            rows.append((f"  {number.what}", f"{number.claimed:g}", "", "", "no images given"))
            continue
        digits = 4 if number.within < 0.001 and number.what.endswith("ssim") else 2
        verdict = ("as claimed" if number.holds else "OFF") + (f" ({number.note})" if number.note else "")
        values = (
            f"{number.claimed:.{digits}f}",
            f"{number.found:.{digits + 1}f}",
            f"{number.difference:+.{digits + 1}f}",
        )
        rows.append((f"  {number.what}", *values, verdict))
    return f"{head}\n  {result.weights}\n{aligned(rows)}\n"


def _order(item: Reproduction) -> tuple[int, float, str]:
    macs = next((number.claimed for number in item.numbers if number.what == "macs"), 0.0)
    return item.scale, macs, item.recipe


def _column(number: Number) -> str:
    names = {"parameters": "parameters (K)", "macs": "MACs (G)"}
    return names.get(number.what, number.what.rsplit(" ", 1)[0])


def _cell(numbers: Sequence[Number]) -> str:
    if not numbers or numbers[0].found is None:
        return ""
    here = " / ".join(_text(number, number.found) for number in numbers)
    claimed = " / ".join(_text(number, number.claimed) for number in numbers)
    return f"{here} ({claimed})" if all(number.holds for number in numbers) else f"**{here}** ({claimed})"


def _text(number: Number, value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if number.what.endswith("ssim") else f"{value:.2f}"


def _protocol(results: Sequence[Reproduction]) -> str:
    found = dict.fromkeys(item.protocol for item in results if item.protocol)
    return f"PSNR in dB, SSIM: {' / '.join(found)}." if found else "Nothing was measured."
