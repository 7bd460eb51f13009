"""How much memory the activations of a network need at once, metered from outside."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor, nn

from sharpbit.cost.bitops import BitMeter, Choice
from sharpbit.cost.macs import INPUT, run, storage
from sharpbit.quant.adaptive import Mixed
from sharpbit.quant.frozen import QDQ, Integers
from sharpbit.quant.grid import FLOAT, Fixed


def peak(net: nn.Module, size: tuple[int, int] = INPUT) -> int:
    """Bytes of all tensors that are there at once, at the worst moment of one image of `size` (height, width).

    Tensors come and go as they do in PyTorch without gradients; a rounded one takes the bits that it has. Weights, and
    what a quantizer or an operator needs inside, do not count. An engine that fuses layers needs less.

    Raises:
        UsageError: the network cannot run on tensors without values.
    """
    meter = _PeakMeter()
    run(net, size, meter)
    return meter.peak


class _PeakMeter(BitMeter):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._sizes: dict[int, int] = {}
        self._holders: dict[int, int] = {}
        self._weights: set[int] = set()
        self._kernels: set[int] = set()  # quantizers of weights
        self._depth = 0  # inside quantizers

    def watch(self, net: nn.Module) -> None:
        super().watch(net)
        self._weights = {storage(tensor) for tensor in net.state_dict().values()}
        self._kernels = {id(part) for layer in net.modules() if (part := getattr(layer, "kernel", None)) is not None}
        for part in net.modules():
            if isinstance(part, Fixed | QDQ | Integers | Mixed):
                part.register_forward_pre_hook(lambda part, args: self._deeper(1))
                part.register_forward_hook(
                    lambda part, args, out: self._deeper(-1, None if id(part) in self._kernels else out)
                )

    def rounded(self, quantizer: nn.Module, out: Tensor) -> None:
        if self._depth == 1 and id(quantizer) not in self._kernels:  # nor one of those that a `Mixed` takes from
            super().rounded(quantizer, out)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._depth:
            return func(*args, **(kwargs or {}))
        out = super().__torch_dispatch__(func, types, args, kwargs)
        self._kept.clear()
        for result in out if isinstance(out, list | tuple) else (out,):
            if isinstance(result, Tensor):
                self._hold(result)
        return out

    def _deeper(self, levels: int, out: Tensor | None = None) -> None:
        self._depth += levels
        if out is not None and not self._depth:
            self._hold(out)

    def _hold(self, tensor: Tensor) -> None:
        key = storage(tensor)
        if key in self._weights:
            return
        self._holders[key] = self._holders.get(key, 0) + 1
        weakref.finalize(tensor, self._drop, key)
        self._resize(key, tensor)

    def _resize(self, key: int, tensor: Tensor) -> None:
        values = tensor.untyped_storage().nbytes() // tensor.element_size()
        size = -(-values * self._bits.get(key, (FLOAT, ()))[0] // 8)
        self._now += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        self.peak = max(self.peak, self._now)

    def _drop(self, key: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            self._now -= self._sizes.pop(key)
            del self._holders[key]
            self._bits.pop(key, None)  # the next tensor may lie at the same address

    def _note(self, tensor: Tensor, bits: int, choice: Choice = ()) -> None:
        super()._note(tensor, bits, choice)
        if storage(tensor) in self._sizes:
            self._resize(storage(tensor), tensor)
