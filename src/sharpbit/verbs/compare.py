"""Methods x bits x networks x seeds, each measured through its engine: one run that goes on where it was ended."""

from __future__ import annotations

import hashlib
import math
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sharpbit import zoo
from sharpbit._version import __version__
from sharpbit.data import calibration
from sharpbit.errors import SharpbitError, UsageError
from sharpbit.export import EXPORTS
from sharpbit.model import Model, load
from sharpbit.quant import order
from sharpbit.system.progress import Phases, counted
from sharpbit.verbs.compression import images as data_of
from sharpbit.verbs.compression.images import Images
from sharpbit.verbs.compression.measuring import Reference, measured
from sharpbit.verbs.compression.state import State, check_same
from sharpbit.verbs.compression.targets import SIZE
from sharpbit.verbs.quantize import (
    AUTO,
    INTEGER,
    POST_TRAINING_METHODS,
    QuantizationSettings,
    checked_method,
    on_crops,
)

FLOAT = "float"
CUT = calibration.AT_DETAIL
NATIVE = ("lossless", "sloped", "graph")  # methods whose file is for the native engine
SHARE = 0.75  # of the calibration images, which each seed draws anew

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One combination.

    Attributes:
        model: an embedded name or a file.
        method: name of the method, or `float`.
        bits: bits of weights and activations; 32 of `float`.
        seed: seed of the draw of calibration images.
    """

    model: str
    method: str
    bits: int
    seed: int

    @property
    def name(self) -> str:
        """For the table of what was tried."""
        return f"{self.model}|{self.method}|{self.bits}|{self.seed}"


@dataclass(frozen=True)
class Group:
    """The seeds of one combination together.

    Attributes:
        model: an embedded name or a file.
        method: name of the method that ran, or `float`.
        bits: bits of weights and activations.
        count: number of seeds.
        psnr: mean PSNR in dB by set.
        spread: standard deviation of that over the seeds, in dB; 0 of one seed.
        drop: mean loss in dB by set.
        ms: median of the seeds' times in milliseconds.
        bytes: bytes of the payload.
        engine: what ran it, with its precision.
        error: why there is none; empty where there is.
    """

    model: str
    method: str
    bits: int
    count: int
    psnr: Mapping[str, float]
    spread: Mapping[str, float]
    drop: Mapping[str, float]
    ms: float
    bytes: int
    engine: str
    error: str = ""


def compare(
    models: Sequence[str],
    calibrate: str | Path,
    folder: str | Path,
    *,
    data: Sequence[str | Path] = (),
    methods: Sequence[str] = (AUTO,),
    bits: Sequence[int] = (INTEGER,),
    seeds: Sequence[int] = (0,),
    size: tuple[int, int] = SIZE,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Phases | None = None,
) -> list[Group]:
    """Quantize networks by several methods to several widths, and measure every file through the engine that runs it.

    Each result is kept in `folder` as soon as it is measured, so a call that was ended goes on, and one with more
    methods, widths, seeds or networks adds them.

    Args:
        models: float networks: embedded names or files.
        calibrate: folder of ordinary images; some are kept apart to measure on.
        folder: where results are kept.
        data: folders of test images to measure on besides.
        methods: names of methods, see `sharpbit.quantize`; `auto` by default.
        bits: widths of weights and activations; 8 by default.
        seeds: seeds, for each of which three quarters of the calibration images are drawn; by default 0 alone.
        size: height and width in pixels of the LR image that is timed; 180 and 320 by default.
        threads: threads of the engines; None, the default, takes every core that the process may use.
        overwrite: replace results of other images or sizes that are in `folder`; False by default.
        progress: called with the name of a phase, how much of it is done, and how much there is.

    Returns:
        A group for each network in float, and for each network, method and width.

    Raises:
        UsageError: there is no such method, width, folder or model.
        OutputExists: `folder` has results of other images or sizes.
    """
    known = (AUTO, *POST_TRAINING_METHODS)
    for method in methods:
        if method not in known:
            raise UsageError(f"there is no method {method!r}; known are {', '.join(known)}")
    for width in bits:
        QuantizationSettings(width)
    cases = list(_cases(models, methods, bits, seeds))
    paths = {name: zoo.path_of(name) for name in models}
    scales = {name: load(path).scale for name, path in paths.items()}
    splits = {scale: data_of.split(calibrate, data, scale) for scale in set(scales.values())}
    first = next(iter(splits.values()))
    key = {
        "tests": [data_of.fingerprint(item.large) for item in first.tests],
        "images": data_of.fingerprint((*first.calibrate, *first.held_out.large)),
        "settings": (size, threads, __version__),
    }
    check_same(Path(folder), key, overwrite=overwrite)
    state = State(Path(folder), key)
    for number, case in enumerate(cases, 1):
        images = splits[scales[case.model]]
        _Try(case, paths[case.model], images, size, threads, f"{number}/{len(cases)} ", progress).into(state)
    return list(_groups(cases, state))


def _cases(models: Sequence[str], methods: Sequence[str], bits: Sequence[int], seeds: Sequence[int]) -> Iterator[Case]:
    for model in models:
        yield Case(model, FLOAT, 32, 0)
        yield from (Case(model, method, width, seed) for method in methods for width in bits for seed in seeds)


class _Try:
    """One combination: made, written, measured."""

    def __init__(
        self,
        case: Case,
        source: Path,
        images: Images,
        size: tuple[int, int],
        threads: int | None,
        word: str,
        progress: Phases | None,
    ) -> None:
        self.case, self.source, self.images, self.size, self.threads = case, source, images, size, threads
        self.word, self.progress = f"{word}{case.model} {case.method} {case.bits}: ", progress

    def _phase(self, name: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(f"{self.word}{name}", done, total)

    def into(self, state: State) -> None:
        """Add what is found to the state, unless it is there already for this very file."""
        digest = hashlib.sha256(self.source.read_bytes()).hexdigest()
        found = state.tried.get(self.case.name)
        if found is not None and found["source"] == digest:
            return
        began = time.monotonic()
        row: Row = {"source": digest}
        path = None
        try:
            path, method = self._write(state.folder)
            count = counted(self._phase, "measuring", sum(len(item.large) for item in self.images.sets))
            float_path = state.path(state.tried.get(Case(self.case.model, FLOAT, 32, 0).name, {}))
            reference = None if float_path is None else Reference(float_path, self.images, self.threads)
            row |= {"method": method, **measured(path, self.images, reference, self.size, self.threads, count).table()}
        except SharpbitError as error:
            if self.case.method == FLOAT:
                raise
            row["error"] = str(error)
        row["seconds"] = round(time.monotonic() - began, 1)
        kept = path if self.case.method == FLOAT else None  # the others would fill the disk
        state.add(self.case.name, row, kept)
        if path is not None and kept is None:
            path.unlink(missing_ok=True)

    def _write(self, folder: Path) -> tuple[Path, str]:
        model = load(self.source)
        order.check(model.net, "quantizing", model.arch.name)
        name = hashlib.sha256(self.case.name.encode()).hexdigest()[:16]
        if self.case.method == FLOAT:
            path, method = folder / f"{name}.onnx", FLOAT
        else:
            method = checked_method(model, self.case.method)
            model = on_crops(
                model, *self._crops(model), QuantizationSettings(self.case.bits), method=method, progress=self._phase
            )[0]
            path = folder / f"{name}{'.sharpbit' if method in NATIVE else '.onnx'}"
        EXPORTS["native" if path.suffix == ".sharpbit" else "onnx"](model, path, overwrite=True)
        return path, method

    def _crops(self, model: Model) -> tuple[Tensor, int]:
        paths = list(self.images.calibrate)
        drawn = random.Random(self.case.seed).sample(paths, max(1, math.ceil(SHARE * len(paths))))
        return calibration.from_paths(sorted(drawn), model.scale, self.images.folder, CUT, progress=self._phase)


def _groups(cases: Sequence[Case], state: State) -> Iterator[Group]:
    seen: dict[tuple[str, str, int], list[Row]] = {}
    for case in cases:
        seen.setdefault((case.model, case.method, case.bits), []).append(state.tried[case.name])
    for (model, method, bits), rows in seen.items():
        good = [row for row in rows if "error" not in row]
        if not good:
            yield Group(model, method, bits, 0, {}, {}, {}, math.nan, 0, "", rows[0]["error"])
            continue
        sets = good[0]["psnr"]
        values = {name: [_number(row["psnr"][name]) for row in good] for name in sets}
        yield Group(
            model=model,
            method=good[0]["method"],
            bits=bits,
            count=len(good),
            psnr={name: statistics.fmean(found) for name, found in values.items()},
            spread={name: statistics.stdev(found) if len(found) > 1 else 0.0 for name, found in values.items()},
            drop={name: statistics.fmean(_number(row["drop"][name]) for row in good) for name in sets},
            ms=statistics.median(row["ms"] for row in good),
            bytes=round(statistics.fmean(row["bytes"] for row in good)),
            engine=f"{good[0]['engine']}, {good[0]['precision']}",
        )


def _number(value: float | None) -> float:
    return math.inf if value is None else value
