"""OpenVINO on the CPU: our float and integer files, and plain ONNX upscalers of others."""

from __future__ import annotations

import os
import threading
from collections import Counter
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sharpbit.errors import MissingExtra, ModelError
from sharpbit.modelfile import ModelFile
from sharpbit.runtime import available_cpus, checked_device
from sharpbit.runtime._graph import Array, GraphRuntime, engine_precision, reason_of
from sharpbit.system.extras import loaded

if find_spec("openvino") is None:
    raise MissingExtra("the engine openvino", "openvino")

_TYPES: dict[str, DTypeLike] = {"f32": np.float32, "f16": np.float16, "u8": np.uint8}
_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "u8": "int8", "i8": "int8"}
_HEAVY = ("Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul")
_SIZES = 4  # that get a compiled network of their own; it takes 0.1 s each and gains a tenth over one for any size


class OpenvinoRuntime(GraphRuntime):
    """A model file in OpenVINO. See `sharpbit.runtime.Runtime`.

    `precision` and `instruction_set` say what OpenVINO plans to use, read from the compiled network as soon as there
    is one.

    Args:
        path: The path of the file, or the file itself, already opened.
        threads: The threads of the engine; None takes every core that the process may use.
        device: The device, which is `cpu`.
        precision: The precision of what is not stored as integers: `f32`, or `bf16` where the processor has it.
            OpenVINO itself would choose bf16 without a word; the engine `openvino_bf16` asks for it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        device: str | None = None,
        precision: str = "f32",
    ) -> None:
        openvino: Any = loaded("openvino", "the engine openvino", "openvino")
        file = ModelFile.of(path)
        super().__init__(file, threads)
        self.device = checked_device("OpenVINO", device, ("cpu",))
        self.engine = f"OpenVINO {openvino.__version__.split('-')[0]}"
        streams = max(1, available_cpus() // self.threads)  # as many callers at a time as there are cores for
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self.threads * streams,
            "INFERENCE_PRECISION_HINT": precision,
        }
        self._core = openvino.Core()
        try:
            # ours from the bytes that were read, those of others by path, for they may have further files
            self._model = self._core.read_model(file.data if self.header else str(self.path))
        except RuntimeError as error:
            raise ModelError(f"{path} cannot be opened as an ONNX model: {_reason(error)}") from None
        self._compiled: dict[tuple[int, ...] | None, Any] = {}
        self._lock = threading.Lock()
        inputs = self._model.inputs
        kinds = [port.get_element_type().get_type_name() for port in inputs]
        kind = _TYPES.get(kinds[0]) if len(inputs) == 1 else None
        self.precision = self.header.precision if self.header else np.dtype(kind).name
        self._settle(", ".join(kinds), kind, _shape(inputs[0]) if inputs else [])

    def infer(self, x: Array) -> object:
        """See `GraphRuntime`."""
        # A request is cheap, and its result stays valid when the next one runs.
        request = self._for_size(x.shape).create_infer_request()
        return request.infer([x], share_inputs=True, share_outputs=True)[0]

    def _for_size(self, shape: tuple[int, ...]) -> Any:
        """The network compiled for an input of `shape`, or for any, where there were many shapes before."""
        with self._lock:
            if shape in self._compiled:
                return self._compiled[shape]
            own = len(self._compiled.keys() - {None}) < _SIZES
            key = shape if own else None
            if key not in self._compiled:
                model = self._model.clone()
                if own:
                    model.reshape(list(shape))
                self._compiled[key] = self._core.compile_model(model, "CPU", self._settings)
                self.precision, self.instruction_set = _executed(self._compiled[key], self.precision)
            return self._compiled[key]


def _shape(port: Any) -> list[int | str]:
    """The sides of an input, free ones as text; empty where even their number is free."""
    sides = port.get_partial_shape()
    if sides.rank.is_dynamic:
        return []
    return [side.get_length() if side.is_static else str(side) for side in sides]


def _executed(compiled: Any, otherwise: str) -> tuple[str, str]:
    """Precision and instruction set of the layers that do the work."""
    heavy = []
    for node in compiled.get_runtime_model().get_ops():
        facts = {key: node.get_rt_info()[key].astype(str) for key in ("layerType", "runtimePrecision", "primitiveType")}
        if facts["layerType"] in _HEAVY:
            heavy.append(facts)
    precisions = Counter(_NAMES.get(name, name) for name in (facts["runtimePrecision"] for facts in heavy))
    kernels = Counter(facts["primitiveType"].rsplit("_", 1)[0].partition("_")[2] for facts in heavy)
    return engine_precision(precisions, otherwise), kernels.most_common(1)[0][0] if heavy else ""


def _reason(error: Exception) -> str:
    """The last line of OpenVINO's message, which holds the reason; those before it name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:1000] if lines else reason_of(error)


def open_openvino(
    path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None
) -> OpenvinoRuntime:
    """Open an ONNX model file. See `sharpbit.runtime.Opener`."""
    return OpenvinoRuntime(path, threads=threads, device=device)


RUNTIME = open_openvino
