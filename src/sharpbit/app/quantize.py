"""`sharpbit quantize` and `sharpbit export`: read, make, write, and say what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sharpbit import model as models
from sharpbit import zoo
from sharpbit.app import dump
from sharpbit.atomic import open_atomic, refuse_existing
from sharpbit.errors import QuantizeError, UsageError
from sharpbit.export import EXPORTS, SUFFIXES
from sharpbit.measure.benchmarks import find
from sharpbit.measure.evaluate import evaluate
from sharpbit.qat import for_engines
from sharpbit.quantization import Receipt, Settings, enlarged, shown, with_receipt

WORST = 5  # layers that are named
WRITERS: Mapping[str, Callable[..., Any]] = {
    ".safetensors": models.save,
    **{
        suffix: partial(lambda name, *given, **more: EXPORTS[name](*given, **more), name)
        for name, suffix in SUFFIXES.items()
    },
}


def run_quantize(
    model: str,
    calibrate: str,
    output: str,
    method: str,
    data: Sequence[str],
    settings: Settings,
    *,
    blame: bool,
    max_drop: float | None,
    report: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> str:
    """Quantize, measure, write; what is to be printed.

    Raises:
        SharpbitError: what `model`, the pictures or `output` cannot be, or a set of pictures lost more than `max_drop`
            dB; nothing is written then.
    """
    path = Path(output)
    _check_suffix(path)
    if max_drop is not None and not data:
        raise UsageError("--max-drop is measured on test pictures; say which with --data")
    for target in (path, *([Path(report)] if report else [])):
        if not overwrite:
            refuse_existing(target)
    before = models.load(zoo.path_of(model))
    sets = [item for folder in data for item in find(folder)]
    hidden = True if quiet or as_json else None  # None: hidden unless on a terminal
    with tqdm(disable=hidden, delay=1, leave=False) as bar:
        after, receipt = with_receipt(
            before, calibrate, settings, method=method, progress=shown(bar), blame=blame or max_drop is not None
        )
        scores: dict[str, tuple[float, float]] = {}
        for item in sets:
            values = [evaluate(_by(net), item, before.scale).psnr for net in (before.net, after.net)]
            scores[item.name] = (round(values[0], 3), round(values[1], 3))
    if max_drop is not None:
        _check_drop(scores, max_drop, receipt)
    if report:
        with open_atomic(Path(report), overwrite=overwrite) as file:
            file.write(_report(model, receipt, scores).encode())
    WRITERS[path.suffix.lower()](after, path, overwrite=overwrite)
    if as_json:
        measured = {name: {"before": a, "after": b} for name, (a, b) in scores.items()}
        return dump({"file": output, "scale": after.scale, **asdict(receipt), "measured": measured})
    return f"{output}\n{_lines(receipt, scores)}"


def run_export(model: str, form: str, output: str | None, *, overwrite: bool, as_json: bool) -> str:
    """Write a model for engines; what is to be printed."""
    source = zoo.path_of(model)
    path = Path(output) if output else Path(source.name).with_suffix(SUFFIXES[form])
    header = EXPORTS[form](for_engines(models.load(source)), path, overwrite=overwrite)
    facts = {"file": str(path), "precision": header.precision, "sha256": header.sha256}
    return dump(facts) if as_json else "\n".join(f"{key:<20}{value}" for key, value in facts.items())


def _check_drop(scores: dict[str, tuple[float, float]], most: float, receipt: Receipt) -> None:
    name, (before, after) = max(scores.items(), key=lambda item: item[1][0] - item[1][1])
    if before - after > most:
        worst = ", ".join(layer for layer, _ in receipt.blame[:WORST])
        way = f"leave the worst layers in float with --keep ({worst})" if worst else "take more bits"
        raise QuantizeError(
            f"{name} lost {before - after:.3f} dB, more than {most:g}; {way}, or take more --refine steps"
        )


def _report(model: str, receipt: Receipt, scores: dict[str, tuple[float, float]]) -> str:
    """A page of Markdown: what was done, what it cost, where, and the range of every activation."""
    lines = [f"# {Path(model).name} in {receipt.bits} bits", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in _facts(receipt, scores).items()]
    if receipt.blame:
        lines += [
            "",
            "## What each layer costs",
            "",
            "Share of the mean square error that is gone without rounding it.",
            "",
        ]
        lines += [
            "| layer | share |",
            "|---|---|",
            *(f"| `{name}` | {100 * share:.1f} % |" for name, share in receipt.blame),
        ]
    if receipt.ranges:
        lines += [
            "",
            "## Ranges of activations",
            "",
            "Light: what the float network has. Dark: what the grid reaches.",
            "",
        ]
        lines += [_plot(receipt.ranges)]
    return "\n".join(lines) + "\n"


def _plot(ranges: Sequence[tuple[str, float, float, float, float]]) -> str:
    """Bars as SVG, each in units of its own float range, which a page of Markdown may hold as it is."""
    row, wide, text = 12, 300, 460
    bars = []
    for number, (name, low, high, lo, hi) in enumerate(ranges):
        span, y = max(high - low, 1e-12), number * row
        left, right = (min(max((value - low) / span, 0), 1) * wide for value in (lo, hi))
        bars.append(
            f'<text x="0" y="{y + 9}">{escape(name)}</text><rect x="{text}" y="{y + 2}" width="{wide}" height="8"'
            f' fill="#cdd"/><rect x="{text + left:.1f}" y="{y + 2}" width="{right - left:.1f}" height="8" fill="#366"/>'
            f'<text x="{text + wide + 8}" y="{y + 9}">{low:.3g} .. {high:.3g} &#8594; {lo:.3g} .. {hi:.3g}</text>'
        )
    size = f'width="{text + wide + 260}" height="{row * len(ranges)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="9">{"".join(bars)}</svg>'


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"the result can be {' or '.join(WRITERS)}, not {path.name!r}")


def _by(net: Any) -> Callable[[Any], Any]:
    return lambda small: enlarged(net, small)


def _lines(receipt: Receipt, scores: dict[str, tuple[float, float]]) -> str:
    lines = [f"{key:<20}{value}" for key, value in _facts(receipt, scores).items()]
    if receipt.blame:
        lines += ["what layers cost", *(f"  {100 * share:5.1f} %  {name}" for name, share in receipt.blame[:WORST])]
    return "\n".join(lines)


def _facts(receipt: Receipt, scores: dict[str, tuple[float, float]]) -> dict[str, str]:
    refined = f", {receipt.refined} steps of refining" if receipt.refined else ""
    facts = {
        "method": f"{receipt.method}, {receipt.bits} bits{refined}, {receipt.seconds:g} s",
        "calibrated on": f"{receipt.crops} crops of 64x64 pixels",
        "weights": "{:,} -> {:,} bytes".format(*receipt.bytes),
        "against float": f"{receipt.psnr:.2f} dB on {receipt.held_out} other crops; {100 * receipt.differing:.1f} % of"
        f" samples differ, by at most {receipt.largest} of 255",
    }
    for name, (a, b) in scores.items():
        facts[name] = f"{a:.3f} -> {b:.3f} dB ({b - a:+.3f}), Y channel"
    return facts
