"""Quantizing as a verb of a model: from float to integers, by one of the methods, with a receipt of what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sharpbit.arch import ARCHITECTURES
from sharpbit.arch.integer import of_chain
from sharpbit.data import calibration
from sharpbit.errors import QuantizeError, ReparameterizeError, UsageError
from sharpbit.measure.psnr import of_values
from sharpbit.model import Model
from sharpbit.quant import core, verbs
from sharpbit.quant.lossless import quantize_chain
from sharpbit.quant.plan import Plan
from sharpbit.reparam.chain import relu_chain

Progress = Callable[[str, int, int], object]
BATCH = 8  # small pictures that are calibrated on at once
HELD_OUT = 10  # every tenth crop is kept to measure on


class Method(Protocol):
    """Makes a quantized model of a float one."""

    def __call__(self, model: Model, crops: Tensor, bits: int, progress: Progress | None) -> Model:
        """`crops` `(N, 3, h, w)` uint8 are small pictures to calibrate on."""


def lossless(model: Model, crops: Tensor, bits: int, progress: Progress | None) -> Model:
    """A chain of convolutions and ReLU in 8-bit integers. See `sharpbit.quant.lossless`.

    Raises:
        UsageError: not 8 bits.
        QuantizeError: the network is no such chain.
    """
    if bits != 8:
        raise UsageError(f"the method lossless makes 8 bits, not {bits}; leave --bits out")
    try:
        chain = relu_chain(model.net)
    except ReparameterizeError as error:
        raise QuantizeError(
            f"{model.arch.name} is no chain of convolutions and ReLU, which the method lossless takes: {error}"
        ) from None
    net = of_chain(quantize_chain(chain, crops, progress=progress))
    entry = {"verb": "quantize", "from": model.arch.name, "method": "lossless", "bits": bits, "crops": len(crops)}
    history = (*model.history, entry)
    about = {**model.about, "precision": "int8"}
    return replace(model, arch=ARCHITECTURES["integer"], config=net.config, net=net, history=history, about=about)


def general(method: str) -> Method:
    """A method of `sharpbit.quant.method`, for any network: ranges are found, then frozen."""

    def quantized(model: Model, crops: Tensor, bits: int, progress: Progress | None) -> Model:
        model = verbs.quantize(model, Plan.uniform(bits), method)

        def batches() -> Iterator[Tensor]:
            for done, part in enumerate(torch.split(crops, BATCH)):
                yield part.float() / 255
                if progress:
                    progress("calibrating", min((done + 1) * BATCH, len(crops)), len(crops))

        return verbs.freeze(verbs.calibrate(model, batches()))

    return quantized


METHODS: Mapping[str, Method] = {"lossless": lossless, **{name: general(name) for name in core.METHODS}}


@dataclass(frozen=True)
class Receipt:
    """What was done, and what it cost.

    Attributes:
        method: by which it was done.
        bits: of weights and activations.
        crops: small pictures that were calibrated on.
        held_out: small pictures that were not, but measured on.
        seconds: that it took.
        bytes: of the weights, before and after.
        psnr: of the integer result against the float one, both rounded to 8 bits, on the held-out pictures (RGB, dB).
        differing: share of their samples that are not the same.
        largest: difference in grey levels.
    """

    method: str
    bits: int
    crops: int
    held_out: int
    seconds: float
    bytes: tuple[int, int]
    psnr: float
    differing: float
    largest: int


def quantize(
    model: Model,
    pictures: str | Path | Sequence[np.ndarray],
    *,
    method: str = "lossless",
    bits: int = 8,
    progress: Progress | None = None,
) -> Model:
    """The model in integers, calibrated on ordinary pictures; what was done is the last entry of its history.

    Args:
        model: in float.
        pictures: a folder, or `(H, W, 3)` uint8 arrays; they are shrunk to what the network gets
            (`sharpbit.data.calibration`).
        method: one of `METHODS`.
        bits: of weights and activations.
        progress: called with a word, what is done of it, and how much there is.

    Raises:
        UsageError: no such method, bits that it does not make, or nothing to calibrate on.
        QuantizeError: the method cannot do it for this network, or not with these pictures.
    """
    return with_receipt(model, pictures, method=method, bits=bits, progress=progress)[0]


def with_receipt(
    model: Model,
    pictures: str | Path | Sequence[np.ndarray],
    *,
    method: str = "lossless",
    bits: int = 8,
    progress: Progress | None = None,
) -> tuple[Model, Receipt]:
    """What `quantize` does, and the receipt."""
    started = time.monotonic()
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}; known are {', '.join(METHODS)}")
    if model.arch.name == "integer":
        raise QuantizeError("the model is in integers already; quantize the float one that it was made from")
    if isinstance(pictures, (str, Path)):
        crops = calibration.from_folder(pictures, model.scale, progress=progress)
    else:
        crops = calibration.from_pictures(pictures, model.scale)
    kept = torch.arange(len(crops)) % HELD_OUT == HELD_OUT - 1
    held_out, crops = (crops[kept], crops[~kept]) if bool(kept.any()) else (crops, crops)
    after = METHODS[method](model, crops, bits, progress)
    psnr, differing, largest = _apart(model.net, after.net, held_out)
    receipt = Receipt(
        method=method,
        bits=bits,
        crops=len(crops),
        held_out=len(held_out),
        seconds=round(time.monotonic() - started, 1),
        bytes=(_bytes(model.net), _bytes(after.net)),
        psnr=round(psnr, 2),
        differing=round(differing, 4),
        largest=largest,
    )
    return replace(after, about={**after.about, "metrics": ()}), receipt  # what was measured was the float model


def shown(bar: tqdm[Any]) -> Progress:
    """Progress as one line of a bar, whatever is being done."""

    def tell(word: str, done: int, total: int) -> None:
        bar.desc, bar.total = f"{word}: ", total
        bar.update(done - bar.n)

    return tell


@torch.no_grad()
def enlarged(net: nn.Module, small: np.ndarray) -> np.ndarray:
    """What a network makes of `(h, w, 3)` bytes, rounded to bytes."""
    x = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))[None].float() / 255
    y: np.ndarray = _eight_bits(net, x)[0].permute(1, 2, 0).contiguous().numpy()
    return y


def _eight_bits(net: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = torch.round(net(x).clamp(0, 1) * 255).to(torch.uint8)
    return out


@torch.no_grad()
def _apart(before: nn.Module, after: nn.Module, x: Tensor) -> tuple[float, float, int]:
    parts = [[_eight_bits(net.eval(), part.float() / 255) for part in torch.split(x, 8)] for net in (before, after)]
    a, b = (torch.cat(part).numpy().astype(np.float64) for part in parts)
    apart = np.abs(a - b)
    return of_values(a, b), float((apart > 0).mean()), int(apart.max())


def _bytes(net: nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in net.state_dict().values())
