"""PyTorch: weights that have not been exported. The only runtime that may import the making world."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sharpbit import modelfile
from sharpbit.errors import MissingExtra, UsageError
from sharpbit.modelfile import ModelFile
from sharpbit.runtime import Samples, TileCost, available_cpus, checked_device
from sharpbit.runtime._samples import check_samples
from sharpbit.runtime._twopass import Chosen, TwoPassRuntime
from sharpbit.system.extras import loaded
from sharpbit.twopass.classifier import embedded
from sharpbit.twopass.schedule import QUERY, VECTORS, Floats

_WHAT = "running weights that were not exported to ONNX"
if find_spec("torch") is None or find_spec("safetensors") is None:
    raise MissingExtra(_WHAT, "train")


_CHOOSES = (
    "patches choose their bits: here all widths are computed, and the time says nothing; the cost is counted, see"
    " 'sharpbit evaluate --patch', and 'sharpbit export' writes a file for engines"
)
_SIMULATED = "rounding is simulated in float, and costs time; 'sharpbit export' writes the integers that engines run"


class TorchRuntime:
    """Weights in eager PyTorch. See `sharpbit.runtime.Runtime`.

    The network runs in the memory layout that is quicker on the CPU, channels last.

    Args:
        path: The path of the file, or the file itself, already opened.
        threads: The threads of the engine; None takes every core that the process may use.
        device: `cpu` or `cuda`; None is the CPU.
        overrides: What `sharpbit.model.load` is given besides the path.
        half: Whether convolutions and products of matrices are computed in bfloat16; False by default.
    """

    wide = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        device: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        half: bool = False,
    ) -> None:
        # Large pages for large tensors: without them a third of the time may go into clearing small ones. Read once,
        # when PyTorch allocates for the first time.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        for package in ("torch", "safetensors"):
            loaded(package, _WHAT, "train")
        import torch

        from sharpbit.cost.per_patch import widths
        from sharpbit.model import load, of_factor
        from sharpbit.nn import receptive_field
        from sharpbit.quant.adaptive import Context
        from sharpbit.quant.grid import Fixed

        file = ModelFile.of(path)
        stated = {} if file.white is None else {"range": file.white}
        given = {"denoise": file.denoise, **stated, **(overrides or {})}
        self.path, self.model = Path(path), of_factor(load(path, **given), file.factor)
        self.scale = self.model.scale
        seen = receptive_field(self.model.net, self.scale)
        self.halo = None if seen is None else seen // 2
        self.tile: int | None = None
        self.multiple = int(getattr(self.model.config, "multiple", 1))
        self.engine = f"PyTorch {torch.__version__}"
        self.device = checked_device("PyTorch", device, ("cpu", "cuda"))
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("the device cuda does not work here: PyTorch sees no such device; use cpu")
        self.samples: DTypeLike = np.float32
        self.precision = "bfloat16" if half else "float32"
        self._half = half
        self.instruction_set = torch.backends.cpu.get_cpu_capability() if self.device == "cpu" else ""
        self.threads = threads or available_cpus()
        self._cost: Any = None
        self.quantized = any(isinstance(part, Fixed) for part in self.model.net.modules())
        self.widths = widths(self.model.net)
        adaptive = any(isinstance(part, Context) for part in self.model.net.modules())
        self.notes: tuple[str, ...] = (_CHOOSES,) if adaptive else (_SIMULATED,) if self.quantized else ()
        self._counting = Lock()
        net = self.model.net.eval().to(self.device)
        self._net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, tiles: Iterable[Samples]) -> Iterator[Samples]:
        """Tiles through the network, one after the other."""
        for tile in tiles:
            yield self.run(tile)

    def run(self, tile: Samples) -> Samples:
        """One tile through the network.

        Raises:
            UsageError: The samples of the tile are others than float32.
        """
        import torch

        check_samples(self, tile)

        half = torch.autocast(self.device, torch.bfloat16, enabled=self._half)
        with _threads(self.threads), torch.inference_mode(), half:
            out = self._net(torch.tensor(tile, device=self.device)[None].permute(0, 3, 1, 2))
        return np.asarray(out[0].permute(1, 2, 0).float().cpu().numpy(), np.float32)

    def counted(self, tile: Samples) -> tuple[Samples, TileCost]:
        """One tile through the network, and what that cost. See `sharpbit.runtime.Counting`."""
        from sharpbit.cost.per_patch import PatchCost

        result = self.run(tile)  # what a network chose belongs to the thread until it runs again
        with self._counting:
            if self._cost is None:
                plain = self.model.arch.build(self.model.config)
                self._cost = PatchCost(self.model.arch.name, self.model.net, plain)
            return result, TileCost(**self._cost.last(tile.shape[:2]))


class TorchPasses(TwoPassRuntime):
    """Weights in two passes in eager PyTorch. Threads share the network, which keeps nothing of an image."""

    def __init__(self, opened: TorchRuntime, entry: Mapping[str, Any]) -> None:
        from sharpbit.cost.two_pass_patches import TwoPassCost
        from sharpbit.quant.adaptive import Context
        from sharpbit.quant.refqsr import TwoPass

        super().__init__(opened.path, entry, opened.scale, opened.threads, opened.device)
        self.engine, self.precision, self.instruction_set = opened.engine, opened.precision, opened.instruction_set
        self._net = opened.model.net
        self._context = next((part for part in self._net.modules() if isinstance(part, Context)), None)
        plain = opened.model.arch.build(opened.model.config)
        two_pass = TwoPass.of(opened.model.history)
        self.counter = TwoPassCost(opened.model.arch.name, self._net, plain, two_pass) if two_pass else None

    def ask(self, task: int, image: Floats, features: Sequence[Floats]) -> list[Floats]:
        """See `TwoPassRuntime`."""
        import torch

        from sharpbit.quant.refqsr import query, reference

        if task == VECTORS:
            pixels = np.rint(image.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
            return [embedded().vectors(list(pixels))[:, :, None, None]]
        with _threads(self.threads), torch.inference_mode():
            x, *given = (torch.tensor(x, device=self.device) for x in (image, *features))
            if task == QUERY:
                out = [query(self._net, x, given)]
            else:
                result, kept = reference(self._net, x)
                out = [result, *kept]
        return [x.float().cpu().numpy() for x in out]

    def chosen(self, count: int) -> list[Chosen]:
        """See `TwoPassRuntime`."""
        if self._context is None:
            return super().chosen(count)
        runs = [((place, run), one) for place, same in self._context.spent.items() for run, one in enumerate(same)]
        return [{key: float(one.bits[row]) for key, one in runs} for row in range(count)]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads of PyTorch, whose number belongs to the whole process, and then as many as before."""
    import torch

    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def open_torch(
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    device: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    half: bool = False,
) -> TorchRuntime | TorchPasses:
    """Open weights: `.safetensors`, or published ones in `.pth`. See `sharpbit.runtime.Opener`.

    Args:
        path: The path of the file, or the file itself, already opened.
        threads: Threads that work; None lets the engine use every core that the process may use.
        device: `cpu` or `cuda`; None is the CPU.
        overrides: What `sharpbit.model.load` is given besides the path: `arch`, and sizes of it.
        half: Whether convolutions and products of matrices are computed in bfloat16; False by default.
    """
    opened = TorchRuntime(path, threads=threads, device=device, overrides=overrides, half=half)
    entry = modelfile.several(opened.model.history)
    return opened if entry is None else TorchPasses(opened, entry)


RUNTIME = open_torch
