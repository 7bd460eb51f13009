"""The table of layers of an ncnn network (`.param`), text or binary.

Source: the layout is that of `src/net.cpp` and the folder `src/layer` of Tencent/ncnn.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sharpbit.errors import ModelError
from sharpbit.modelfile.container import contents

MAGIC = 7767517
_MAX_LAYERS = 4096
_END, _ARRAY = -233, -23300  # in binary tables: the end of a layer's settings, and what an array's number is taken from

# Numbers that binary tables have in place of names; those that are not understood serve errors.
_KINDS = {
    5: "Concat",
    6: "Convolution",
    7: "Crop",
    8: "Deconvolution",
    9: "Dropout",
    10: "Eltwise",
    15: "InnerProduct",
    16: "Input",
    21: "Pooling",
    23: "PReLU",
    26: "ReLU",
    30: "Sigmoid",
    31: "Slice",
    33: "Split",
    35: "TanH",
    40: "BinaryOp",
    42: "ConvolutionDepthWise",
    43: "Padding",
    50: "Interp",
    54: "Clip",
    55: "Reorg",
    67: "HardSwish",
    68: "Noop",
    69: "PixelShuffle",
    71: "Mish",
    73: "Swish",
}

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


def layers(path: Path) -> list[Layer]:
    """The layers in a table, text or binary, in order.

    Raises:
        ModelError: It is not a complete table.
    """
    data = contents(path)
    try:
        found = _of_binary(data) if data[:4] == struct.pack("<i", MAGIC) else _of_text(data.decode())
    except (ValueError, IndexError, struct.error) as error:
        weights = path.with_suffix(".bin")
        if weights != path and weights.is_file() and contents(weights).lstrip().startswith(str(MAGIC).encode()):
            raise ModelError(
                f"{path} holds weights, and {weights.name} the table of layers; give each the other's name"
            ) from None
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
    floats = {"ReLU": (0,), "Interp": (1, 2), "BinaryOp": (2,), "Clip": (0, 1)}.get(_KINDS.get(kind, ""), ())
    return {
        key: _float(value) if key in floats and isinstance(value, int) else value for key, value in settings.items()
    }
