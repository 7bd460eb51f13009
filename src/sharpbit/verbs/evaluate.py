"""Measure models: PSNR and SSIM on sets of test images, whatever kind of file a model is."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path
from typing import Any

from sharpbit import modelfile, zoo
from sharpbit.errors import ModelError, ResultWarning, SharpbitError, UsageError
from sharpbit.graph.values import stated
from sharpbit.measure import bicubic, patchwise
from sharpbit.measure.benchmarks import CROP, Benchmark, find
from sharpbit.measure.evaluate import SetScore
from sharpbit.measure.evaluate import evaluate as measure
from sharpbit.measure.patchwise import OVERLAP, Cut
from sharpbit.measure.upscaling import by
from sharpbit.modelfile import ModelFile
from sharpbit.runtime import AUTO, NCNN, WEIGHTS, Counting, EngineOptions, Runtime, available_cpus, open_engine
from sharpbit.runtime._twopass import TwoPassRuntime
from sharpbit.system.extras import loaded
from sharpbit.system.progress import Progress
from sharpbit.twopass.clustering import check_shared
from sharpbit.verbs.kept import kept_in

ZEROS = "zeros"


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one model.

    Attributes:
        model: as it was given.
        scale: upscaling factor.
        engine: what ran it.
        precision: the precision of the arithmetic that really ran.
        instruction_set: what the engine ran on, such as `AVX-512 VNNI`; empty where it does not say.
        device: the device that ran it.
        threads: the number of threads that worked.
        seconds: the time that it took, reading and measuring included.
        sets: the scores; with the cost of networks that have quantizers, or were run patch by patch, in PyTorch, and
            of networks in two passes.
        patch: side of the patches, in small pixels; None where whole images were upscaled.
        step: the distance from patch to patch in LR pixels.
        edges: what the network finds beyond the edges of an image, `zeros` as in published tables, where
            `sharpbit.upscale` mirrors the image; None where that makes no such difference (bicubic, files of one size).
    """

    model: str
    scale: int
    engine: str
    precision: str
    instruction_set: str
    device: str
    threads: int
    seconds: float
    sets: tuple[SetScore, ...]
    patch: int | None = None
    step: int | None = None
    edges: str | None = None


def evaluate(
    model: str | Path,
    data: str | Path | Benchmark | Sequence[str | Path | Benchmark],
    *,
    scale: int | None = None,
    crop: int = CROP,
    make_small: bool = False,
    threads: int | None = None,
    engine: str = AUTO,
    device: str | None = None,
    patch: int | None = None,
    step: int | None = None,
    progress: Progress | None = None,
    overrides: Mapping[str, Any] | None = None,
    save: str | Path | None = None,
) -> Evaluation:
    """Measure one model on sets of test images.

    Args:
        model: an embedded name, `.onnx`, `.safetensors`, `.pth`, `bicubic` or `bicubic-matlab`.
        data: folders of test images (layouts: `sharpbit.measure.benchmarks.find`), or sets opened before, whose
            images then stay in memory from model to model.
        scale: for `bicubic`, which has none of its own, and for weights that hold several.
        crop: HR images are cut to multiples of this.
        make_small: make the LR images even where a folder holds them.
        threads: the number of threads; None takes every core that the process may use.
        engine: `auto`, `native`, `onnx`, `openvino` or `torch`.
        device: such as `cpu` or `cuda`, where the engine has it.
        patch: upscale patch by patch, as published for networks that choose their bits (`sharpbit.measure.patchwise`):
            side of a patch in small pixels; the last of each row and column reaches to the edge. A network in two
            passes always runs so; None takes the side that its file has.
        step: the distance from patch to patch; by default `patch - 6`, or what the file of a network in two passes has.
        progress: called with 1 after each image.
        overrides: architecture (`arch`) and sizes of published weights, where weights do not tell them; see
            `sharpbit.load`.
        save: folder for the upscaled images, `SET/NAME.png`, 8 bits; by default they are not kept. Those that the same
            call made before it was interrupted are measured as they are, and the others are made.

    Raises:
        OutputExists: an image of that name lies in `save` and the same call did not make it, or it is damaged; nothing
            has been measured then.
        SharpbitError: the model or an image cannot be read, or the two do not fit.

    Examples:
        `Set5` is a folder with the HR images in `Set5/HR`:

        >>> import sharpbit
        >>> result = sharpbit.evaluate("x2-clean-balanced", ["Set5"])
        >>> [score.name for score in result.sets], result.scale, result.precision
        (['Set5'], 2, 'int8')
    """
    started = time.monotonic()
    entries = [data] if isinstance(data, str | Path | Benchmark) else data
    sets = [item for entry in entries for item in _sets(entry, crop, make_small)]
    if not sets:
        raise UsageError("nothing to measure on; give folders of test images with --data")
    asked = (scale, engine, device, patch, step)
    keeps = kept_in(Path(save), str(model), sets, asked, overrides or {}) if save is not None else None
    threads = threads or available_cpus()
    workers = min(threads, max(len(benchmark.large) for benchmark in sets))
    runtime = open_model(str(model), scale, EngineOptions(engine, device, threads // workers), overrides)
    cut = cut_for(runtime, patch, step)
    counts = isinstance(runtime, Counting) and runtime.quantized
    upscale = patchwise.by(runtime, cut) if cut or counts else by(runtime)
    stored = bool(keeps) and not (cut or counts)  # what patches cost is counted, and stands in no image
    scores = []
    try:
        for item, kept in zip(sets, keeps or repeat(None, len(sets)), strict=True):
            known = kept.get if kept and stored else None
            keep = kept.keep if kept else None
            scores += [
                measure(upscale, item, runtime.scale, workers=workers, progress=progress, keep=keep, known=known)
            ]
    except BaseException:
        for kept in keeps or ():
            kept.tidy()
        raise
    if stored and (found := sum(kept.found for kept in keeps or ())):
        total = sum(len(item.large) for item in sets)
        warnings.warn(f"{found} of {total} images were in {save} already and are measured", ResultWarning, stacklevel=2)
    return Evaluation(
        model=str(model),
        scale=runtime.scale,
        engine=runtime.engine,
        precision=runtime.precision,
        instruction_set=runtime.instruction_set,
        device=runtime.device,
        threads=threads,
        seconds=time.monotonic() - started,
        sets=tuple(scores),
        patch=cut.patch if cut else None,
        step=cut.step if cut else None,
        edges=None if isinstance(runtime, bicubic.Bicubic) or runtime.tile or runtime.halo == 0 else ZEROS,
    )


def cut_of(patch: int | None, step: int | None) -> Cut | None:
    """How images are cut; None leaves them whole.

    Raises:
        UsageError: a step without patches, or one that leaves gaps.
    """
    if patch is None:
        if step is not None:
            raise UsageError(f"a step of {step} is from patch to patch; give the side of patches with --patch too")
        return None
    step = max(1, patch - OVERLAP) if step is None else step
    if not 1 <= step <= patch:
        raise UsageError(f"patches of {patch} pixels every {step} leave gaps; a step has 1 to {patch} pixels")
    return Cut(patch, step)


def cut_for(runtime: Runtime, patch: int | None, step: int | None) -> Cut | None:
    """How a runtime cuts images: a network in two passes, or a pair, always does, by default as its file has it.

    Raises:
        UsageError: patches and steps that do not go together, as in `cut_of`.
    """
    if not isinstance(runtime, TwoPassRuntime):
        return cut_of(patch, step)
    side = patch or runtime.patch
    if step is None:
        check_shared(side, runtime.shared)
        step = side - runtime.shared
    return cut_of(side, step)


def count_patches(runtime: Runtime, file: ModelFile) -> None:
    """Let any engine tell what a patch of a network in two passes cost, where PyTorch is there to count."""
    if not isinstance(runtime, TwoPassRuntime) or runtime.counter or find_spec("torch") is None:
        return
    header = file.header
    if header is None or modelfile.several(header.history) is None:
        return
    loaded("torch", "counting the cost of patches", "train")
    from sharpbit.cost.two_pass_patches import TwoPassCost
    from sharpbit.model import described
    from sharpbit.quant.adaptive import Mixed
    from sharpbit.quant.refqsr import TwoPass

    two_pass = TwoPass.of(header.history)
    if two_pass is not None:  # a pair otherwise
        known = described(header)
        if any(isinstance(part, Mixed) for part in known.net.modules()):
            return  # what patches chose stays in the engine
        runtime.counter = TwoPassCost(known.arch.name, known.net, known.arch.build(known.config), two_pass)


def open_model(
    model: str,
    scale: int | None = None,
    options: EngineOptions | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Runtime:
    """A model opened by the engine that was asked for, or by the one that suits it.

    Raises:
        UsageError: `bicubic` without a scale, or another scale than the model's.
        ModelError: no such file, not a model, or not one that this engine runs.
        MissingExtra: the engine is not installed.
    """
    if model in bicubic.NAMES:
        if scale is None:
            raise UsageError(f"{model} has no scale of its own; say which with --scale")
        return bicubic.Bicubic(model, scale)
    file = ModelFile(model)
    if file.suffix in WEIGHTS and not file.path.is_file():
        raise ModelError(f"there is no model file {model}")
    if file.suffix not in WEIGHTS:
        file = zoo.open_file(model)
    options, overrides = options or EngineOptions(), dict(overrides or {})
    if file.suffix in (".onnx", *NCNN) and "range" in overrides:
        options = replace(options, white=stated(overrides.pop("range")))
    if overrides:
        if file.suffix not in WEIGHTS or options.engine not in (AUTO, "torch"):
            raise UsageError(f"sizes are given for weights that PyTorch runs, and {model} has its own; leave them out")
        file.factor = None if "scale" in overrides else scale
        open_weights = importlib.import_module("sharpbit.runtime.torch").open_torch
        runtime: Runtime = open_weights(file, threads=options.threads, device=options.device, overrides=overrides)
    else:
        runtime = open_engine(file, replace(options, factor=scale))
    count_patches(runtime, file)
    if scale is not None and runtime.scale != scale:
        raise UsageError(f"{model} is an x{runtime.scale} model and the scale asked for is {scale}; leave --scale out")
    return runtime


def scales_in(model: str, overrides: Mapping[str, Any] | None = None) -> tuple[int, ...]:
    """The upscaling factors that weights hold, of which one runs, the smallest first; empty for all other models.

    Args:
        model: as in `evaluate`; what is no file of weights, or none that can be read, holds none.
        overrides: as in `evaluate`; a `scale` among them is the only one.
    """
    file, overrides = ModelFile(model), dict(overrides or {})
    if file.suffix not in WEIGHTS or not file.path.is_file() or "scale" in overrides or find_spec("torch") is None:
        return ()
    from sharpbit.model import load, scales_of

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever runs it hears them
            found = load(file, **overrides)
    except SharpbitError:  # whoever runs it hears that
        return ()
    scales = () if found.history else scales_of(found.config)
    return scales if len(scales) > 1 else ()


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
        kinds = {*WEIGHTS, ".onnx", ".sharpbit"} - {".bin"}  # beside a .param there is always one
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in kinds)
        if not files:
            raise ModelError(f"{folder} holds no model files (.pth, .param, .safetensors, .onnx, .sharpbit)")
        yield from map(str, files)


def _sets(entry: str | Path | Benchmark, crop: int, make_small: bool) -> list[Benchmark]:
    return [entry] if isinstance(entry, Benchmark) else find(entry, crop=crop, make_small=make_small)
