"""PyTorch with convolutions and products of matrices in bfloat16: near float32, not the same, in less time."""

from __future__ import annotations

import os

from sharpbit.errors import ModelError
from sharpbit.runtime.torch import TorchRuntime, open_torch


def open_torch_bf16(
    path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None
) -> TorchRuntime:
    """Open weights. See `sharpbit.runtime.Opener`.

    Raises:
        ModelError: Their network rounds, or runs in two passes; bfloat16 would round a second time.
    """
    opened = open_torch(path, threads=threads, device=device, half=True)
    if not isinstance(opened, TorchRuntime) or opened.quantized:
        raise ModelError(f"{os.fspath(path)} rounds by itself, and bfloat16 would round again; take --engine torch")
    return opened


RUNTIME = open_torch_bf16
