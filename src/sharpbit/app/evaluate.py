"""`sharpbit evaluate`: measure models, print the numbers, keep them for tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from sharpbit import modelfile, zoo
from sharpbit.app import aligned, dump, ran
from sharpbit.app.records import Records
from sharpbit.app.signals import code_of, word_of
from sharpbit.app.table import write_tables
from sharpbit.errors import BrokenPackage, MissingExtra, SharpbitError, UsageError
from sharpbit.measure import bicubic
from sharpbit.measure.benchmarks import Benchmark, find
from sharpbit.system.atomic import check_folder
from sharpbit.system.extras import need
from sharpbit.system.numbers import finite
from sharpbit.verbs.evaluate import cut_of, evaluate, expand, scales_in
from sharpbit.verbs.kept import kept_in

PROTOCOL = "PSNR (dB) and SSIM"
EDGES = "beyond the edges networks see zeros, as in published tables; upscale mirrors the image (up to 0.03 dB)"


@dataclass(frozen=True)
class Evaluate:
    """What was given to `sharpbit evaluate`; see its help."""

    models: tuple[str, ...]
    data: tuple[str, ...]
    scale: tuple[int, ...]
    crop: int
    patch: int | None
    step: int | None
    make_lr: bool
    threads: int | None
    engine: str
    device: str | None
    table: str | None
    save: str | None
    as_json: bool
    images: bool
    quiet: bool
    overrides: Mapping[str, Any]


def run_evaluate(given: Evaluate) -> int:
    """Do it; returns the exit code: 0, 1 if a model could not be measured, 130 by Ctrl-C and 143 by SIGTERM."""
    if not given.data:
        raise UsageError("give the folders of the test images with --data, such as --data Set5 Set14")
    for option, folder in (("--save", given.save), ("--table", given.table)):
        if folder:
            check_folder(Path(folder), option)
    sets = [found for folder in given.data for found in find(folder, crop=given.crop, make_small=given.make_lr)]
    todo = list(_todo(given))
    records = Records(Path(given.table), sets, _how(given)) if given.table else None
    hidden = True if given.quiet or given.as_json else None  # None: hidden unless on a terminal
    done: list[dict[str, Any]] = []
    failures: list[str] = []
    with tqdm(total=len(todo) * sum(len(item.large) for item in sets), disable=hidden, desc="measuring") as bar:
        try:
            for model, scale in todo:
                try:
                    done.append(_measured(model, scale, sets, given, records, bar))
                except SharpbitError as error:
                    if len(todo) == 1:
                        raise
                    failures.append(str(error) if model in str(error) else f"{model}: {error}")
                    continue
                if not given.as_json:
                    with bar.external_write_mode():
                        _tell(done[-1], sets, images=given.images or len(todo) == 1, first=len(done) == 1)
        except KeyboardInterrupt as end:
            way = "the same command goes on" if records else "with --table OUT, the same command would go on"
            left = len(todo) - len(done) - len(failures)
            click.echo(f"sharpbit: {word_of(end)}, {left} left; {way}", err=True)
            return code_of(end)
    if not given.as_json and any(entry.get("edges") for entry in done):
        click.echo(EDGES)
    if records is not None:
        for path in write_tables(records.folder, done):
            click.echo(f"written: {path}", err=True)
    if given.as_json:
        click.echo(dump({"models": done, "failed": failures}))
    for failure in failures:
        click.echo(f"sharpbit: {failure}", err=True)
    return 1 if failures else 0


def _how(given: Evaluate) -> tuple[str | None, ...]:
    """What numbers depend on besides model and images."""
    cut = cut_of(given.patch, given.step)
    sizes = (f"{key}={value}" for key, value in given.overrides.items())
    return (given.engine, given.device, *((f"{cut.patch} every {cut.step}",) if cut else ()), *sizes)


def _todo(given: Evaluate) -> Iterator[tuple[str, int | None]]:
    """Models with the scales to open them with; beside a bicubic, --scale concerns that and weights for several."""
    models = list(expand(given.models))
    shared = len(given.scale) > 1 or any(model in bicubic.NAMES for model in models)
    for model in models:
        wanted = given.scale
        if wanted and shared and model not in bicubic.NAMES:
            held = scales_in(model, given.overrides)
            wanted = tuple(scale for scale in given.scale if scale in held)
        for scale in wanted or (None,):
            yield model, scale


def _measured(
    model: str, scale: int | None, sets: Sequence[Benchmark], given: Evaluate, records: Records | None, bar: Any
) -> dict[str, Any]:
    save = Path(given.save, name_of(model) + (f"-x{scale}" if scale else "")) if given.save else None
    known = None if records is None else records.get(model, scale)
    if known is not None and save is not None:
        asked = (scale, given.engine, given.device, given.patch, given.step)
        if not all(kept.complete for kept in kept_in(save, model, sets, asked, given.overrides)):
            known = None
    if known is not None:
        bar.update(sum(len(item.large) for item in sets))
        return {**known, "name": name_of(model), "model": model}
    result = evaluate(
        model,
        sets,
        scale=scale,
        threads=given.threads,
        engine=given.engine,
        device=given.device,
        patch=given.patch,
        step=given.step,
        progress=bar.update,
        overrides=given.overrides,
        save=save,
    )
    entry: dict[str, Any] = finite({"name": name_of(model), **asdict(result)})
    for item in entry["sets"]:
        item["pictures"] = item.pop("images")  # the name that programs read since version 0.1
    if records is not None:
        entry |= dict(zip(("parameters", "macs"), _cost(model, given.overrides), strict=True))
        records.add(model, scale, entry)
    return entry


def name_of(model: str) -> str:
    """What a model is called in tables: its file without folder and ending."""
    return Path(model).stem if Path(model).suffix else model


def _cost(model: str, overrides: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Parameters and MACs; None where they are not known."""
    if model in bicubic.NAMES:
        return None, None
    try:
        need("train", "counting MACs")
    except (BrokenPackage, MissingExtra):
        header = modelfile.read(zoo.path_of(model))
        return (None if header is None else header.parameters), None
    from sharpbit.verbs.inspect import inspect

    facts = inspect(model, overrides=overrides)
    return facts.parameters, facts.macs


def _tell(entry: dict[str, Any], sets: Sequence[Benchmark], *, images: bool, first: bool) -> None:
    if images:
        click.echo(_card(entry))
        return
    if first:
        protocols = {item["protocol"] for item in entry["sets"]}
        click.echo(f"{PROTOCOL}: {' / '.join(sorted(protocols))}")
        click.echo(f"{'model':<32}{'':<6}" + "".join(f"{item.name:<18}" for item in sets))
    cells = "".join(f"{_number(item['psnr'], 2)} / {_number(item['ssim'], 4)}".ljust(18) for item in entry["sets"])
    click.echo(f"{entry['name']:<31} x{entry['scale']:<4} {cells}".rstrip())
    sys.stdout.flush()


def _card(entry: dict[str, Any]) -> str:
    lines = [f"{entry['name']}: x{entry['scale']}, {ran(entry)}, {entry['seconds']:.1f} s"]
    if entry.get("patch"):
        lines[0] += f"; patches of {entry['patch']} small pixels, one every {entry['step']}"
    for item in entry["sets"]:
        rows = [
            (f"  {score['name']}", _number(score["psnr"], 4), _number(score["ssim"], 5))
            for score in [*item["pictures"], {**item, "name": f"mean of {len(item['pictures'])}"}]
        ]
        lines += ["", f"{item['name']}; {PROTOCOL}: {item['protocol']}", aligned(rows)]
        if item.get("cost"):
            lines += [costs(item["cost"])]
    return "\n".join(lines)


def costs(cost: dict[str, Any]) -> str:
    """A set's mean cost of an image, for people."""
    whole = "image-wise" if cost["patches"] == 1 else f"{cost['patches']:.1f} patches"
    rows = [("  cost of an image", f"counted, no engine's time; {whole}, {cost['pixels']:,.0f} pixels")]
    if cost["queries"] is not None:
        rows.append(("  queries", f"{cost['queries']:.3f} of the pixels (of a pair: those for the small network)"))
    if cost["fqr"] is None:
        return aligned(rows)
    published = "no paper has a rule" if cost["published"] is None else f"{cost['published'] / 1e9:,.3f} G"
    rows += [
        ("  FQR", f"{cost['fqr']:.3f} bits: rounded activations"),
        ("  average feature bits", f"{cost['feature_bits']:.3f}: all values that are multiplied"),
        ("  BitOPs as published", f"{published}: 32-bit operations, layers that the papers count"),
        (
            "  BitOPs, every layer",
            f"{cost['bitops'] / 1e9:,.1f} G: MACs x bits x bits, of {cost['macs'] / 1e9:.3f} GMACs",
        ),
    ]
    return aligned(rows)


def _number(value: float | None, digits: int) -> str:
    return "same" if value is None else f"{value:.{digits}f}"
