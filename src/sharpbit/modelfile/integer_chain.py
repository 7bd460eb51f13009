"""A chain of 3x3 convolutions in integers: what it is, how it is stored, and what it computes, without any engine.

Bytes in, bytes out. Every layer adds, in 32-bit integers, its bias and the products of unsigned 8-bit values with
signed 8-bit weights (zero padding); multiplies the sum, rounded to float32, by one float32 per output channel; rounds
half to even; and keeps 0 to 255, which is the ReLU as well. The last layer's channels are shuffled into pixels. This
is exact arithmetic: every engine that follows it gives the same image, to the last bit.

A chain with slopes has two more numbers per channel: what negative sums are multiplied by (PReLU, or no activation at
all), and the byte that stands for 0. Its last results may be added to the image. Some of its channels may be wide: kept
in 16 bits as well, which go to the same channel of the next layer alone (`sharpbit.modelfile.integer_layer.Wide`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError
from sharpbit.modelfile import Header, ModelFile
from sharpbit.modelfile.integer_layer import (
    MAX_BIAS,
    MAX_CHANNELS,
    MAX_MULTIPLIER,
    Bytes,
    Layer,
    Slopes,
    Wide,
    check_layer,
    convolved,
)

__all__ = ["MAX_BIAS", "MAX_CHANNELS", "MAX_MULTIPLIER", "Bytes", "IntegerChain", "Layer", "Slopes", "Wide", "read"]

ARCHITECTURE = "integer"  # in the header of a file

MAX_LAYERS = 64
MAX_SCALE = 4
SLOPES, ADDS_IMAGE, WIDE = 1 << 8, 1 << 9, 1 << 10  # beside the scale in the payload


@dataclass(frozen=True)
class IntegerChain:
    """Layers one after the other, then a pixel shuffle.

    Attributes:
        layers: the first takes the 3 bytes of an RGB pixel, the last gives `3 * scale**2` channels in PyTorch's order
            (colour, row, column).
        scale: upscaling factor, 1 to 4.
        adds_image: whether the last layer gives differences from the image, each pixel of which becomes a square of
            `scale` times `scale`. Needs slopes; the last zero points are then 0.
    """

    layers: tuple[Layer, ...]
    scale: int
    adds_image: bool = False

    def __post_init__(self) -> None:
        _check(self)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one input pixel."""
        return sum(layer.weight.size for layer in self.layers)

    @property
    def sloped(self) -> bool:
        """Whether its layers have slopes."""
        return self.layers[0].slopes is not None

    @property
    def wide(self) -> tuple[int, ...]:
        """How many channels of each layer but the last are wide; empty where the chain has no such channels at all."""
        return tuple(layer.wide.count for layer in self.layers[:-1] if layer.wide is not None)

    def payload(self) -> bytes:
        """The chain in the native format (docs/format.md): what the engine reads.

        Little endian: uint32 scale and flags, uint32 number of layers; then of each layer uint32 outputs, uint32
        inputs, the weights, the biases, the multipliers; with slopes also those of negative sums, and the zero points;
        with wide channels also their uint32 number, and the int32 weights of those of the layer before.
        """
        wide = self.layers[0].wide is not None
        flags = SLOPES * self.sloped | ADDS_IMAGE * self.adds_image | WIDE * wide
        parts = [struct.pack("<II", self.scale | flags, len(self.layers))]
        for layer in self.layers:
            parts.append(struct.pack("<II", layer.outputs, layer.inputs))
            parts.append(np.ascontiguousarray(layer.weight, "<i1").tobytes())
            parts.append(np.ascontiguousarray(layer.bias, "<i4").tobytes())
            parts.append(np.ascontiguousarray(layer.multiplier, "<f4").tobytes())
            if layer.slopes is not None:
                parts.append(np.ascontiguousarray(layer.slopes.negative, "<f4").tobytes())
                parts.append(np.ascontiguousarray(layer.slopes.zero, "u1").tobytes())
            if layer.wide is not None:
                parts.append(struct.pack("<I", layer.wide.count))
                parts.append(np.ascontiguousarray(layer.wide.weight, "<i4").tobytes())
        return b"".join(parts)

    @classmethod
    def from_payload(cls, data: bytes, source: str) -> IntegerChain:
        """Read the native format; `source` names the file in errors.

        Raises:
            ModelError: cut off, too long, or not such a chain.
        """
        position = 0

        def take(count: int, kind: str) -> NDArray[np.generic]:
            nonlocal position
            values = np.frombuffer(data, kind, count, position)
            position += values.nbytes
            return values

        try:
            first, depth = map(int, take(2, "<u4"))
            scale = first & ~(SLOPES | ADDS_IMAGE | WIDE)
            if not 1 <= depth <= MAX_LAYERS:
                raise ValueError(f"{depth} layers")
            layers: list[Layer] = []
            passed = 0  # wide channels of the layer before
            for _ in range(depth):
                outputs, inputs = map(int, take(2, "<u4"))
                if not (1 <= outputs <= MAX_CHANNELS and 1 <= inputs <= MAX_CHANNELS):
                    raise ValueError(f"{outputs} x {inputs} channels")
                weight = take(outputs * inputs * 9, "<i1").reshape(outputs, inputs, 3, 3)
                bias, multiplier = take(outputs, "<i4"), take(outputs, "<f4")
                slopes = Slopes(take(outputs, "<f4"), take(outputs, "u1")) if first & SLOPES else None  # type: ignore[arg-type]
                wide = None
                if first & WIDE:
                    count = int(take(1, "<u4")[0])
                    wide, passed = Wide(count, take(passed, "<i4")), min(count, MAX_CHANNELS)  # type: ignore[arg-type]
                layers.append(Layer(weight, bias, multiplier, slopes, wide))  # type: ignore[arg-type]
            if position != len(data):
                raise ValueError(f"{len(data) - position} bytes too many")
        except ValueError as error:
            raise ModelError(f"{source}: its integer chain is damaged ({error}); get it again") from None
        try:
            return cls(tuple(layers), scale, bool(first & ADDS_IMAGE))
        except ModelError as error:
            raise ModelError(f"{source}: {error}") from None

    def run(self, image: Bytes) -> Bytes:
        """What the chain makes of `(h, w, 3)` bytes: `(h * scale, w * scale, 3)`. The reference: exact, and slow."""
        s = self.scale
        x, around, fine = np.ascontiguousarray(image), np.zeros(3, np.uint8), None
        for number, layer in enumerate(self.layers):
            last = number == len(self.layers) - 1
            added = np.repeat(image, s * s, 2) if last and self.adds_image else None
            x, fine = convolved(x, layer, around, fine=fine, added=added)
            around = np.zeros(layer.outputs, np.uint8) if layer.slopes is None else layer.slopes.zero
        height, width = image.shape[:2]
        return x.reshape(height, width, 3, s, s).transpose(0, 3, 1, 4, 2).reshape(height * s, width * s, 3)


def read(file: str | PathLike[str]) -> tuple[IntegerChain, Header]:
    """The chain in an integer file, `.onnx` or `.sharpbit`, and its header.

    Raises:
        ModelError: not an integer file of sharpbit, damaged, or its header describes another chain.
    """
    file = ModelFile.of(file)
    path, header = file.path, file.verified
    if header is None:
        raise ModelError(f"{path} has no sharpbit header; an integer file is written by 'sharpbit quantize'")
    if header.architecture != ARCHITECTURE:
        raise ModelError(
            f"{path} holds {header.architecture} in {header.precision}, not an integer chain; 'sharpbit quantize'"
            " makes one"
        )
    if path.suffix.lower() == ".safetensors":
        raise ModelError(f"{path} holds weights to work on; 'sharpbit export' writes .onnx or .sharpbit to run")
    native = file.suffix == ".sharpbit"
    chain = IntegerChain.from_payload(file.payload, str(path)) if native else _of_onnx(file, header)
    hidden = [layer.outputs for layer in chain.layers[:-1]]
    near = header.halo is not None and header.halo < len(chain.layers)  # each of them sees one pixel further
    if near or header.scale != chain.scale or header.config != {"scale": chain.scale, "hidden": hidden}:
        raise ModelError(f"{path}: its header tells of another chain than the one that it holds; get it again")
    return chain, header


def _of_onnx(file: ModelFile, header: Header) -> IntegerChain:
    """The chain in the initializers of an ONNX file that `sharpbit export` wrote."""
    path, tensors = file.path, file.onnx_graph.constants
    kinds = {"weight": "int8", "bias": "int32", "multiplier": "float32"}
    depth = sum(name.endswith(".multiplier") for name in tensors)
    layers = []
    try:
        if depth > MAX_LAYERS:
            raise ValueError(f"{depth} layers")
        for number in range(depth):
            values = {}
            for key, kind in kinds.items():
                values[key] = tensors[f"layers.{number}.{key}"]
                if values[key].dtype.name != kind:
                    raise ValueError(f"{key} of layer {number} is {values[key].dtype.name}")
            if values["weight"].ndim != 4 or not values["weight"].size or not values["bias"].size:
                raise ValueError(f"layer {number} has weights of {values['weight'].shape}")
            layers.append(Layer(values["weight"], values["bias"], values["multiplier"]))
        return IntegerChain(tuple(layers), header.scale)
    except KeyError as error:
        raise ModelError(f"{path}: its integer chain lacks {error}; get it again") from None
    except (ValueError, OverflowError) as error:
        raise ModelError(f"{path}: its integer chain is damaged ({error}); get it again") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _check(chain: IntegerChain) -> None:
    """Raise ModelError unless the chain is one that every engine can run exactly."""
    if not 1 <= chain.scale <= MAX_SCALE:
        raise ModelError(f"an integer chain upscales 1 to {MAX_SCALE} times, not {chain.scale}")
    if not 1 <= len(chain.layers) <= MAX_LAYERS:
        raise ModelError(f"an integer chain has 1 to {MAX_LAYERS} layers, not {len(chain.layers)}")
    channels, passed = 3, 0
    for number, layer in enumerate(chain.layers):
        where = f"layer {number} of the integer chain"
        check_layer(layer, channels, where)
        channels = layer.outputs
        if (layer.slopes is None) == chain.sloped:
            raise ModelError(f"{where} and the first are not alike: one has slopes, the other has none")
        if (layer.wide is None) != (chain.layers[0].wide is None):
            raise ModelError(f"{where} and the first are not alike: one has wide channels, the other cannot")
        if layer.wide is not None and layer.wide.weight.size != passed:
            raise ModelError(f"{where} has {layer.wide.weight.size} weights for {passed} wide channels before it")
        passed = layer.wide.count if layer.wide is not None else 0
    if any(chain.wide[-1:]) or passed:
        raise ModelError("the last two layers of an integer chain have no wide channels")
    if chain.layers[0].wide is not None and not chain.sloped:
        raise ModelError("an integer chain with wide channels needs slopes")
    slopes = chain.layers[-1].slopes
    if chain.adds_image and (slopes is None or slopes.zero.any()):
        raise ModelError("an integer chain that adds the image needs slopes, and zero points of 0 in its last layer")
    if channels != 3 * chain.scale**2:
        raise ModelError(
            f"the last layer of the integer chain gives {channels} channels; x{chain.scale} takes {3 * chain.scale**2}"
        )
