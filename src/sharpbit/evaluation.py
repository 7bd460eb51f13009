"""Measure models: PSNR and SSIM on sets of test pictures, whatever kind of file a model is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sharpbit import zoo
from sharpbit.errors import ModelError, UsageError
from sharpbit.measure import bicubic
from sharpbit.measure.benchmarks import CROP, Benchmark, find
from sharpbit.measure.evaluate import SetScore, by
from sharpbit.measure.evaluate import evaluate as measure
from sharpbit.runtime import RUNTIMES, Runtime, available_cpus

WEIGHTS = (".pth", ".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one model.

    Attributes:
        model: as it was given.
        scale: upscaling factor.
        engine: what ran it.
        precision: of the arithmetic that really ran.
        threads: that worked.
        seconds: that it took, reading and measuring included.
        sets: the scores.
    """

    model: str
    scale: int
    engine: str
    precision: str
    threads: int
    seconds: float
    sets: tuple[SetScore, ...]


def evaluate(
    model: str | Path,
    data: Sequence[str | Path | Benchmark],
    *,
    scale: int | None = None,
    crop: int = CROP,
    make_small: bool = False,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Measure one model on sets of test pictures.

    Args:
        model: an embedded name, `.onnx`, `.safetensors`, `.pth`, `bicubic` or `bicubic-matlab`.
        data: folders of test pictures (layouts: `sharpbit.measure.benchmarks.find`), or sets opened before, whose
            pictures then stay in memory from model to model.
        scale: for `bicubic`, which has none of its own.
        crop: true pictures are cut to multiples of this.
        make_small: make the small pictures even where a folder holds them.
        threads: that work; None takes every core that the process may use.
        progress: called with 1 after each picture.

    Raises:
        SharpbitError: the model or a picture cannot be read, or the two do not fit.
    """
    started = time.monotonic()
    sets = [item for entry in data for item in _sets(entry, crop, make_small)]
    if not sets:
        raise UsageError("nothing to measure on; give folders of test pictures with --data")
    threads = threads or available_cpus()
    workers = min(threads, max(len(benchmark.large) for benchmark in sets))
    runtime = open_model(str(model), scale, threads // workers)
    enlarge = by(runtime)
    scores = [measure(enlarge, item, runtime.scale, workers=workers, progress=progress) for item in sets]
    return Evaluation(
        model=str(model),
        scale=runtime.scale,
        engine=runtime.engine,
        precision=runtime.precision,
        threads=threads,
        seconds=time.monotonic() - started,
        sets=tuple(scores),
    )


def open_model(model: str, scale: int | None = None, threads: int | None = None) -> Runtime:
    """The engine that suits a model, with the model opened.

    Raises:
        UsageError: `bicubic` without a scale, or another scale than the model's.
        ModelError: no such file, or not a model.
        MissingExtra: weights, and no PyTorch.
    """
    if model in bicubic.NAMES:
        if scale is None:
            raise UsageError(f"{model} has no scale of its own; say which with --scale")
        return bicubic.Bicubic(model, scale)
    path = Path(model)
    if path.suffix.lower() in WEIGHTS:
        if not path.is_file():
            raise ModelError(f"there is no model file {model}")
        runtime = RUNTIMES["torch"](path, threads=threads)
    else:
        runtime = RUNTIMES["ort"](zoo.path_of(model), threads=threads)
    if scale is not None and runtime.scale != scale:
        raise UsageError(f"{model} is an x{runtime.scale} model and the scale asked for is {scale}; leave --scale out")
    return runtime


def expand(models: Sequence[str]) -> Iterator[str]:
    """The models that were given, with folders replaced by the model files in them.

    Raises:
        ModelError: a folder without model files.
    """
    for model in models:
        folder = Path(model)
        if not folder.is_dir():
            yield model
            continue
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (*WEIGHTS, ".onnx"))
        if not files:
            raise ModelError(f"{folder} holds no model files (.pth, .safetensors, .onnx)")
        yield from map(str, files)


def _sets(entry: str | Path | Benchmark, crop: int, make_small: bool) -> list[Benchmark]:
    return [entry] if isinstance(entry, Benchmark) else find(entry, crop=crop, make_small=make_small)
