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
from sharpbit.runtime._foreign import Form, form_of
from sharpbit.runtime._probe import verify
from sharpbit.runtime._samples import check_samples

Array = NDArray[Any]

_MOST = 1000  # characters of a reason
_ROUNDING = ("Quantize", "Dequantize", "QLinear", "QGemm", "ConvInteger", "MatMulInteger", "Round", "Floor")


class GraphRuntime(ABC):
    """An ONNX file in an engine. See `sharpbit.runtime.Runtime`.

    A subclass opens the file after `__init__`, calls `_settle` with its input, and runs it in `infer`. Integer files
    take and give bytes, `(1, h, w, 3)`; all others of ours floats, `(1, 3, h, w)`; those of somebody else what
    `sharpbit.runtime._foreign` finds.

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
        self.multiple = 1
        self._white = 1.0
        self._form: Form | None = None
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
        """One tile through the network; smaller tiles than a fixed-size file accepts are mirrored up to its size.

        Raises:
            UsageError: The samples of the tile are others than `samples` says.
            ModelError: The engine cannot run it.
        """
        check_samples(self, tile)
        if self._form is not None:
            return self._foreign(tile, self._form)
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

    def _foreign(self, tile: Samples, form: Form) -> Samples:
        """One tile through a file of somebody else."""
        height, width = (side * form.scale for side in tile.shape[:2])
        whole = form.padded(tile)
        return form.decoded(self._inferred(form.encoded(whole), whole), whole, self.path.name)[:height, :width]

    def _inferred(self, x: Array, tile: Samples) -> object:
        try:
            return self.infer(x)
        except Exception as error:  # the engines' own exception types share no base class
            raise ModelError(
                f"{self.path.name} could not run a tile of {tile.shape[1]}x{tile.shape[0]}: {reason_of(error)}"
            ) from None

    @abstractmethod
    def infer(self, x: Array) -> object:
        """What the engine makes of a batch of one; the result may be overwritten by the next call of this thread."""

    def _settle(self, name: str, kind: DTypeLike | None, shape: Sequence[object]) -> None:
        """Take in what the engine says of the only input (`kind` None: none that is known here)."""
        self._check_input(name, kind, shape)
        self._kind = kind
        if kind == np.uint8:
            self.samples = np.uint8
        if self.header is None:
            self._take(form_of(self._file, np.dtype(kind), shape, self.infer))
            return
        sides = [side for side in shape[2:] if isinstance(side, int)] if kind != np.uint8 else []
        self.tile = min(sides) if sides else None
        self.scale, self.halo = self.header.scale, self.header.halo
        self.multiple = max(1, int(self.header.config.get("multiple", 1)))
        self._white = 1.0 if kind == np.uint8 else float(self.header.range[1])
        if not self._file.embedded:
            verify(self._try, self.path.name, self.tile, self.header)

    def _take(self, form: Form) -> None:
        """Take in how a file of somebody else takes images."""
        self._form, self.scale, self.multiple = form, form.scale, form.multiple
        self.halo = form.halo
        self.tile = min(form.fixed) - 2 * form.cut if form.fixed else None
        self.notes = (f"{self.path.name} has no sharpbit header; {form.words}",)
        self.notes += (form.whites.doubt,) if form.whites.doubt else ()

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
        whole, foreign = is_integer(self.header), self.header is None
        channels = shape[-1 if whole else 1] if len(shape) == 4 else 0
        fits = foreign or ((kind == np.uint8) == whole and channels == 3 and not _other(shape[0]))
        if kind is None or len(shape) != 4 or not fits:
            form = "one image of bytes (1, height, width, 3)" if whole else "one float image (1, 3, height, width)"
            raise ModelError(f"{self.path} takes {name} {list(shape)}; expected is {form}")

    def _raw(self, tile: Samples) -> Samples:
        """What the engine makes of `(h, w, 3)`, without any scaling of values."""
        planar = self._kind != np.uint8
        x = np.ascontiguousarray(tile.transpose(2, 0, 1) if planar else tile, self._kind)[None]
        out = self._inferred(x, tile)
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
