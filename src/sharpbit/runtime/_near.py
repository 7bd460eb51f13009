"""Engines that come near float32 in less time: measured on this machine with a sample, and remembered.

What was measured lies in `engines.json` in `$SHARPBIT_CACHE`, by default `sharpbit` in `$XDG_CACHE_HOME` or `~/.cache`;
that file may be deleted.
"""

from __future__ import annotations

import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from sharpbit.errors import SharpbitError
from sharpbit.modelfile import ModelFile
from sharpbit.runtime import RUNTIMES, WEIGHTS, EngineOptions, Runtime, Samples, available_cpus
from sharpbit.system.atomic import open_atomic

NEAR = 45.0  # dB from float32 at least: that of the gate of `quantize`, above which nothing is seen
FASTER = 1.15  # times as fast at least, so that noise of a measurement decides nothing
ROUNDS = 3  # of which the fastest counts
PACKAGES = ("onnxruntime", "openvino", "torch")


@dataclass(frozen=True)
class Verdict:
    """What was measured of a model on this machine.

    Attributes:
        engine: The engine that is near enough and faster; empty where none is.
        decibels: How far its result lies from that of float32, in dB (PSNR).
        times: How many times as fast as the exact engine it is.
        rate: Seconds of processor time that the exact engine takes for a pixel.
    """

    engine: str = ""
    decibels: float = 0.0
    times: float = 1.0
    rate: float = 0.0


def candidates(path: os.PathLike[str], runtime: Runtime) -> tuple[str, ...]:
    """Engines that might be near, the least exact first; none for files that round by themselves."""
    file = ModelFile.of(path)
    if runtime.precision not in ("float32", "float16"):
        return ()
    if file.suffix in WEIGHTS:
        floats = hasattr(runtime, "infer") or not getattr(runtime, "quantized", True)  # files of ncnn in ONNX Runtime
        return ("torch_bf16",) if floats else ()
    return ("openvino_bf16", "openvino") if file.suffix == ".onnx" and hasattr(runtime, "infer") else ()


def seconds(run: Callable[[], object], rounds: int = 1) -> float:
    """Processor time of a call, which other programs disturb less than the clock; the least of several."""
    least = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        run()
        least = min(least, time.process_time() - started)
    return max(least, 1e-6)


def measured(path: os.PathLike[str], exact: Runtime, tile: Samples, options: EngineOptions) -> Verdict:
    """The fastest engine that is near enough; each is opened and runs a tile in turn with the exact one.

    Args:
        path: The model.
        exact: The engine that runs it exactly.
        tile: A sample `(h, w, 3)` in `[0, 1]`.
        options: The threads of the engines.
    """
    (wanted,) = exact([tile])
    usual = seconds(partial(_run, exact, tile), ROUNDS)
    best = Verdict(rate=usual / (tile.shape[0] * tile.shape[1]))
    for name in candidates(path, exact):
        try:
            other = open_near(name, path, options)
            (found,) = other([tile])
        except SharpbitError:  # not installed, or not for this file
            continue
        decibels = _decibels(found, wanted)
        times = usual / seconds(partial(_run, other, tile), ROUNDS)
        if decibels >= NEAR and times >= FASTER * best.times:
            best = Verdict(name, round(decibels, 1), round(times, 2), best.rate)
    return best


def _run(runtime: Runtime, tile: Samples) -> list[Samples]:
    return [*runtime([tile])]


def open_near(name: str, path: os.PathLike[str], options: EngineOptions) -> Runtime:
    """Open a model that was opened before, whose warnings were seen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RUNTIMES[name](ModelFile.of(path), threads=options.threads)


def _decibels(found: Samples, wanted: Samples) -> float:
    apart = np.clip(found, 0, 1).astype(np.float64) - np.clip(wanted, 0, 1)
    return float(-10 * np.log10(max(np.square(apart).mean(), 1e-12)))


def remembered(path: os.PathLike[str], options: EngineOptions) -> Verdict | None:
    """What was measured before with this file, processor, number of threads, and these versions."""
    found = _all().get(_key(path, options))
    try:
        verdict = Verdict(**found) if isinstance(found, dict) else None
        return verdict if verdict is None or verdict.engine in ("", *RUNTIMES) else None
    except TypeError:
        return None


def remember(path: os.PathLike[str], options: EngineOptions, verdict: Verdict) -> None:
    """Keep what was measured, where there is a place to write."""
    known = {**_all(), _key(path, options): asdict(verdict)}
    with suppress(OSError, SharpbitError), open_atomic(_place(), overwrite=True) as out:
        out.write(json.dumps(known, indent=1).encode())


def _place() -> Path:
    own, cache = os.environ.get("SHARPBIT_CACHE"), os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(own) if own else Path(cache) / "sharpbit") / "engines.json"


def _all() -> dict[str, object]:
    try:
        known = json.loads(_place().read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _key(path: os.PathLike[str], options: EngineOptions) -> str:
    file = Path(path)
    state = file.stat()
    threads = options.threads or available_cpus()
    facts = (file.resolve(), state.st_size, state.st_mtime_ns, _processor(), threads, *map(_version, PACKAGES))
    return " | ".join(map(str, facts))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
