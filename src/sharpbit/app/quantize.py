"""`sharpbit quantize` and `sharpbit export`: read, make, write, and say what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sharpbit import model as models
from sharpbit import zoo
from sharpbit.app import dump
from sharpbit.app.text import printable
from sharpbit.data.calibration import AT_DETAIL, Cut, read_of
from sharpbit.errors import QuantizeError, UsageError
from sharpbit.export import AUTHORS, EXPORTS, SUFFIXES
from sharpbit.export.authors import unnamed_bits
from sharpbit.image.folder import in_folder
from sharpbit.measure.benchmarks import find
from sharpbit.measure.evaluate import evaluate
from sharpbit.report.receipt import PAGES, facts
from sharpbit.runtime import open_engine
from sharpbit.system.atomic import check_target, open_atomic
from sharpbit.system.progress import shown, timed
from sharpbit.system.work_folder import remove_work
from sharpbit.verbs.compression.receipts import add_receipt
from sharpbit.verbs.gain import gain
from sharpbit.verbs.integer_methods import LOSSLESS
from sharpbit.verbs.qat import for_engines
from sharpbit.verbs.quantize import AUTO, GRAPH, SLOPED, QuantizationSettings, checked_method, with_receipt
from sharpbit.verbs.receipt import QuantizationReceipt, upscaled

RUN = (".onnx", ".sharpbit")  # results that engines run
WORST = 5  # layers that are named
WIDER = 8  # bits that are proposed for some layers where there are fewer
WRITERS: Mapping[str, Callable[..., Any]] = {
    ".safetensors": models.save,
    **{
        suffix: partial(lambda name, *given, **more: EXPORTS[name](*given, **more), name)
        for name, suffix in SUFFIXES.items()
        if name != AUTHORS  # who have no frozen networks
    },
}


def run_quantize(
    model: str,
    calibrate: str,
    output: str,
    method: str,
    data: Sequence[str],
    settings: QuantizationSettings,
    *,
    sensitivity: bool,
    max_drop: float | None,
    report: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    overrides: Mapping[str, Any] | None = None,
    cut: Cut = AT_DETAIL,
    unfrozen: bool = False,
) -> str:
    """Quantize, measure, write; what is to be printed.

    Raises:
        SharpbitError: what `model`, the images or `output` cannot be, or a set of images lost more than `max_drop`
            dB; nothing is written then.
    """
    path = Path(output)
    _check_suffix(path)
    if unfrozen and path.suffix.lower() != ".safetensors":
        raise UsageError(
            f"clipping ranges are kept in a .safetensors file, not in {path.name}; freeze makes the others"
        )
    if unfrozen and method == AUTO:
        raise UsageError(
            "--unfrozen is for methods with clipping ranges, which auto never takes; name one, such as --method adc"
        )
    if max_drop is not None and not data:
        raise UsageError("--max-drop is measured on test images; say which with --data")
    if report and Path(report).suffix.lower() not in PAGES:
        raise UsageError(f"a report can be {' or '.join(PAGES)}, not {Path(report).name!r}")
    for target in (path, *([Path(report)] if report else [])):
        check_target(target, overwrite=overwrite)
    before = models.load(zoo.path_of(model), **(overrides or {}))
    method = checked_method(before, method, portable=path.suffix.lower() == ".onnx")
    if method == GRAPH and path.suffix.lower() != ".sharpbit":
        raise UsageError(
            f"{before.called} becomes an integer graph, which runs on the native engine alone; write it as"
            f" .sharpbit, not {path.name}, or take --method tuned"
        )
    if method not in (LOSSLESS, SLOPED, GRAPH) and path.suffix.lower() == ".sharpbit":
        raise UsageError(
            f"the method {method} makes no integers for the native engine, whose files end in .sharpbit; write it as"
            f" {path.stem}.onnx or .safetensors, or leave --method out"
        )
    if method == SLOPED and path.suffix.lower() == ".onnx":
        raise UsageError(
            f"{before.arch.name} becomes an integer chain with slopes, which runs on the native engine alone; write it"
            f" as .sharpbit, not {path.name}"
        )
    settings = replace(settings, work=path.with_name(f"{path.name}.work"))
    sets = [item for folder in data for item in find(folder)]
    hidden = True if quiet or as_json else None  # None: hidden unless on a terminal
    with tqdm(disable=hidden, delay=1, leave=False) as bar:
        after, receipt = with_receipt(
            before,
            calibrate,
            settings,
            method=method,
            progress=shown(bar),
            analysis=sensitivity or max_drop is not None,
            cut=cut,
            frozen=not unfrozen,
        )
        scores: dict[str, tuple[float, float]] = {}
        for item in sets:
            values = [evaluate(_by(net), item, before.scale).psnr for net in (before.net, after.net)]
            scores[item.name] = (round(values[0], 3), round(values[1], 3))
    if max_drop is not None:
        _check_drop(scores, max_drop, receipt)
    WRITERS[path.suffix.lower()](after, path, overwrite=overwrite)
    if report:  # behind the file, so that no page tells of one that is not there
        with open_atomic(Path(report), overwrite=overwrite) as file:
            file.write(PAGES[Path(report).suffix.lower()](model, receipt, scores).encode())
    if settings.work is not None:
        remove_work(settings.work)
    did = {"method": method, "bits": receipt.bits, "crops": receipt.crops, "of_images": receipt.images}
    did |= {**cut.facts(receipt.side), "batch": settings.batch, "asymmetric": settings.asymmetric}
    images = read_of(in_folder(calibrate), cut)
    add_receipt(path, "quantize", zoo.path_of(model), did=did, calibrated_on=images)
    notes = _of_engine(path)
    given = dict(overrides or {})
    runs = path.suffix.lower() in RUN and set(given) <= {"range"}  # other networks than that of the file do not
    faster = gain(zoo.path_of(model), path, given.get("range")) if runs else None
    if as_json:
        measured = {name: {"before": a, "after": b} for name, (a, b) in scores.items()}
        return dump(
            {
                "file": output,
                "scale": after.scale,
                **asdict(receipt),
                "measured": measured,
                "engine": notes,
                "gain": None if faster is None else asdict(faster),
                "blame": receipt.sensitivity,
            }
        )
    lines = [f"{'engine':<20}{note}" for note in notes]
    lines += [f"{'speed':<20}{faster.words}"] if faster else []
    return "\n".join([output, _lines(receipt, scores), *lines])


def run_export(
    model: str,
    form: str | None,
    output: str | None,
    *,
    overwrite: bool,
    as_json: bool,
    quiet: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> str:
    """Write a model for engines; what is to be printed.

    Raises:
        SharpbitError: The target exists and `overwrite` is false, or `model` is no model, or not one of that format.
        OSError: The target cannot be written.
    """
    source = zoo.path_of(model)
    ending = Path(output).suffix.lower() if output else ""
    form = form or next((name for name, suffix in SUFFIXES.items() if suffix == ending), "onnx")
    path = Path(output) if output else Path(source.name).with_suffix(SUFFIXES[form])
    check_target(path, overwrite=overwrite)
    with timed(f"exporting {printable(path.name)}", hidden=quiet or as_json):
        found = models.load(source, **(overrides or {}))
        header = EXPORTS[form](found if form == AUTHORS else for_engines(found), path, overwrite=overwrite)
    add_receipt(path, "export", source)
    facts = {"file": str(path), "precision": header.precision, "sha256": header.sha256}
    if form == AUTHORS and (note := unnamed_bits(found, path)):
        facts["note"] = note
    return dump(facts) if as_json else "\n".join(f"{key:<20}{value}" for key, value in facts.items())


def _check_drop(scores: dict[str, tuple[float, float]], most: float, receipt: QuantizationReceipt) -> None:
    name, (before, after) = max(scores.items(), key=lambda item: item[1][0] - item[1][1])
    if before - after > most:
        worst = ", ".join(layer for layer, _ in receipt.sensitivity[:WORST])
        way = f"leave the worst layers in float with --keep ({worst})" if worst else "take more bits"
        wider = "" if receipt.budget is None else ", raise --budget"
        if isinstance(receipt.bits, int) and receipt.bits < WIDER:
            wider = f", let some have more bits with --bits {WIDER},{receipt.bits} --budget {receipt.bits + 1}"
        raise QuantizeError(
            f"{name} lost {before - after:.3f} dB, more than {most:g}; {way}{wider}, or take more --refine steps"
        )


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"the result can be {' or '.join(WRITERS)}, not {path.name!r}")


def _of_engine(path: Path) -> list[str]:
    """What ONNX Runtime really makes of a file that was written for it: how many layers run in integers."""
    if path.suffix.lower() != ".onnx":
        return []
    return [note for note in open_engine(path, "onnx").notes if "in integers" in note]


def _by(net: Any) -> Callable[[Any], Any]:
    return lambda small: upscaled(net, small)


def _lines(receipt: QuantizationReceipt, scores: dict[str, tuple[float, float]]) -> str:
    lines = [f"{key:<20}{value}" for key, value in facts(receipt, scores).items()]
    if receipt.sensitivity:
        lines += [
            "sensitivity of layers",
            *(f"  {100 * share:5.1f} %  {name}" for name, share in receipt.sensitivity[:WORST]),
        ]
    return "\n".join(lines)
