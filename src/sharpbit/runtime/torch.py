"""PyTorch: weights that have not been exported. The only runtime that may import the making world."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sharpbit import modelfile
from sharpbit.errors import MissingExtra, UsageError
from sharpbit.runtime import Samples, Spent, available_cpus, checked_device
from sharpbit.runtime._twopass import PassesRuntime
from sharpbit.twopass.classifier import embedded
from sharpbit.twopass.schedule import QUERY, REFERENCE, VECTORS, Floats

if find_spec("torch") is None or find_spec("safetensors") is None:
    raise MissingExtra("running weights that were not exported to ONNX", "train")


_CHOOSES = (
    "patches choose their bits, which no engine runs: here all widths are computed, and the time says nothing; the cost"
    " is counted, see 'sharpbit evaluate --patch'"
)
_SIMULATED = "rounding is simulated in float, and costs time; 'sharpbit export' writes the integers that engines run"


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

        from sharpbit.cost.per_patch import widths
        from sharpbit.model import load
        from sharpbit.nn import receptive_field
        from sharpbit.quant.adaptive import Context
        from sharpbit.quant.grid import Fixed

        self.path, self.model = path, load(path)
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
        self.threads = threads or available_cpus()
        self._spending: Any = None
        self.quantized = any(isinstance(part, Fixed) for part in self.model.net.modules())
        self.widths = widths(self.model.net)
        self._adaptive = any(isinstance(part, Context) for part in self.model.net.modules())
        self.notes: tuple[str, ...] = (_CHOOSES,) if self._adaptive else (_SIMULATED,) if self.quantized else ()
        self._one = RLock()  # what a network chose lies in the network until it runs again
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
        with torch.inference_mode(), self._one if self._adaptive else nullcontext():
            out = self._net(torch.tensor(tile, device=self.device)[None].permute(0, 3, 1, 2))
        return np.asarray(out[0].permute(1, 2, 0).cpu().numpy(), np.float32)

    def counted(self, tile: Samples) -> tuple[Samples, Spent]:
        """One tile through the network, and what that cost. See `sharpbit.runtime.Counting`."""
        from sharpbit.cost.per_patch import Spending

        with self._one:
            if self._spending is None:
                plain = self.model.arch.build(self.model.config)
                self._spending = Spending(self.model.arch.name, self.model.net, plain)
            return self.run(tile), Spent(**self._spending.last(tile.shape[:2]))


class TorchPasses(PassesRuntime):
    """Weights in two passes in eager PyTorch, on the CPU."""

    def __init__(self, opened: TorchRuntime, entry: Mapping[str, Any]) -> None:
        from sharpbit.quant.refqsr import QueryPass, ReferencePass

        super().__init__(opened.path, entry, opened.scale, opened.threads, opened.device)
        self.engine, self.precision, self.instruction_set = opened.engine, opened.precision, opened.instruction_set
        net = opened.model.net.eval()
        self._parts = {REFERENCE: ReferencePass(net), QUERY: QueryPass(net)}

    def ask(self, task: int, image: Floats, features: Sequence[Floats]) -> list[Floats]:
        """See `PassesRuntime`."""
        import torch

        if task == VECTORS:
            pixels = np.rint(image.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
            return [embedded().vectors(list(pixels))[:, :, None, None]]
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            given = [torch.tensor(x, device=self.device) for x in (image, *features)]
            out = self._parts[task].to(self.device)(*given)
        return [x.float().cpu().numpy() for x in ((out,) if isinstance(out, torch.Tensor) else out)]


def open_torch(path: Path, *, threads: int | None = None, device: str | None = None) -> TorchRuntime | TorchPasses:
    """Open weights: `.safetensors`, or published ones in `.pth`. See `sharpbit.runtime.Opener`."""
    opened = TorchRuntime(path, threads=threads, device=device)
    entry = modelfile.several(opened.model.history)
    return opened if entry is None else TorchPasses(opened, entry)


RUNTIME = open_torch
