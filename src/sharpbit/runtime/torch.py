"""PyTorch on the CPU: weights that have not been exported. The only runtime that may import the making world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sharpbit.errors import MissingExtra
from sharpbit.runtime import Tensor, available_cpus

if find_spec("torch") is None or find_spec("safetensors") is None:
    raise MissingExtra("running weights that were not exported to ONNX", "train")


class TorchRuntime:
    """Weights in eager PyTorch. See `sharpbit.runtime.Runtime`.

    The network runs in the memory layout that is quicker on the CPU, channels last.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        import torch

        from sharpbit.model import load
        from sharpbit.nn import receptive_field

        self.model = load(path)
        self.scale = self.model.scale
        seen = receptive_field(self.model.net, self.scale)
        self.halo = None if seen is None else seen // 2
        self.tile: int | None = None
        self.engine = f"PyTorch {torch.__version__} (CPU)"
        self.precision = "float32"
        self.notes: tuple[str, ...] = ()
        self._threads = threads or available_cpus()
        self._net = self.model.net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, tiles: Iterable[Tensor]) -> Iterator[Tensor]:
        """Tiles through the network, one after the other."""
        for tile in tiles:
            yield self.run(tile)

    def run(self, tile: Tensor) -> Tensor:
        """One tile through the network."""
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            out = self._net(torch.tensor(tile)[None].permute(0, 3, 1, 2))
        return np.asarray(out[0].permute(1, 2, 0).numpy(), np.float32)


def open_torch(path: Path, *, threads: int | None = None) -> TorchRuntime:
    """Open weights: `.safetensors`, or published ones in `.pth`. See `sharpbit.runtime.Opener`."""
    return TorchRuntime(path, threads=threads)


RUNTIME = open_torch
