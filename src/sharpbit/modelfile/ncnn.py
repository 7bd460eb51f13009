"""ncnn files: a table of layers (`.param`, text or binary) beside their weights (`.bin`), read without ncnn.

Chains of 3x3 convolutions are understood, with ReLU, PReLU or nothing after each, a pixel shuffle, and the image added
that is upscaled by nearest neighbours. What is read is a table of arrays with the names of published `.pth` files
(`sharpbit.arch.compact`), or those of a plain chain (`sharpbit.arch.plain`) where no image is added.

Source: the layout is that of `src/net.cpp`, `src/modelbin.cpp` and the folder `src/layer` of Tencent/ncnn.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError
from sharpbit.modelfile.container import contents

SUFFIXES = (".param", ".bin")
MAGIC = 7767517
FLOAT16, INT8, SCALED = 0x01306B47, 0x000D4B38, 0x0002C056  # what weights begin with; 0: float32
_MAX_LAYERS = 4096
_END, _ARRAY = -233, -23300  # in binary tables: the end of a layer's settings, and what an array's number is taken from

# Numbers that binary tables have in place of names; those that are not understood serve errors.
_KINDS = {
    5: "Concat",
    6: "Convolution",
    7: "Crop",
    8: "Deconvolution",
    10: "Eltwise",
    15: "InnerProduct",
    16: "Input",
    21: "Pooling",
    23: "PReLU",
    26: "ReLU",
    30: "Sigmoid",
    33: "Split",
    40: "BinaryOp",
    42: "ConvolutionDepthWise",
    43: "Padding",
    50: "Interp",
    54: "Clip",
    68: "Noop",
    69: "PixelShuffle",
    73: "Swish",
}
_TAKEN = "chains of 3x3 convolutions with ReLU or PReLU, a pixel shuffle, and the image added by nearest neighbours"

Floats = NDArray[np.float32]
Setting = int | float | tuple[int | float, ...]


@dataclass(frozen=True)
class Layer:
    """One line of the table.

    Attributes:
        kind: The operator.
        name: The name of the layer; in binary tables its number.
        inputs: The names of the tensors that go in.
        outputs: The names of the tensors that come out.
        settings: The numbered settings of the operator.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[int, Setting]

    def whole(self, number: int, default: int = 0) -> int:
        """A setting that is a whole number."""
        value = self.settings.get(number, default)
        return int(value) if isinstance(value, int | float) else -1

    @property
    def where(self) -> str:
        """The layer in a sentence."""
        return f"the layer {self.name} ({self.kind})"


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
    return _named(_followed(layers(table), _Weights(contents(weights), weights), table), table)


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


def layers(path: Path) -> list[Layer]:
    """The layers in a table, text or binary, in order.

    Raises:
        ModelError: It is not a complete table.
    """
    data = contents(path)
    try:
        found = _of_binary(data) if data[:4] == struct.pack("<i", MAGIC) else _of_text(data.decode())
    except (ValueError, IndexError, struct.error) as error:
        raise ModelError(f"{path} is not a complete table of ncnn ({error}); get it again") from None
    return found


def _of_text(text: str) -> list[Layer]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != [str(MAGIC)]:
        raise ValueError(f"it does not begin with {MAGIC}")
    count = int(lines[1][0])
    if count != len(lines) - 2:
        raise ValueError(f"it announces {count} layers and has {len(lines) - 2}")
    found = []
    for kind, name, ins, outs, *rest in lines[2:]:
        into, out = int(ins), int(outs)
        if min(into, out) < 0 or len(rest) < into + out:
            raise ValueError(f"the tensors of the layer {name} are missing")
        settings: dict[int, Setting] = {}
        for word in rest[into + out :]:
            key, _, value = word.partition("=")
            number = int(key)
            if number <= _ARRAY:
                settings[_ARRAY - number] = tuple(map(_number, value.split(",")[1:]))
            else:
                settings[number] = _number(value)
        found.append(Layer(kind, name, tuple(rest[:into]), tuple(rest[into : into + out]), settings))
    return found


def _number(text: str) -> int | float:
    return float(text) if {".", "e", "E"} & set(text) else int(text)


def _of_binary(data: bytes) -> list[Layer]:
    """See `_of_text`; whole numbers and floats look alike, and whoever reads a setting knows which it is."""
    words = iter(struct.unpack(f"<{len(data) // 4}i", data[: len(data) // 4 * 4]))

    def take(count: int) -> list[int]:
        if not 0 <= count <= _MAX_LAYERS:
            raise ValueError(f"{count} numbers")
        found = [next(words, None) for _ in range(count)]
        if None in found:
            raise ValueError("it ends too early")
        return [word for word in found if word is not None]

    _, count, _ = take(3)
    if not 0 <= count <= _MAX_LAYERS:
        raise ValueError(f"{count} layers")
    found = []
    for number in range(count):
        kind, into, out = take(3)
        inputs, outputs = (tuple(map(str, take(size))) for size in (into, out))
        settings: dict[int, Setting] = {}
        while (key := take(1)[0]) != _END:
            if key <= _ARRAY:
                settings[_ARRAY - key] = tuple(map(_float, take(take(1)[0])))
            else:
                settings[key] = take(1)[0]
        found.append(Layer(_KINDS.get(kind, f"operator {kind}"), str(number), inputs, outputs, _typed(settings, kind)))
    return found


def _float(word: int) -> float:
    return float(struct.unpack("<f", struct.pack("<i", word))[0])


def _typed(settings: dict[int, Setting], kind: int) -> dict[int, Setting]:
    """Settings with those that are floats read as such."""
    floats = {"ReLU": (0,), "Interp": (1, 2), "BinaryOp": (2,)}.get(_KINDS.get(kind, ""), ())
    return {
        key: _float(value) if key in floats and isinstance(value, int) else value for key, value in settings.items()
    }


class _Weights:
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


def _followed(table: list[Layer], weights: _Weights, path: Path) -> _Chain:
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


def _understood(layer: Layer, given: list[str], chain: _Chain, weights: _Weights) -> str | None:
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


def _convolution(layer: Layer, inputs: int, chain: _Chain, weights: _Weights) -> str | None:
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


def _activation(layer: Layer, chain: _Chain, weights: _Weights) -> str | None:
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
