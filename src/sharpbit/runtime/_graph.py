"""What engines for ONNX files have in common: our float and integer files, and plain upscalers of others."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharpbit.errors import ModelError
from sharpbit.modelfile import Header, ModelFile
from sharpbit.runtime import Samples, available_cpus
from sharpbit.runtime._probe import probe, verify

Array = NDArray[Any]

_MOST = 1000  # characters of a reason
_ROUNDING = ("Quantize", "Dequantize", "QLinear", "QGemm", "ConvInteger", "MatMulInteger", "Round", "Floor")


class GraphRuntime(ABC):
    """An ONNX file in an engine. See `sharpbit.runtime.Runtime`.

    A subclass opens the file after `__init__`, calls `_settle` with its input, and runs it in `infer`. Integer files
    take and give bytes, `(1, h, w, 3)`; all others floats, `(1, 3, h, w)`.

    Args:
        path: The path of the file, or the file itself, already opened.
        threads: The threads of the engine; None takes every core that the process may use.
    """

    engine: str
    precision: str
    device = "cpu"
    instruction_set = ""
    wide = False

    def __init__(self, path: str | os.PathLike[str], threads: int | None) -> None:
        file = ModelFile.of(path)
        self.path = file.path
        self.threads = threads or available_cpus()
        self.header = file.verified
        self._file = file
        if self.path.suffix.lower() == ".safetensors":
            raise ModelError(f"{self.path} holds weights to train with; to upscale images export it as .onnx first")
        self.samples: DTypeLike = np.float32
        self.notes: tuple[str, ...] = ()
        self.tile: int | None = None
        self.halo: int | None = None
        self._white = 1.0
        if self.header is None:
            return
        low, high = self.header.range
        if self.header.colour != "RGB" or low != 0:
            raise ModelError(
                f"{self.path} takes {self.header.colour} from {low:g} to {high:g}; what runs here is RGB with black"
                " at 0"
            )

    def __call__(self, tiles: Iterable[Samples]) -> Iterator[Samples]:
        """Tiles through the network, one after the other."""
        for tile in tiles:
            yield self.run(tile)

    def run(self, tile: Samples) -> Samples:
        """One tile through the network; smaller tiles than a fixed-size file accepts are mirrored up to its size."""
        height, width = tile.shape[:2]
        if self.tile:
            edge = ((0, self.tile - height), (0, self.tile - width), (0, 0))
            tile = np.pad(tile, edge, mode="symmetric")
        out = self._raw(tile * np.float32(self._white) if self._white != 1 else tile)
        if out.shape[:2] != (tile.shape[0] * self.scale, tile.shape[1] * self.scale):
            raise ModelError(
                f"{self.path.name} turns {tile.shape[1]}x{tile.shape[0]} into {out.shape[1]}x{out.shape[0]},"
                f" which is not {self.scale} times as large"
            )
        out = out[: height * self.scale, : width * self.scale]
        return np.divide(out, self._white, dtype=np.float32) if self._white != 1 else out

    @abstractmethod
    def infer(self, x: Array) -> object:
        """What the engine makes of a batch of one; the result may be overwritten by the next call of this thread."""

    def _settle(self, name: str, kind: DTypeLike | None, shape: Sequence[object]) -> None:
        """Take in what the engine says of the only input (`kind` None: none that is known here)."""
        self._check_input(name, kind, shape)
        self._kind = kind
        if kind == np.uint8:
            self.samples = np.uint8
        else:
            sides = [side for side in shape[2:] if isinstance(side, int)]
            if len(set(sides)) == 2 or len(sides) == 1:
                raise ModelError(f"{self.path} takes images of {shape[3]}x{shape[2]} only; a fixed size must be square")
            self.tile = sides[0] if sides else None
        if self.header is not None:
            self.scale, self.halo = self.header.scale, self.header.halo
            self._white = 1.0 if kind == np.uint8 else float(self.header.range[1])
            if not self._file.embedded:
                verify(self._try, self.path.name, self.tile, self.header)
            return
        found = probe(self._raw, self.path.name, self.tile)
        self.scale, self.halo, self._white = found.scale, found.halo, found.white
        self.notes = (f"{self.path.name} has no sharpbit header; {found.words}",)

    def _try(self, image: Samples) -> Samples:
        """What the engine makes of floats up to the white of the file, rounded where it takes bytes."""
        return self._raw(np.rint(np.clip(image, 0, 255)).astype(np.uint8) if self._kind == np.uint8 else image)

    def _claimed(self) -> str:
        """The precision that the header claims; empty where there is none, or where the graph rounds nothing."""
        claimed = "" if self.header is None else self.header.precision
        if not claimed.startswith("int") or any(name.startswith(_ROUNDING) for name in self._file.operators):
            return claimed
        self.notes = (*self.notes, f"the header of {self.path.name} says {claimed}; nothing in it is rounded")
        return ""

    def _check_input(self, name: str, kind: DTypeLike | None, shape: Sequence[object]) -> None:
        whole = is_integer(self.header)
        channels = -1 if whole else 1
        if kind is None or (kind == np.uint8) != whole or len(shape) != 4 or shape[channels] != 3 or _other(shape[0]):
            form = "one image of bytes (1, height, width, 3)" if whole else "one float image (1, 3, height, width)"
            raise ModelError(f"{self.path} takes {name} {list(shape)}; expected is {form}")

    def _raw(self, tile: Samples) -> Samples:
        """What the engine makes of `(h, w, 3)`, without any scaling of values."""
        planar = self._kind != np.uint8
        x = np.ascontiguousarray(tile.transpose(2, 0, 1) if planar else tile, self._kind)[None]
        try:
            out = self.infer(x)
        except Exception as error:  # the engines' own exception types share no base class
            raise ModelError(
                f"{self.path.name} could not run a tile of {tile.shape[1]}x{tile.shape[0]}: {reason_of(error)}"
            ) from None
        if not isinstance(out, np.ndarray) or out.ndim != 4 or out.shape[:: 1 if planar else 3][:2] != (1, 3):
            seen = getattr(out, "shape", type(out).__name__)
            form = "(1, 3, height, width)" if planar else "(1, height, width, 3)"
            raise ModelError(f"{self.path.name} gives {seen} where an image {form} is expected")
        return np.asarray(out[0].transpose(1, 2, 0), np.float32) if planar else np.asarray(out[0], np.uint8)


def reason_of(error: Exception) -> str:
    """An engine's reason in one line, without the places in its own code that the reason came from."""
    text = " ".join(str(error).split())
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from \S.*? failed: ?", "", text)
    text = re.sub(r"/\S+\.(?:cc|cpp|h):\d+ .*?\) (?=[A-Z])", "", text).strip()
    return (text if len(text) <= _MOST else f"{text[:_MOST]} ...") or type(error).__name__


def engine_precision(layers: Mapping[str, int], otherwise: str) -> str:
    """In words, from the number of layers in each precision; `otherwise` where there are none."""
    counts = Counter(layers)
    ranked = [(name, count) for name, count in counts.most_common() if count]
    if not ranked:
        return otherwise
    others = [f"{count} of {counts.total()} layers in {name}" for name, count in ranked[1:]]
    return f"{ranked[0][0]} ({', '.join(others)})" if others else ranked[0][0]


def is_integer(header: Header | None) -> bool:
    """Whether a file is one of our integer networks."""
    return header is not None and header.precision == "int8" and header.range == (0, 255)


def _other(size: object) -> bool:
    return isinstance(size, int) and size != 1
