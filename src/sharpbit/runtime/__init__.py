"""Engines that run a model file, one file each: tiles of an image in, upscaled tiles out, in order."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharpbit import modelfile
from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import ModelFile
from sharpbit.system.catalog import Catalog
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Progress

if TYPE_CHECKING:
    from sharpbit.twopass.patches import Patch

Tensor = NDArray[np.float32]
Samples = NDArray[Any]

AUTO = "auto"
ENGINES = ("native", "onnx", "openvino", "openvino_bf16", "torch", "torch_bf16")  # our own, as in the help
EXACT = ("native", "onnx", "openvino", "torch")  # those whose result is that of float32, or of integers
NCNN = (".param", ".bin")  # files of ncnn, which ONNX Runtime runs as well
WEIGHTS = (".pth", ".pt", ".tar", ".ckpt", ".safetensors", *NCNN)  # files that PyTorch runs


class Runtime(Protocol):
    """A model opened by an engine.

    Attributes:
        engine: The name and the version of the engine, for people.
        scale: The upscaling factor.
        halo: The surroundings that a tile needs, in LR pixels; None if the network sees everything.
        tile: The only side of tiles (halo included) that the file accepts; None if any will do.
        multiple: What tiles must begin at multiples of, and their halo be; 1 if any will do.
        wide: Whether the engine bounds its own memory, so that whole rows of an image are best.
        samples: The type of the samples of tiles, in and out: uint8 or float32; another one is refused.
        precision: The precision of the arithmetic that really runs.
        instruction_set: The instruction set that runs it, such as `AVX-512 VNNI`; empty where that is not known.
        threads: The number of threads that work on a tile.
        device: The device that does the work, such as `cpu`.
        notes: Sentences on this file that the user should read.
    """

    engine: str
    scale: int
    halo: int | None
    tile: int | None
    multiple: int
    wide: bool
    samples: DTypeLike
    precision: str
    instruction_set: str
    threads: int
    device: str
    notes: tuple[str, ...]

    def __call__(self, tiles: Iterable[Samples]) -> Iterator[Samples]:
        """`(h, w, 3)` RGB each in; `(h * scale, w * scale, 3)` each out, in order.

        Samples are of the type `samples`, in and out: uint8, or float32 in `[0, 1]`; float results are not clipped.
        """


@dataclass(frozen=True)
class TileCost:
    """What one tile cost, where an engine can report it.

    Attributes:
        pixels: The number of pixels that went in.
        bits: The bits of each activation that the network rounds; where it chooses them for each patch, of each choice.
        feature_bits: The average feature bits, all layers counted: the mean over all values that are multiplied.
        macs: The number of multiply-accumulate operations.
        bitops: The BitOPs by the honest rule, MACs x bits x bits over all layers (`sharpbit.cost.bitops`).
        published: The BitOPs as the papers count them (`sharpbit.cost.published`); None where no paper says how.
    """

    pixels: int
    bits: tuple[float, ...]
    feature_bits: float
    macs: int
    bitops: float
    published: float | None


@dataclass(frozen=True)
class Piece:
    """A patch of an image that was upscaled.

    Attributes:
        patch: Where it lies.
        spent: What it cost; None where the engine cannot tell.
        role: `reference`, `query` or `isolated` in a network of two passes, `large` or `small` in a pair, else empty.
        reference: The number of the patch that a query refers to, from 0, row by row; None for all others.
    """

    patch: Patch
    spent: TileCost | None
    role: str = ""
    reference: int | None = None


@runtime_checkable
class Counting(Protocol):
    """An engine that reports what a tile cost.

    Attributes:
        quantized: Whether the network has quantizers as in training, so that its cost is worth reporting.
        widths: The bits that activations of its layers can have.
    """

    quantized: bool
    widths: tuple[int, ...]

    def counted(self, tile: Samples) -> tuple[Samples, TileCost]:
        """One tile through the network, and what that cost."""


@runtime_checkable
class SelfCutting(Protocol):
    """An engine that takes whole images and cuts them itself, as that of a network in two passes.

    Attributes:
        cuts_itself: True; an engine whose `run` takes tiles has no such attribute.
    """

    cuts_itself: bool

    def run(self, image: Samples, *, side: int | None = None, progress: Progress | None = None) -> Samples:
        """One image `(h, w, 3)` through the network.

        Args:
            image: The image.
            side: The side of its patches in LR pixels; None is what the model has by default.
            progress: Called with the share of the image that each piece of work makes up.
        """


class Opener(Protocol):
    """What a runtime module calls `RUNTIME`."""

    def __call__(self, path: ModelFile, *, threads: int | None = None, device: str | None = None) -> Runtime:
        """Open a model file.

        Args:
            path: The file, which was perhaps read already; it stands for its path where one is expected.
            threads: The threads of the engine; None lets it use every core that the process may use.
            device: The device; None is the engine's usual one, the CPU.
        """


@dataclass(frozen=True)
class EngineOptions:
    """What runs a model, and how its images are cut.

    Attributes:
        engine: `auto` or a name of `RUNTIMES`.
        device: `cpu`, or what an engine calls another one; None is the CPU.
        threads: The threads of the engine; None takes every core that the process may use.
        tile: The side of tiles in pixels of the input image, without the halo; None chooses.
        white: What means white in the image and in the result of a file without a header; None tries.
        denoise: The share of a network, from 0 to 1, in a mixture with its twin; None mixes nothing.
        factor: The upscaling factor that is asked for, by which weights for several scales choose; None asks for none.
    """

    engine: str = AUTO
    device: str | None = None
    threads: int | None = None
    tile: int | None = None
    white: tuple[float, float] | None = None
    denoise: float | None = None
    factor: float | None = None


RUNTIMES: Mapping[str, Opener] = Catalog("sharpbit.runtime", "RUNTIME")


def available_cpus() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_engine(
    path: str | os.PathLike[str],
    engine: str | EngineOptions = AUTO,
    *,
    threads: int | None = None,
    device: str | None = None,
) -> Runtime:
    """Open a model file with the engine that was asked for.

    `auto` is the fastest engine that runs the file exactly: the native one for integer chains (where it has an
    instruction set to do it quickly), PyTorch for weights, ONNX Runtime for all else, files of ncnn among it
    (docs/decisions/0010-engines.md). Tiles have the type that it calls `samples`; `sharpbit.upscale` takes any.

    Args:
        path: The path of the file, or the file itself, already opened.
        engine: `auto`, a name of `RUNTIMES`, or all options in one.
        threads: The threads of the engine; None takes every core that the process may use.
        device: `cpu`, or what an engine calls another one; None is the CPU.

    Raises:
        UsageError: no such engine or device.
        ModelError: a file that this engine cannot run; the sentence names one that can.
        MissingExtra: the engine is not installed.
    """
    options = engine if isinstance(engine, EngineOptions) else EngineOptions(engine, device, threads)
    file, engine = ModelFile.of(path), options.engine
    if options.white is not None:
        if file.suffix not in (".onnx", *NCNN) or (file.suffix == ".onnx" and file.header is not None):
            raise UsageError(f"--range is for ONNX and ncnn files of others; {file.name} has its own, so leave it out")
        file.white = options.white
    if options.denoise is not None:
        if file.suffix not in WEIGHTS:
            raise UsageError(
                f"--denoise mixes float weights ({' '.join(WEIGHTS)}) when a network is opened, and {file.name} is"
                " none of these; 'sharpbit export WEIGHTS --denoise SHARE' makes such a file of a mixture"
            )
        file.denoise = options.denoise
    file.factor = options.factor if file.suffix in WEIGHTS else None
    if engine == AUTO:
        return _fastest(file, options)
    if engine in ENGINES and (reason := _cannot(engine, file)):
        able = [f"--engine {name}" for name in ENGINES if name != engine and name in EXACT and not _cannot(name, file)]
        way = f"; {' or '.join(able)} can" if able else ""
        raise ModelError(f"the engine {engine} cannot run {file.name}: {reason}{way}")
    return RUNTIMES[engine](file, threads=options.threads, device=options.device)


def _fastest(path: ModelFile, options: EngineOptions) -> Runtime:
    suffix, threads, device = path.suffix, options.threads, options.device
    if suffix in NCNN and path.denoise is None and device in (None, "cpu"):
        try:
            return RUNTIMES["onnx"](path, threads=threads)
        except ModelError:  # an operator or a use of it that ONNX lacks, or damage, which PyTorch's way finds as well
            return RUNTIMES["torch"](path, threads=threads, device=device)
    if suffix in WEIGHTS:
        return RUNTIMES["torch"](path, threads=threads, device=device)
    reason = _cannot("native", path)
    if suffix == ".sharpbit" and reason:
        raise ModelError(
            f"{path.name} is a file for the native engine alone: {reason}; or take the .onnx of this model"
        )
    if device in (None, "cpu") and not reason and (suffix != ".onnx" or _quick()):
        try:
            return RUNTIMES["native"](path, threads=threads)
        except ModelError:  # integers, but no chain; or damaged, which the next engine finds as well
            if suffix != ".onnx":
                raise
    return RUNTIMES["onnx"](path, threads=threads, device=device)


def _quick() -> bool:
    """Whether the native engine has more than plain C++ for this processor, which ONNX Runtime beats."""
    return bool(importlib.import_module("sharpbit.runtime.native").instruction_sets()[0] != "c")


def _cannot(engine: str, path: ModelFile) -> str:
    """Why one of our engines cannot run a file, as far as its name and header tell; empty if it can."""
    suffix = path.suffix
    if engine.startswith("torch"):
        return "" if suffix in WEIGHTS else f"it takes weights ({' '.join(WEIGHTS)})"
    if engine != "native":
        if suffix in NCNN and engine == "onnx":
            return "it mixes no networks" if path.denoise is not None else ""
        if suffix in (*WEIGHTS, ".sharpbit"):
            return "it takes .onnx files"
        header = path.header if suffix == ".onnx" else None
        single = engine == "onnx" or header is None or modelfile.several(header.history) is None
        return "" if single else "it takes files with one graph, and this one has several"
    header = None if suffix in WEIGHTS else path.header
    if header is None or header.precision != "int8":
        return "it takes integer networks, which 'sharpbit quantize' makes"
    if find_spec("sharpbit.runtime.native") is None:
        return "it is not part of this installation"
    native = importlib.import_module("sharpbit.runtime.native")
    return "" if native.available() else str(native.why_not())


def checked_device(engine: str, device: str | None, known: tuple[str, ...]) -> str:
    """`device` in small letters, `cpu` where there is none.

    Raises:
        UsageError: one that `engine` does not know.
    """
    name = (device or "cpu").lower()
    if name not in known:
        raise UsageError(f"{engine} has no device {device!r}; use {' or '.join(known)}")
    return name


__getattr__ = old_names(__name__, {"Spent": "TileCost"})
