"""PyTorch: weights that have not been exported. The only runtime that may import the making world."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from sharpbit.errors import MissingExtra, UsageError
from sharpbit.runtime import Samples, available_cpus, checked_device

if find_spec("torch") is None or find_spec("safetensors") is None:
    raise MissingExtra("running weights that were not exported to ONNX", "train")


class TorchRuntime:
    """Weights in eager PyTorch. See `sharpbit.runtime.Runtime`.

    The network runs in the memory layout that is quicker on the CPU, channels last.
    """

    wide = False

    def __init__(self, path: Path, *, threads: int | None = None, device: str | None = None) -> None:
        # Large pages for large tensors: without them a third of the time may go into clearing small ones. Read once,
        # when PyTorch allocates for the first time.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        import torch

        from sharpbit.model import load
        from sharpbit.nn import receptive_field

        self.model = load(path)
        self.scale = self.model.scale
        seen = receptive_field(self.model.net, self.scale)
        self.halo = None if seen is None else seen // 2
        self.tile: int | None = None
        self.engine = f"PyTorch {torch.__version__}"
        self.device = checked_device("PyTorch", device, ("cpu", "cuda"))
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("the device cuda does not work here: PyTorch sees no such device; use cpu")
        self.samples: DTypeLike = np.float32
        self.precision = "float32"
        self.instruction_set = torch.backends.cpu.get_cpu_capability() if self.device == "cpu" else ""
        self.notes: tuple[str, ...] = ()
        self.threads = threads or available_cpus()
        net = self.model.net.eval().to(self.device)
        self._net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, tiles: Iterable[Samples]) -> Iterator[Samples]:
        """Tiles through the network, one after the other."""
        for tile in tiles:
            yield self.run(tile)

    def run(self, tile: Samples) -> Samples:
        """One tile through the network."""
        import torch

        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            out = self._net(torch.tensor(tile, device=self.device)[None].permute(0, 3, 1, 2))
        return np.asarray(out[0].permute(1, 2, 0).cpu().numpy(), np.float32)


def open_torch(path: Path, *, threads: int | None = None, device: str | None = None) -> TorchRuntime:
    """Open weights: `.safetensors`, or published ones in `.pth`. See `sharpbit.runtime.Opener`."""
    return TorchRuntime(path, threads=threads, device=device)


RUNTIME = open_torch
