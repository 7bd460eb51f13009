"""Run the claims of a model file again: hashes, what its network makes of a test image, and quality on given images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharpbit import zoo
from sharpbit.errors import UsageError
from sharpbit.measure.benchmarks import Benchmark
from sharpbit.measure.evaluate import evaluate
from sharpbit.measure.flatness import flatness
from sharpbit.measure.probe import apart, probe
from sharpbit.measure.upscaling import Upscale, by
from sharpbit.modelfile import ModelFile
from sharpbit.modelfile.history import Receipt
from sharpbit.runtime import EngineOptions, Runtime, open_engine
from sharpbit.system.progress import Progress
from sharpbit.verbs.compression.images import HELD_OUT, matching
from sharpbit.verbs.compression.measuring import LEVELS, exact, lost
from sharpbit.verbs.compression.receipts import last_receipt

FLOATS = 1  # grey levels by which processors may differ where an engine computes in floats
ROUNDED = 2  # the same of engines that choose instructions, with other rounding, for 8 bits
WITHIN = {True: 0.0011, False: 0.01}  # dB: whether the arithmetic is exact or not


@dataclass(frozen=True)
class Claim:
    """One claim, and what was found.

    Attributes:
        name: what is claimed.
        stated: what the file says.
        found: what was measured; empty where nothing could be, which `holds` as None says.
        holds: whether the two agree; None for a claim that was not run again.
    """

    name: str
    stated: str
    found: str
    holds: bool | None


def verify(
    model: str | Path,
    data: Sequence[str | Path] = (),
    *,
    source: str | Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Claim, ...]:
    """Run the claims of a model file again, as far as what is given allows.

    Args:
        model: a file that has a receipt, as the commands write one that make model files; or its embedded name.
        data: folders of the images that it was measured on: sets of test images, or the calibration folder.
        source: the float network that it was made from; then what was lost against it is measured again too.
        threads: threads of the engine; None, the default, takes every core that the process may use.
        progress: called with 1 after each image.

    Returns:
        The claims, in the order of the receipt.

    Raises:
        ModelError: the file is damaged: its header or its payload does not match its hash.
        UsageError: it has no receipt, or a folder holds no images that it was measured on.

    Examples:
        `small.sharpbit` is a file that `compress` wrote:

        >>> import sharpbit
        >>> all(claim.holds is not False for claim in sharpbit.verify("small.sharpbit"))  # doctest: +SKIP
        True
    """
    file = zoo.open_file(str(model))
    receipt = receipt_of(file)
    runtime = open_engine(file, EngineOptions(threads=threads))
    return tuple(_claims(file, receipt, runtime, data, source, progress))


def receipt_of(file: ModelFile) -> Receipt:
    """The receipt of a file whose hashes match.

    Raises:
        UsageError: it has none.
    """
    found = None if file.verified is None else last_receipt(file)
    if found is None:
        raise UsageError(
            f"{file.name} has no receipt to verify; the commands that make model files, such as 'sharpbit compress' and"
            " export, write one"
        )
    return found


def _claims(
    file: ModelFile,
    receipt: Receipt,
    runtime: Runtime,
    data: Sequence[str | Path],
    source: str | Path | None,
    progress: Progress | None,
) -> Iterator[Claim]:
    header = file.verified
    assert header is not None
    yield Claim("header and payload", "their sha256", f"sha256 {header.sha256[:12]} and that of the header", True)
    upscale = by(runtime)
    row = next((dict(step) for step in reversed(receipt.steps) if step.get("step") == receipt.chosen), None)
    if row is None:
        yield Claim("chosen step", receipt.chosen or "none", "no such step in the receipt", False)
        return
    if "error" in row:
        yield Claim("what its engine makes", "nothing", f"not run: {row['error']}", None)
        return
    payload = len(file.payload)
    yield Claim("bytes of the payload", f"{row.get('bytes')}", f"{payload}", row.get("bytes") == payload)
    stated = str(row.get("payload"))
    yield Claim("sha256 of the payload", stated[:12], header.sha256[:12], stated == header.sha256)
    yield Claim("precision", str(row.get("precision")), runtime.precision, row.get("precision") == runtime.precision)
    table = probe(upscale, exact=exact(runtime))
    yield _probed(dict(row.get("probe") or {}), table, runtime)
    if "flatness" in row:
        steady = flatness(upscale, levels=LEVELS).border
        room = 0 if exact(runtime) else FLOATS
        agrees = isinstance(row["flatness"], int) and abs(row["flatness"] - steady) <= room
        yield Claim("constant colours", f"{row['flatness']} of 255", f"{steady} of 255", agrees)
    yield from _totals(receipt, row)
    yield from _quality(receipt, row, runtime, upscale, data, source, progress)


def _probed(stated: Mapping[str, Any], table: Mapping[str, Any], runtime: Runtime) -> Claim:
    room = 0 if exact(runtime) else FLOATS if runtime.precision.startswith("float") else ROUNDED
    words = f"the result with sha256 {str(stated['sha256'])[:12]}" if "sha256" in stated else "64 samples of the result"
    distance = apart(stated, table)
    return Claim("test image", words, f"{distance} of 255 apart, {room} allowed", distance <= room)


def _totals(receipt: Receipt, row: Mapping[str, Any]) -> Iterator[Claim]:
    """What the numbers of the receipt must be to each other: losses are differences, limits are kept."""
    first = dict(receipt.steps[0])
    for name, value in dict(row.get("psnr") or {}).items():
        before, drop = dict(first.get("psnr") or {}).get(name), dict(row.get("drop") or {}).get(name)
        if before is None or drop is None or value is None:
            continue
        found = lost(before, value)
        agrees = abs(found - drop) < 0.0011
        yield Claim(f"loss on {name}", f"{drop:.3f} dB", f"{before:.3f} less {value:.3f}: {found:.3f} dB", agrees)
    judged = [name for name in dict(row.get("drop") or {}) if name != HELD_OUT] or [HELD_OUT]
    drops = [dict(row.get("drop") or {}).get(name) for name in judged]
    worst = max((drop for drop in drops if drop is not None), default=None)
    limits = {"max_drop": worst, "max_ms": row.get("ms"), "max_bytes": row.get("bytes")}
    for name, value in limits.items():
        limit = receipt.targets.get(name)
        if limit is not None:
            agrees = value is not None and value <= limit
            yield Claim(f"target {name}", f"{limit:g}", f"{value} in the receipt", agrees)


def _quality(
    receipt: Receipt,
    row: Mapping[str, Any],
    runtime: Runtime,
    upscale: Upscale,
    data: Sequence[str | Path],
    source: str | Path | None,
    progress: Progress | None,
) -> Iterator[Claim]:
    tables = [dict(table) for table in receipt.calibrated.get("measured_on", ())]
    if data and not row.get("psnr"):
        raise UsageError(
            "the receipt claims no PSNR of this file, so there is nothing to measure on images; leave them out"
        )
    sets = _matched(tables, data)
    origin = (
        None if source is None else by(open_engine(zoo.path_of(str(source)), EngineOptions(threads=runtime.threads)))
    )
    first = dict(receipt.steps[0])
    for table in tables:
        name = str(table.get("set"))
        stated = dict(row.get("psnr") or {}).get(name)
        item = sets.get(name)
        if item is None and stated is not None:
            yield Claim(f"PSNR on {name}", f"{stated:.3f} dB", "not run again; give its folder with --data", None)
        if item is None:
            continue
        for title, value, run, same in (
            (f"PSNR on {name}", stated, upscale, exact(runtime)),
            (f"PSNR of the float network on {name}", dict(first.get("psnr") or {}).get(name), origin, False),
        ):
            if run is None or value is None:
                continue
            found = evaluate(run, item, runtime.scale, progress=progress).psnr
            yield Claim(title, f"{value:.3f} dB", f"{found:.3f} dB", abs(found - value) < WITHIN[same])


def _matched(tables: Sequence[Mapping[str, Any]], data: Sequence[str | Path]) -> dict[str, Benchmark]:
    found: dict[str, Benchmark] = {}
    for folder in data:
        own = {str(table["set"]): item for table in tables if (item := matching(table, folder)) is not None}
        if not own:
            names = ", ".join(f"{table.get('set')} ({table.get('images')} images)" for table in tables)
            raise UsageError(
                f"{folder} does not hold the images of the receipt, or other contents of them; it was measured on"
                f" {names}"
            )
        found |= own
    return found
