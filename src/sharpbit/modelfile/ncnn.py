"""ncnn files: a table of layers (`.param`, text or binary) beside their weights (`.bin`), read without ncnn.

Chains of 3x3 convolutions are understood, with ReLU, PReLU or nothing after each, a pixel shuffle, and the image added
that is upscaled by nearest neighbours. What is read is a table of arrays with the names of published `.pth` files
(`sharpbit.arch.compact`), or those of a plain chain (`sharpbit.arch.plain`) where no image is added.

Source: the layout is that of `src/net.cpp`, `src/modelbin.cpp` and the folder `src/layer` of Tencent/ncnn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError
from sharpbit.modelfile.container import contents
from sharpbit.modelfile.ncnn_table import MAGIC, Layer, layers

__all__ = ["MAGIC", "SUFFIXES", "Layer", "layers", "pair", "read"]
SUFFIXES = (".param", ".bin")
FLOAT16, INT8, SCALED = 0x01306B47, 0x000D4B38, 0x0002C056  # what weights begin with; 0: float32
_TAKEN = "chains of 3x3 convolutions with ReLU or PReLU, a pixel shuffle, and the image added by nearest neighbours"

Floats = NDArray[np.float32]


@dataclass
class _Chain:
    """What was understood so far.

    Attributes:
        weights: The kernels, `(out, in, 3, 3)`.
        biases: One for each kernel.
        slopes: Of the activation after each kernel; None where there is none yet.
        scale: The factor of the pixel shuffle; 0 before it.
        skip: Whether the image was added.
    """

    weights: list[Floats] = field(default_factory=list)
    biases: list[Floats] = field(default_factory=list)
    slopes: list[Floats | None] = field(default_factory=list)
    scale: int = 0
    skip: bool = False


def read(path: str | PathLike[str]) -> dict[str, Floats]:
    """The weights of a network in ncnn files, with the names of the published state dict.

    Args:
        path: The `.param` file (text or binary), a `.param.bin` file, or the `.bin` file of the weights; the other one
            of the two lies beside it.

    Raises:
        ModelError: One of the two is missing or damaged, or a layer is none that is understood; it is named.
    """
    table, weights = pair(Path(path))
    return _named(_followed(layers(table), Weights(contents(weights), weights), table), table)


def pair(path: Path) -> tuple[Path, Path]:
    """The two files of a network: the table of its layers, and its weights.

    Raises:
        ModelError: One of them is missing.
    """
    name = path.name.lower()
    if name.endswith(".param.bin"):
        table, weights = path, path.with_name(f"{path.name[: -len('.param.bin')]}.bin")
    elif name.endswith(".param"):
        table, weights = path, path.with_suffix(".bin")
    else:
        table, weights = path.with_suffix(".param"), path
        if not table.exists() and path.with_suffix(".param.bin").exists():
            table = path.with_suffix(".param.bin")
    for one, other in ((table, weights), (weights, table)):
        if not one.exists() and other.exists():
            raise ModelError(f"{other} is half of a network of ncnn; {one.name} is missing beside it")
    return table, weights


class Weights:
    """The file of weights, read from the beginning."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    def take(self, count: int, kind: str = "<f4") -> Floats:
        """So many numbers; what they take is a multiple of four bytes."""
        size = count * np.dtype(kind).itemsize
        if count < 0 or self.at + size > len(self.data):
            raise ModelError(f"{self.path} ends before the weights of its table do; get both files again")
        values = np.frombuffer(self.data, kind, count, self.at).astype(np.float32)
        self.at += size + -size % 4
        return values

    def kernel(self, count: int, layer: Layer) -> Floats:
        """The weights of a convolution, in float32 or float16 as their first four bytes say."""
        at = self.at
        self.take(1)
        tag = int.from_bytes(self.data[at : at + 4], "little")
        if tag == FLOAT16:
            return self.take(count, "<f2")
        if tag not in (0, SCALED):
            kind = "8-bit integers" if tag == INT8 else f"a form that is not known (0x{tag:08X})"
            raise ModelError(
                f"{self.path}: {layer.where} has weights in {kind}; expected are float32 or float16, as the network was"
                " before ncnn quantized it"
            )
        return self.take(count)


def _followed(table: list[Layer], weights: Weights, path: Path) -> _Chain:
    """The chain that the layers make, each tensor being the image, the chain so far, or one of the two upscaled."""
    chain, seen = _Chain(), dict[str, str]()
    last = ""
    for layer in table:
        if layer.kind == "Input":
            seen |= dict.fromkeys(layer.outputs, "image")
            continue
        given = [seen.get(name, "something else") for name in layer.inputs]
        made = _understood(layer, given, chain, weights)
        if made is None:
            raise ModelError(f"{path}: {layer.where} is not understood where it is; sharpbit reads {_TAKEN}")
        if made in ("chain", "pixels", "result"):  # what came before has been read, and is not read again
            seen = {name: kind for name, kind in seen.items() if kind not in ("chain", "pixels")}
        seen |= dict.fromkeys(layer.outputs, made)
        last = made
    if last not in ("pixels", "result"):
        raise ModelError(f"{path}: its layers end before an upscaled image is made; sharpbit reads {_TAKEN}")
    if weights.at != len(weights.data):
        raise ModelError(f"{weights.path} has {len(weights.data) - weights.at} bytes more than {path.name} has weights")
    return chain


def _understood(layer: Layer, given: list[str], chain: _Chain, weights: Weights) -> str | None:
    """What comes out of a layer; None if it is no part of such a chain. Its weights are added to the chain."""
    match layer.kind, given:
        case "Split" | "Noop", [one] if one != "something else":
            return one
        case "Convolution", ["image"] if not chain.weights:
            return _convolution(layer, 3, chain, weights)
        case "Convolution", ["chain"]:
            return _convolution(layer, len(chain.biases[-1]), chain, weights)
        case "PReLU" | "ReLU", ["chain"] if chain.slopes[-1] is None:
            return _activation(layer, chain, weights)
        case "PixelShuffle", ["chain"] if layer.whole(1) == 0 and layer.whole(0) > 0:
            chain.scale = layer.whole(0)
            return "pixels" if len(chain.biases[-1]) == 3 * chain.scale**2 else None
        case "Interp", ["image"] if layer.whole(0) == 1 and not layer.whole(3) and not layer.whole(4):
            down, right = (layer.settings.get(number, 0) for number in (1, 2))
            return f"image times {float(down)}" if isinstance(down, int | float) and down == right else None
        case "BinaryOp" | "Eltwise", [_, _] if _adds(layer) and "pixels" in given:
            chain.skip = f"image times {float(chain.scale)}" in given
            return "result" if chain.skip else None
    return None


def _adds(layer: Layer) -> bool:
    if layer.kind == "Eltwise":
        return layer.whole(0) == 1 and 1 not in layer.settings
    return layer.whole(0) == 0 and not layer.whole(1)


def _convolution(layer: Layer, inputs: int, chain: _Chain, weights: Weights) -> str | None:
    outputs, side = layer.whole(0), layer.whole(1)
    sides = (side, layer.whole(11, side))
    steps = [layer.whole(number, layer.whole(other, 1)) for number, other in ((2, 2), (12, 2), (3, 3), (13, 3))]
    pads = [layer.whole(number, layer.whole(4)) for number in (4, 14, 15, 16)]
    plain = sides == (3, 3) and set(steps) == {1} and set(pads) == {1} and not layer.whole(8) and not layer.whole(19)
    if not plain or outputs < 1 or layer.whole(6) != outputs * inputs * 9 or layer.settings.get(18, 0) != 0:
        return None
    chain.weights.append(weights.kernel(outputs * inputs * 9, layer).reshape(outputs, inputs, 3, 3))
    chain.biases.append(weights.take(outputs) if layer.whole(5) else np.zeros(outputs, np.float32))
    fused, given = layer.whole(9), layer.settings.get(10, ())
    slope = given[0] if isinstance(given, tuple) and given else 0
    chain.slopes.append(None if fused == 0 else np.full(outputs, slope if fused == 2 else 0, np.float32))
    return "chain" if fused in (0, 1, 2) else None


def _activation(layer: Layer, chain: _Chain, weights: Weights) -> str | None:
    width = len(chain.biases[-1])
    if layer.kind == "ReLU":
        slope = layer.settings.get(0, 0.0)
        chain.slopes[-1] = np.full(width, slope, np.float32)
        return "chain"
    count = layer.whole(0)
    if count not in (1, width):
        return None
    chain.slopes[-1] = np.broadcast_to(weights.take(count), width).copy()
    return "chain"


def _named(chain: _Chain, path: Path) -> dict[str, Floats]:
    """The names that a published state dict has."""
    *inner, last = chain.slopes
    rectified = all(slope is not None and not slope.any() for slope in inner)
    if len(inner) < 1 or last is not None or (chain.skip and len({len(bias) for bias in chain.biases[:-1]}) > 1):
        raise ModelError(f"{path}: its convolutions are not of one width with nothing after the last; get the .pth")
    found = {}
    for number, (weight, bias, slope) in enumerate(zip(chain.weights, chain.biases, chain.slopes, strict=True)):
        layer, act = f"layers.{number}", f"acts.{number}"
        if chain.skip:
            layer, act = f"body.{2 * number}", f"body.{2 * number + 1}"
        found[f"{layer}.weight"], found[f"{layer}.bias"] = weight, bias
        if slope is None and number < len(inner):
            slope = np.ones(len(bias), np.float32)
        if slope is not None and not rectified:
            found[f"{act}.weight"] = slope
    return found
