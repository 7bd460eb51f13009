"""OpenVINO on the CPU in bfloat16, where the processor has it: near float32, not the same, in less time."""

from __future__ import annotations

import os

from sharpbit.runtime.openvino import OpenvinoRuntime


def open_openvino_bf16(
    path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None
) -> OpenvinoRuntime:
    """Open an ONNX model file. See `sharpbit.runtime.Opener`."""
    return OpenvinoRuntime(path, threads=threads, device=device, precision="bf16")


RUNTIME = open_openvino_bf16
