"""`sharpbit reproduce`: claims beside what was measured, as text, JSON or Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from tqdm import tqdm

from sharpbit.app import aligned, dump
from sharpbit.errors import RecipeError, UsageError
from sharpbit.measure.benchmarks import Benchmark, find
from sharpbit.recipe.reproduce import NO_IMAGES, Counts, Number, Reproduction, reproduce
from sharpbit.report.markdown import table
from sharpbit.system.atomic import check_target, open_atomic


def run_reproduce(
    recipes: Sequence[str],
    data: Sequence[str],
    weights: str | None,
    runs: str,
    threads: int | None,
    table: str | None,
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Check every recipe.

    Returns:
        The exit code: 0 if something held and nothing failed (with `strict`: and everything was checked), 1 otherwise.
    """
    if not data:
        raise UsageError("give the folders of the test images with --data, such as --data Set5 Set14")
    if weights is not None and not Path(weights).is_dir():
        raise UsageError(f"there is no folder {weights}; give the one below which the published weights lie")
    if table:
        check_target(Path(table), overwrite=True)
    sets = [found for folder in data for found in find(folder)]
    paths = _paths(recipes)
    done: list[Reproduction] = []
    with tqdm(total=len(paths), disable=True if quiet or as_json else None, desc="recipes") as bar:
        for path in paths:
            for result in _results(path, sets, weights, runs, threads, alone=len(paths) == 1):
                done.append(result)
                if not as_json:
                    with bar.external_write_mode():
                        click.echo(_text_of(result))
            bar.update()
    counts = sum((result.counts for result in done), Counts())
    if table:
        with open_atomic(Path(table), overwrite=True) as file:
            file.write(markdown(done).encode())
    if as_json:
        click.echo(dump([{**asdict(item), "holds": item.holds, **asdict(item.counts)} for item in done]))
    else:
        click.echo("\n".join([*_unchecked(done), f"{counts}. {_protocol(done)}"]))
    return 1 if counts.failed or not counts.held or (strict and counts.unchecked) else 0


def _results(
    path: Path, sets: Sequence[Benchmark], weights: str | None, runs: str, threads: int | None, *, alone: bool
) -> Iterator[Reproduction]:
    """The results of one recipe; one of several that cannot be read does not stop the others."""
    try:
        results = list(reproduce(path, sets, weights=weights, runs=runs, threads=threads))
    except RecipeError as error:
        if alone:
            raise
        yield Reproduction(path.stem, "cannot be read", 0, None, missing=str(error), broken=True)
        return
    if alone and all(number.why == NO_IMAGES for result in results for number in result.numbers):
        raise RecipeError(results[0].missing)
    yield from results


def _unchecked(done: Sequence[Reproduction]) -> list[str]:
    """The claims that nothing was measured for, one line a recipe and reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in done:
        if item.broken:
            continue
        if not item.numbers:
            groups.setdefault((item.recipe, "no [expect]"), []).append("no claims")
        for number in item.numbers:
            if number.holds is None:
                groups.setdefault((item.recipe, number.why), []).append(number.what)
    lines = [f"  {name}: {', '.join(dict.fromkeys(what))} ({why})" for (name, why), what in groups.items()]
    return ["unchecked:", *lines, ""] if lines else []


def markdown(results: Sequence[Reproduction]) -> str:
    """A table of what was found here and, in brackets, what is published; by scale and cost. What is off is bold."""
    measured = (number for item in results for number in item.numbers if number.found is not None)
    columns = list(dict.fromkeys(map(_column, measured)))
    rows = []
    for item in sorted(results, key=_order):
        cells: dict[str, list[Number]] = {name: [] for name in columns}
        for number in item.numbers:
            if _column(number) in cells:
                cells[_column(number)].append(number)
        name = Path(item.weights).stem if item.weights else f"{item.recipe}: {_reason(item)}"
        rows.append([name, f"x{item.scale}", *map(_cell, cells.values())])
    lines = table(["weights", "scale", *columns], rows)
    return "\n".join([*lines, "", f"Found here (published). {_protocol(results)}", ""])


def _paths(recipes: Sequence[str]) -> list[Path]:
    paths = [path for name in recipes for path in (sorted(Path(name).rglob("*.toml")) or [Path(name)])]
    for path in paths:
        if path.is_dir():
            raise RecipeError(f"{path} holds no recipes")
    return paths


def _reason(item: Reproduction) -> str:
    return "error" if item.broken else item.numbers[0].why if item.numbers else "no claims"


def _text_of(result: Reproduction) -> str:
    head = f"{result.recipe}: {result.title}"
    if result.weights is None:
        return f"{head}\n  {result.missing}\n"
    rows = [("  ", "claimed", "here", "difference", "")]
    for number in result.numbers:
        if number.found is None or number.difference is None:
            rows.append((f"  {number.what}", f"{number.claimed:g}", "", "", number.why))
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
