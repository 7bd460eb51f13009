"""`sharpbit quantize` and `sharpbit export`: read, make, write, and say what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sharpbit import model as models
from sharpbit import zoo
from sharpbit.app import dump
from sharpbit.atomic import refuse_existing
from sharpbit.errors import UsageError
from sharpbit.export import EXPORTS, SUFFIXES
from sharpbit.measure.benchmarks import find
from sharpbit.measure.evaluate import evaluate
from sharpbit.quantization import Receipt, enlarged, shown, with_receipt

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
    bits: int,
    data: Sequence[str],
    *,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> str:
    """Quantize, measure, write; what is to be printed.

    Raises:
        SharpbitError: what `model`, the pictures or `output` cannot be; nothing is written then.
    """
    path = Path(output)
    _check_suffix(path)
    if not overwrite:
        refuse_existing(path)
    before = models.load(zoo.path_of(model))
    sets = [item for folder in data for item in find(folder)]
    hidden = True if quiet or as_json else None  # None: hidden unless on a terminal
    with tqdm(disable=hidden, delay=1, leave=False) as bar:
        after, receipt = with_receipt(before, calibrate, method=method, bits=bits, progress=shown(bar))
        scores: dict[str, tuple[float, float]] = {}
        for item in sets:
            values = [evaluate(_by(net), item, before.scale).psnr for net in (before.net, after.net)]
            scores[item.name] = (round(values[0], 3), round(values[1], 3))
    WRITERS[path.suffix.lower()](after, path, overwrite=overwrite)
    if as_json:
        measured = {name: {"before": a, "after": b} for name, (a, b) in scores.items()}
        return dump({"file": output, "scale": after.scale, **asdict(receipt), "measured": measured})
    return f"{output}\n{_lines(receipt, scores)}"


def run_export(model: str, form: str, output: str | None, *, overwrite: bool, as_json: bool) -> str:
    """Write a model for engines; what is to be printed."""
    source = zoo.path_of(model)
    path = Path(output) if output else Path(source.name).with_suffix(SUFFIXES[form])
    header = EXPORTS[form](models.load(source), path, overwrite=overwrite)
    facts = {"file": str(path), "precision": header.precision, "sha256": header.sha256}
    return dump(facts) if as_json else "\n".join(f"{key:<20}{value}" for key, value in facts.items())


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"the result can be {' or '.join(WRITERS)}, not {path.name!r}")


def _by(net: Any) -> Callable[[Any], Any]:
    return lambda small: enlarged(net, small)


def _lines(receipt: Receipt, scores: dict[str, tuple[float, float]]) -> str:
    facts = {
        "method": f"{receipt.method}, {receipt.bits} bits, {receipt.seconds:g} s",
        "calibrated on": f"{receipt.crops} crops of 64x64 pixels",
        "weights": "{:,} -> {:,} bytes".format(*receipt.bytes),
        "against float": f"{receipt.psnr:.2f} dB on {receipt.held_out} other crops; {100 * receipt.differing:.1f} % of"
        f" samples differ, by at most {receipt.largest} of 255",
    }
    for name, (a, b) in scores.items():
        facts[name] = f"{a:.3f} -> {b:.3f} dB ({b - a:+.3f}), Y channel"
    return "\n".join(f"{key:<20}{value}" for key, value in facts.items())
