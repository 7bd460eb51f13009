"""What a model file does and costs, measured through the engine that runs it: nothing here looks into the network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sharpbit.measure.cold_start import Task, cold_start
from sharpbit.measure.cold_start import image as noise_of
from sharpbit.measure.evaluate import evaluate
from sharpbit.measure.flatness import flatness
from sharpbit.measure.probe import probe
from sharpbit.measure.psnr import of_values
from sharpbit.measure.upscaling import Pixels, Upscale, by
from sharpbit.modelfile import ModelFile
from sharpbit.runtime import EngineOptions, Runtime, open_engine
from sharpbit.system.numbers import finite
from sharpbit.system.progress import Progress
from sharpbit.verbs.compression.images import Images

LEVELS = 5  # of each colour, of the constant images
SECONDS, LEAST, ROUNDS = 1.0, 3, 15  # of samples of each file, and how many samples
DIGITS = 3  # of dB
EXACT = "int8"  # precision of what gives the same bits on every processor


@dataclass(frozen=True)
class Measured:
    """What was measured of a file.

    Attributes:
        engine: what ran it.
        precision: the precision of the arithmetic that really ran.
        instruction_set: empty where the engine does not say.
        threads: the number of threads that worked.
        bytes: bytes of the payload: all of the file but its header.
        payload: sha256 of the payload.
        psnr: PSNR in dB by set, Y channel.
        drop: what it lost against the float network in dB, by set.
        against_float: PSNR in dB of its results against those of the float network, on images held out (RGB).
        flatness: largest error of constant images in grey levels, at any pixel.
        probe: what it makes of a test image (`sharpbit.measure.probe`).
        size: height and width of the image that was timed.
        ms: median time of one image in milliseconds.
        memory_mib: most resident memory of a process that upscales such an image; None where the system does not tell.
    """

    engine: str
    precision: str
    instruction_set: str
    threads: int
    bytes: int
    payload: str
    psnr: dict[str, float]
    drop: dict[str, float]
    against_float: float | None
    flatness: int
    probe: dict[str, Any]
    size: tuple[int, int]
    ms: float
    memory_mib: float | None

    def table(self) -> dict[str, Any]:
        """For JSON, with null for infinite."""
        return {key: finite(value) for key, value in asdict(self).items()}


class Reference:
    """The float network, which the others are compared with; it runs when it is first asked for.

    Args:
        path: its file.
        images: what it is measured on.
        threads: threads of the engine.
        progress: called with 1 after each image.
    """

    def __init__(self, path: Path, images: Images, threads: int | None, progress: Progress | None = None) -> None:
        self._given = path, images, threads, progress

    @cached_property
    def found(self) -> tuple[dict[str, float], dict[str, Pixels]]:
        """PSNR in dB by set, and the results on the images held out by path."""
        path, images, threads, progress = self._given
        runtime = opened(path, threads)
        return quality(by(runtime), images, runtime.scale, progress)


def opened(path: Path, threads: int | None = None) -> Runtime:
    """The file in the engine that suits it."""
    return open_engine(path, EngineOptions(threads=threads))


def measured(
    path: Path,
    images: Images,
    reference: Reference | None,
    size: tuple[int, int],
    threads: int | None,
    progress: Progress | None = None,
) -> Measured:
    """All that is measured of a file.

    Args:
        path: the file.
        images: what it is measured on.
        reference: the float network; None where the file is itself that network.
        size: height and width of the image that is timed.
        threads: threads of the engine; None takes every core that the process may use.
        progress: called with 1 after each image.
    """
    file = ModelFile(path)
    own = Reference(path, images, threads, progress)
    psnr, results = own.found
    before, wanted = (reference or own).found
    runtime = opened(path, threads)
    upscale = by(runtime)
    return Measured(
        **identity(file, runtime, upscale),
        threads=runtime.threads,
        psnr={name: round(value, DIGITS) for name, value in psnr.items()},
        drop={name: round(lost(before[name], value), DIGITS) for name, value in psnr.items()},
        against_float=None if reference is None else round(_against(wanted, results), DIGITS),
        flatness=flatness(upscale, levels=LEVELS).border,
        size=size,
        ms=times({"": path}, size, threads)[""],
        memory_mib=memory(path, size, threads),
    )


def identity(file: ModelFile, runtime: Runtime, upscale: Upscale) -> dict[str, Any]:
    """What a file is, and what its engine makes of the test image: fields of `Measured` that need no other images."""
    return {
        "engine": runtime.engine,
        "precision": runtime.precision,
        "instruction_set": runtime.instruction_set,
        "bytes": len(file.payload),
        "payload": "" if file.header is None else file.header.sha256,
        "probe": probe(upscale, exact=exact(runtime)),
    }


def exact(runtime: Runtime) -> bool:
    """Whether what it runs gives the same bits everywhere: integers in the native engine."""
    return runtime.precision == EXACT and runtime.samples == np.uint8


def quality(
    upscale: Upscale, images: Images, scale: int, progress: Progress | None = None
) -> tuple[dict[str, float], dict[str, Pixels]]:
    """PSNR in dB by set, and the results on images held out."""
    results: dict[str, Pixels] = {}
    found = {}
    for item in images.sets:
        keep = _keeper(results) if item is images.held_out else None
        found[item.name] = evaluate(upscale, item, scale, progress=progress, keep=keep).psnr
    return found, results


def _keeper(results: dict[str, Pixels]) -> Callable[[Path, Pixels], None]:
    def keep(path: Path, pixels: Pixels) -> None:
        results[str(path)] = pixels

    return keep


def _against(reference: Mapping[str, Pixels], results: Mapping[str, Pixels]) -> float:
    a = np.concatenate([reference[name].reshape(-1) for name in results]).astype(np.float64)
    b = np.concatenate([results[name].reshape(-1) for name in results]).astype(np.float64)
    return of_values(a, b)


def lost(before: float, after: float) -> float:
    """What was lost in dB; 0 where both are perfect."""
    return 0.0 if before == after else before - after


def times(
    paths: Mapping[str, Path], size: tuple[int, int], threads: int | None, progress: Progress | None = None
) -> dict[str, float]:
    """Median milliseconds of each file for one image of this height and width, the files in turn."""
    source = noise_of(size)
    upscalers = {name: by(opened(path, threads)) for name, path in paths.items()}
    taken: dict[str, list[float]] = {name: [] for name in paths}
    for upscale in upscalers.values():
        upscale(source)  # buffers and threads are made now
    for number in range(ROUNDS):
        for name, upscale in upscalers.items():
            started = time.perf_counter()
            upscale(source)
            taken[name].append(time.perf_counter() - started)
        if progress:
            progress(1 / ROUNDS)
        if number + 1 >= LEAST and min(map(sum, taken.values())) > SECONDS:
            break
    return {name: round(1e3 * statistics.median(values), 3) for name, values in taken.items()}


def memory(path: Path, size: tuple[int, int], threads: int | None) -> float | None:
    """Most resident memory in MiB of a process of its own that upscales one image of this height and width."""
    found = cold_start(Task(str(path), "auto", threads, None, size)).memory_mib
    return None if found is None else round(found, 1)
