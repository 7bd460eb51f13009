"""Measure how fast models run: latency, throughput, memory, first result, quality, of any model on any engine."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

from sharpbit import modelfile, zoo
from sharpbit.errors import SharpbitError
from sharpbit.graph.values import stated
from sharpbit.measure.benchmarks import Benchmark, find
from sharpbit.measure.cold_start import OPENER, Task, cold_start, image, opened
from sharpbit.measure.evaluate import evaluate
from sharpbit.measure.latency import SECONDS, Latency, interleaved, single_stream
from sharpbit.measure.limit import Limits
from sharpbit.measure.upscaling import by
from sharpbit.modelfile import integer_file as integer
from sharpbit.runtime import AUTO, WEIGHTS, Runtime, available_cpus
from sharpbit.system.extras import need
from sharpbit.system.progress import Phases

WARM = 3  # calls before the first sample
SHORT = 3.0  # seconds of samples, where it is no single stream
PEAKS, PEAK_SECONDS = 3, 0.1  # measurements of each limit, before and after the engines
BESIDE_SECONDS = 0.005  # of the limit, beside each sample


@dataclass(frozen=True)
class Candidate:
    """A model on an engine.

    Attributes:
        label: for tables.
        model: an embedded name or a file.
        engine: as `sharpbit.runtime.open_engine` takes it.
        opener: `module:function` that opens it.
    """

    label: str
    model: str
    engine: str = AUTO
    opener: str = OPENER


@dataclass(frozen=True)
class Row:
    """What was measured of a candidate at one size. Bytes go in and bytes come out, whatever the engine computes in.

    Attributes:
        label: the label of the candidate.
        model: as it was given.
        size: height and width of the image.
        scale: upscaling factor.
        engine: what ran it.
        precision: the precision of the arithmetic that really ran.
        instruction_set: empty where the engine does not say.
        threads: the number of threads that worked.
        device: the device that worked.
        latency: times of one image, with conversion from and to bytes; None if it could not run.
        fps: images a second, one after the other.
        gmac: 10^9 multiply-accumulate operations for an image; None where they are not known.
        gmacs: 10^9 multiply-accumulate operations a second.
        share: the share of the highest limit of 8 bits that was measured in the run, on as many threads; None if not
            measured, and where the arithmetic that ran is not that of bytes, which has another limit.
        limit_of: the instruction set whose limit counts: the one that ran, or the fastest here where the engine is not
            ours; empty where `share` is None for the arithmetic.
        limit: 10^9 multiply-accumulate operations of bytes a second that it can do: the most that was measured.
        limit_median: the same, in the median of the measurements beside the samples: the state of the machine.
        first_s: seconds from the start of Python to the first result, in a process of its own.
        memory_mib: most resident memory of that process.
        engine_mib: the part of it that is neither Python and numpy nor the images.
        psnr: dB for each set of test images, if there were any.
        error: why it could not run.
        notes: what should be heard of these numbers.
    """

    label: str
    model: str
    size: tuple[int, int]
    scale: int = 0
    engine: str = ""
    precision: str = ""
    instruction_set: str = ""
    threads: int = 0
    device: str = ""
    latency: Latency | None = None
    fps: float = 0.0
    gmac: float | None = None
    gmacs: float | None = None
    share: float | None = None
    limit_of: str = ""
    limit: float | None = None
    limit_median: float | None = None
    first_s: float | None = None
    memory_mib: float | None = None
    engine_mib: float | None = None
    psnr: tuple[tuple[str, float], ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()

    @property
    def in_bytes(self) -> bool:
        """Whether all or most of its layers computed in 8 bits, whose limit is measured."""
        return self.precision.startswith("int8")


@dataclass(frozen=True)
class Rules:
    """How it is measured.

    Attributes:
        threads: the threads of each engine; None takes every core that the process may use.
        device: None is the CPU.
        seconds: the time of the samples of each candidate; None is 3 s, or 60 s for a single stream.
        stream: as MLPerf's single stream: at least 1024 images and 60 s each, the 90th percentile.
        data: folders of test images, for the quality.
        white: what means white in an ONNX or ncnn file of somebody else: 1, 255, or `(1, 255)` for the image and for
            the result; None finds it by trial.
    """

    threads: int | None = None
    device: str | None = None
    seconds: float | None = None
    stream: bool = False
    data: tuple[str, ...] = ()
    white: str | float | tuple[float, float] | None = None


def bench(
    candidates: Sequence[Candidate],
    sizes: Sequence[tuple[int, int]],
    rules: Rules = Rules(),
    progress: Phases | None = None,
) -> list[Row]:
    """Measure candidates in turn at each size.

    Args:
        candidates: what to measure; one that cannot run becomes a row with the reason.
        sizes: (height, width) of images that go in.
        rules: how.
        progress: Called with a word on what begins, the number of steps before it, and that of all steps.

    Raises:
        SharpbitError: the only candidate cannot run.

    Examples:
        Two engines in turn, for an image of 36x64 pixels:

        >>> import sharpbit
        >>> from sharpbit.verbs.bench import Candidate, Rules
        >>> engines = [Candidate(name, "x2-clean-balanced", name) for name in ("auto", "onnx")]
        >>> rows = sharpbit.bench(engines, [(36, 64)], Rules(seconds=0.05, threads=1))
        >>> [(row.label, row.scale, row.threads) for row in rows]
        [('auto', 2, 1), ('onnx', 2, 1)]
    """
    before, steps = count(), len(sizes) * (len(candidates) + 1) + (len(candidates) if rules.data else 0)

    def report(word: str) -> None:
        if progress:
            progress(word, next(before), steps)

    rows = [row for size in sizes for row in _at(candidates, size, rules, report)]
    if not rules.data:
        return rows
    sets = [found for folder in rules.data for found in find(folder)]
    quality = {item: _quality(item, sets, rules, report) for item in candidates}
    return [replace(row, psnr=quality[item]) for row, item in zip(rows, [*candidates] * len(sizes), strict=True)]


def _at(
    candidates: Sequence[Candidate], size: tuple[int, int], rules: Rules, report: Callable[[str], None]
) -> list[Row]:
    source = image(size)
    rows, calls = dict[int, Row](), dict[int, Callable[[], object]]()
    for number, item in enumerate(candidates):
        rows[number] = Row(item.label, item.model, size)
        report(f"{item.label}: first result")
        try:
            task = _task(item, size, rules)
            runtime = opened(task)
            calls[number] = partial(by(runtime), source)
            for _ in range(WARM):
                calls[number]()
            rows[number] = replace(_described(rows[number], runtime), **vars(cold_start(task)))
        except SharpbitError as error:
            if len(candidates) == 1:
                raise
            calls.pop(number, None)
            rows[number] = replace(rows[number], error=str(error))
    limits = Limits(rules.threads or available_cpus())
    _measure(limits, rows, calls)
    report(f"{size[1]}x{size[0]}, {'one after the other' if rules.stream else 'in turn'}")
    if rules.stream:
        seconds = SECONDS if rules.seconds is None else rules.seconds
        found = {number: single_stream(call, seconds=seconds) for number, call in calls.items()}
    else:
        found = interleaved(
            calls,
            seconds=SHORT if rules.seconds is None else rules.seconds,
            beside=lambda number: _beside(limits, rows[number]),
        )
    _measure(limits, rows, calls)
    for number, latency in found.items():
        rows[number] = _with_cost(replace(rows[number], latency=latency), limits)
    return list(rows.values())


def _beside(limits: Limits, row: Row) -> None:
    """The limit once more, beside a sample."""
    if row.in_bytes:
        limits.measure(row.instruction_set, BESIDE_SECONDS)


def _described(row: Row, runtime: Runtime) -> Row:
    """With what the engine says of itself, once it has run."""
    names = ("scale", "engine", "precision", "instruction_set", "threads", "device", "notes")
    return replace(row, **{name: getattr(runtime, name) for name in names})


def _with_cost(row: Row, limits: Limits) -> Row:
    assert row.latency is not None
    seconds, gmac = row.latency.median_ms / 1e3, _gmac(row)
    gmacs = None if gmac is None else gmac / seconds
    row = replace(row, fps=1 / seconds, gmac=gmac, gmacs=gmacs)
    found = limits.of(row.instruction_set) if row.in_bytes else None
    if found is None:
        return row
    name, most, middle = found
    share = None if gmacs is None else gmacs / most
    return replace(row, share=share, limit_of=name, limit=most, limit_median=middle)


def _gmac(row: Row) -> float | None:
    """Of one image; None where the file does not say, or what counts it is not installed."""
    path, (height, width) = _path(row.model), row.size
    header = None if path.suffix.lower() in WEIGHTS else modelfile.read(path)
    if header is not None and header.precision == "int8":
        read = getattr(integer, "read", None)
        return None if read is None else read(path)[0].macs * height * width / 1e9
    with suppress(SharpbitError):
        need("train", "counting MACs")
        inspect = importlib.import_module("sharpbit.verbs.inspect").inspect
        macs = inspect(path, (height * row.scale, width * row.scale)).macs
        return None if macs is None else float(macs / 1e9)
    return None


def _measure(limits: Limits, rows: Mapping[int, Row], calls: Iterable[int]) -> None:
    """Each limit that a row needs, a few times: other processes can only make it less."""
    for name in {rows[number].instruction_set for number in calls if rows[number].in_bytes}:
        for _ in range(PEAKS):
            limits.measure(name, PEAK_SECONDS)


def _quality(
    item: Candidate, sets: Sequence[Benchmark], rules: Rules, report: Callable[[str], None]
) -> tuple[tuple[str, float], ...]:
    report(f"{item.label}: PSNR")
    try:
        runtime = opened(_task(item, (1, 1), rules))
    except SharpbitError:
        return ()  # the row says why it does not run
    return tuple((data.name, evaluate(by(runtime), data, runtime.scale).psnr) for data in sets)


def _task(item: Candidate, size: tuple[int, int], rules: Rules) -> Task:
    white = None if rules.white is None else stated(rules.white)
    return Task(os.fspath(_path(item.model)), item.engine, rules.threads, rules.device, size, item.opener, white)


def _path(model: str) -> Path:
    return Path(model) if Path(model).suffix.lower() in WEIGHTS else zoo.path_of(model)
