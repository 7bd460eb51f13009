"""ONNX Runtime: on the CPU, or on what else the installed package of it can use."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sharpbit import modelfile
from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import ModelFile
from sharpbit.runtime import available_cpus, checked_device
from sharpbit.runtime._converted import SUFFIXES, Converted
from sharpbit.runtime._graph import Array, GraphRuntime, engine_precision, is_integer, reason_of
from sharpbit.runtime._interruptible import interruptible
from sharpbit.runtime._twopass import TwoPassRuntime
from sharpbit.system.extras import loaded

ort: Any = loaded("onnxruntime", "the engine onnx")
_TYPES: dict[str, DTypeLike] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_DEVICES = {  # name: execution provider, and the package of ONNX Runtime that has it
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime, on macOS"),
}


_WHOLE = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")


class OnnxRuntime(GraphRuntime):
    """A model file in ONNX Runtime. See `sharpbit.runtime.Runtime`."""

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None) -> None:
        file = ModelFile.of(path)
        super().__init__(file, threads)
        self.device = checked_device("ONNX Runtime", device, tuple(_DEVICES))
        self.engine = f"ONNX Runtime {ort.__version__}"
        with tempfile.TemporaryDirectory() as folder:
            rounds = self.header is not None and self.header.precision.startswith("W")  # such as W8A8
            rounds = rounds or is_integer(self.header) or "QuantizeLinear" in file.operators
            plan = Path(folder) / "plan.onnx" if rounds else None
            self._session = _session(file, self.threads, self.device, plan)
            whole, floats = (0, 0) if plan is None else _layers(plan)
            self.precision = self._claimed()
            if is_integer(self.header):
                self.precision = engine_precision({"int8": whole, "float32": floats}, "int8")
        inputs = self._session.get_inputs()
        names = ", ".join(f"{item.name} {item.type}" for item in inputs)
        kind = _TYPES.get(inputs[0].type) if len(inputs) == 1 else None
        self._name = inputs[0].name if inputs else ""
        self._settle(names, kind, inputs[0].shape if inputs else [])
        self.precision = self.precision or np.dtype(kind).name
        if whole + floats and not (whole and is_integer(self.header)):  # of these the precision tells
            self.notes = (*self.notes, in_integers(self.path.name, whole, whole + floats))

    def infer(self, x: Array) -> object:
        """See `GraphRuntime`."""
        return _run(self._session, {self._name: x})[0]


class OnnxPasses(TwoPassRuntime):
    """A model file in two passes, or of a pair, in ONNX Runtime."""

    def __init__(
        self, file: ModelFile, entry: Mapping[str, Any], scale: int, threads: int | None, device: str | None
    ) -> None:
        path, device = file.path, checked_device("ONNX Runtime", device, tuple(_DEVICES))
        super().__init__(path, entry, scale, threads or available_cpus(), device)
        self.engine = f"ONNX Runtime {ort.__version__}"
        with tempfile.TemporaryDirectory() as folder:
            plan = Path(folder) / "plan.onnx"
            self._session = _session(file, self.threads, device, plan)
            self.precision = _executed(plan)
        inputs = self._session.get_inputs()
        if [item.name for item in inputs[:2]] != ["task", "picture"]:
            raise ModelError(f"{path} says that it runs in two passes, and takes {[item.name for item in inputs]}")
        self._one_by_one = inputs[1].shape[0] == 1  # in a pair, as its networks were exported
        self._nothing = {item.name: np.zeros((0, item.shape[1], 1, 1), np.float32) for item in inputs[2:]}

    def ask(self, task: int, image: Array, features: Sequence[Array]) -> list[Array]:
        """See `TwoPassRuntime`."""
        if self._one_by_one and len(image) > 1:
            single = [self.ask(task, image[k : k + 1], features) for k in range(len(image))]
            return [np.concatenate(parts) for parts in zip(*single, strict=True)]
        given = dict(zip(self._nothing, features, strict=True)) if features else self._nothing
        try:
            return _run(self._session, {"task": np.array(task), "picture": image, **given})
        except Exception as error:  # the engine's own exception types share no base class
            raise ModelError(f"{self.path.name} could not run patches {image.shape}: {reason_of(error)}") from None


def _run(session: Any, given: Mapping[str, Array]) -> list[Array]:
    """All outputs; a graph that does not end is ended by a signal."""
    options = ort.RunOptions()
    return interruptible(lambda: list(session.run(None, given, options)), lambda: setattr(options, "terminate", True))


def _layers(plan: Path) -> tuple[int, int]:
    """How many layers of the graph that really runs compute in integers, and how many in float.

    Integers need patterns that the engine knows.
    """
    counts = modelfile.operators(plan) if plan.exists() else {}
    whole = sum(counts.get(name, 0) for name in _WHOLE)
    return whole, sum(counts.get(name, 0) for name in ("Conv", "FusedConv", "Gemm", "MatMul"))


def _executed(plan: Path) -> str:
    """What the convolutions of the graph that really runs compute in."""
    whole, floats = _layers(plan)
    return engine_precision({"int8": whole, "float32": floats}, "int8")


def in_integers(name: str, whole: int, layers: int) -> str:
    """A sentence on how many layers run in integers; where none does, with what to do."""
    if whole:
        return f"{whole} of the {layers} layers of {name} run in integers in ONNX Runtime"
    return (
        f"WARNING: none of the {layers} layers of {name} runs in integers in ONNX Runtime, so it is slower than the"
        " float network; keep that, or quantize to .sharpbit for the native engine"
    )


def _session(file: ModelFile, threads: int, device: str, plan: Path | None) -> Any:
    """A session of a file: ours from its bytes, those of others by path, for they may have further files."""
    provider, package = _DEVICES[device]
    wanted = f"the device {device} needs another ONNX Runtime than the installed one; run: pip install {package}"
    if provider not in ort.get_available_providers():
        raise UsageError(wanted)
    source = os.fspath(file) if file.header is None and not isinstance(file, Converted) else file.data
    exact = plan is not None and _saturates()
    options = _options(threads, plan)
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        # without its fallback, which only says on standard output that it will try the same again
        session = ort.InferenceSession(source, options, providers=[provider], enable_fallback=0)
    except Exception as error:  # the engine's own exception types share no base class
        session = _in_float(source, _options(threads, plan), provider) if exact else None
        if session is None:
            reason = reason_of(error)
            newer = any(words in reason for words in ("IR version", "opset version"))
            way = (
                f"; 'sharpbit export {file} -o NAME.onnx' writes it anew where its operators are known" if newer else ""
            )
            raise ModelError(f"{file} cannot be opened as an ONNX model: {reason}{way}") from None
    if session.get_providers()[0] != provider:  # it goes on with the CPU where a driver is missing
        raise UsageError(f"the device {device} does not work here: its driver or libraries are missing; use cpu")
    return session


def _options(threads: int, plan: Path | None) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if plan is not None:
        options.optimized_model_filepath = os.fspath(plan)
    # Threads that wait by spinning gain nothing here and cost much where other programs want the cores too.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _in_float(source: Any, options: Any, provider: str) -> Any:
    """A session that computes in float, or None: the exact way fails with files whose layers share signed bytes."""
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        return ort.InferenceSession(source, options, providers=[provider], enable_fallback=0)
    except Exception:  # the file is no better in this way
        return None


def _saturates() -> bool:
    """Whether products of bytes may be cut off at 16 bits, as on x86 before VNNI; true where the system does not say.

    ONNX Runtime has a slower way without that (2.5 times slower on a processor that does not need it).
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    return not {"avx512_vnni", "avx_vnni"} & set(flags.split())


def open_onnx(
    path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None
) -> OnnxRuntime | OnnxPasses:
    """Open an ONNX model file. See `sharpbit.runtime.Opener`."""
    file = ModelFile.of(path)
    if file.suffix in SUFFIXES and not isinstance(file, Converted):
        file = Converted(file)
    header = file.verified
    entry = modelfile.several(header.history) if header is not None and file.suffix == ".onnx" else None
    if header is not None and entry is not None:
        return OnnxPasses(file, entry, header.scale, threads, device)
    return OnnxRuntime(file, threads=threads, device=device)


RUNTIME = open_onnx
