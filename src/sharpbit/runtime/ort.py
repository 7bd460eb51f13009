"""ONNX Runtime on the CPU: our model files, and plain ONNX upscalers of others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike

from sharpbit import modelfile
from sharpbit.errors import ModelError
from sharpbit.runtime import Tensor, available_cpus

_TYPES: dict[str, DTypeLike] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_SCALES = (2, 3, 4, 6, 8)


class OrtRuntime:
    """A model file in ONNX Runtime. See `sharpbit.runtime.Runtime`."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.path = Path(path)
        self.engine = f"ONNX Runtime {ort.__version__} (CPU)"
        header = modelfile.read(self.path, verify=True)
        if self.path.suffix.lower() == ".safetensors":
            raise ModelError(f"{self.path} holds weights to train with; to enlarge pictures export it as .onnx first")
        self._session = _session(self.path, threads or available_cpus())
        self._name, self._type, self.tile = _input(self._session, self.path)
        self._white = 1.0
        if header is not None:
            if header.colour != "RGB" or header.range[0] != 0:
                raise ModelError(
                    f"{self.path} takes {header.colour} from {header.range[0]:g} to {header.range[1]:g};"
                    " what runs here is RGB with black at 0"
                )
            self.scale, self.halo, self.precision = header.scale, header.halo, header.precision
            self._white = float(header.range[1])
            self.notes: tuple[str, ...] = ()
            return
        found = _Probe(self).run()
        self.scale, self.halo, self._white = found.scale, found.halo, found.white
        self.precision = np.dtype(self._type).name
        self.notes = (f"{self.path.name} has no sharpbit header; {found.words}",)

    def __call__(self, tiles: Iterable[Tensor]) -> Iterator[Tensor]:
        """Tiles through the network, one after the other."""
        for tile in tiles:
            yield self.run(tile)

    def run(self, tile: Tensor) -> Tensor:
        """One tile through the network; smaller tiles than a fixed-size file accepts are mirrored up to its size."""
        height, width = tile.shape[:2]
        if self.tile:
            edge = ((0, self.tile - height), (0, self.tile - width), (0, 0))
            tile = np.pad(tile, edge, mode="symmetric")
        out = self.raw(tile * np.float32(self._white) if self._white != 1 else tile)
        if out.shape[:2] != (tile.shape[0] * self.scale, tile.shape[1] * self.scale):
            raise ModelError(
                f"{self.path.name} turns {tile.shape[1]}x{tile.shape[0]} into {out.shape[1]}x{out.shape[0]},"
                f" which is not {self.scale} times as large"
            )
        out = out[: height * self.scale, : width * self.scale]
        return np.divide(out, self._white, dtype=np.float32) if self._white != 1 else out

    def raw(self, tile: Tensor) -> Tensor:
        """What the session makes of `(h, w, 3)`, without any scaling of values."""
        x = np.ascontiguousarray(tile.transpose(2, 0, 1)[None], self._type)
        try:
            out = self._session.run(None, {self._name: x})[0]
        except Exception as error:  # the engine's own exception types share no base class
            raise ModelError(
                f"{self.path.name} could not run a tile of {tile.shape[1]}x{tile.shape[0]}: {_first_line(error)}"
            ) from None
        if not isinstance(out, np.ndarray) or out.ndim != 4 or out.shape[:2] != (1, 3):
            shape = getattr(out, "shape", type(out).__name__)
            raise ModelError(f"{self.path.name} gives {shape} where a picture (1, 3, height, width) is expected")
        return np.asarray(out[0].transpose(1, 2, 0), np.float32)


@dataclass(frozen=True)
class _Found:
    scale: int
    halo: int | None
    white: float
    words: str


class _Probe:
    """Finds out by trial what a file without a header does: its scale, its range of values, how far it sees."""

    def __init__(self, runtime: OrtRuntime) -> None:
        self.runtime = runtime
        self.side = runtime.tile or 64

    def run(self) -> _Found:
        picture = self._picture()
        out = self.runtime.raw(picture)
        scale = out.shape[0] // self.side
        if scale not in _SCALES or out.shape != (self.side * scale, self.side * scale, 3):
            raise ModelError(
                f"{self.runtime.path.name} turns {self.side}x{self.side} into {out.shape[1]}x{out.shape[0]}, which is"
                " no upscaling by a whole factor"
            )
        white = self._white(picture, scale)
        radius = self._radius(picture * white, scale)
        seen = "sees the whole picture" if radius is None else f"sees {radius} pixels around each"
        halo = None if radius is None else radius + 4
        words = f"by trial it is x{scale}, for values 0 to {white:g}, and {seen}"
        return _Found(scale, halo, white, words)

    def _picture(self) -> Tensor:
        y, x = np.mgrid[0 : self.side, 0 : self.side].astype(np.float32) / self.side
        waves = [0.5 + 0.2 * np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((1, 2), (2, -1), (3, 1))]
        return np.stack(waves, -1).astype(np.float32)

    def _white(self, picture: Tensor, scale: int) -> float:
        errors = {white: self._error(picture, white, scale) for white in (1.0, 255.0)}
        best = min(errors, key=lambda white: errors[white])
        if errors[best] > 0.1:
            raise ModelError(
                f"{self.runtime.path.name} does not give back the colours of a test picture, neither for values 0 to 1"
                " nor for 0 to 255; it is no plain RGB upscaler"
            )
        return best

    def _error(self, picture: Tensor, white: float, scale: int) -> float:
        out = self.runtime.raw(picture * np.float32(white)) / np.float32(white)
        small = out.reshape(self.side, scale, self.side, scale, 3).mean((1, 3))
        error = float(np.abs(small - picture).mean())
        return error if np.isfinite(error) else float("inf")

    def _radius(self, picture: Tensor, scale: int) -> int | None:
        side = self.side if self.runtime.tile else 96
        if side != self.side:
            picture = np.pad(picture, ((0, side - self.side), (0, side - self.side), (0, 0)), mode="symmetric")
        centre, radius = side // 2, 0
        before = self.runtime.raw(picture)
        for sign in (1.0, -1.0):
            changed = picture.copy()
            changed[centre, centre] += sign * 0.5 * picture.mean()
            differs = (self.runtime.raw(changed) != before).any(-1)
            rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
            if len(rows):
                ends = np.array([rows[0], rows[-1], columns[0], columns[-1]]) // scale
                radius = max(radius, int(np.abs(ends - centre).max()))
        return None if radius >= side // 2 - 1 else radius


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads == 1 else "1")
    try:
        return ort.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the engine's own exception types share no base class
        raise ModelError(f"{path} cannot be opened as an ONNX model: {_first_line(error)}") from None


def _input(session: ort.InferenceSession, path: Path) -> tuple[str, DTypeLike, int | None]:
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    kind = _TYPES.get(inputs[0].type) if len(inputs) == 1 else None
    if kind is None or len(shape) != 4 or shape[1] != 3 or _other_than(shape[0], 1):
        seen = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
        raise ModelError(f"{path} takes {seen}; expected is one float picture (1, 3, height, width)")
    sides = [side for side in shape[2:] if isinstance(side, int)]
    if len(set(sides)) == 2 or len(sides) == 1:
        raise ModelError(f"{path} takes pictures of {shape[3]}x{shape[2]} only; a fixed size must be square")
    return inputs[0].name, kind, sides[0] if sides else None


def _other_than(size: object, expected: int) -> bool:
    return isinstance(size, int) and size != expected


def _first_line(error: Exception) -> str:
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def open_ort(path: Path, *, threads: int | None = None) -> OrtRuntime:
    """Open an ONNX model file. See `sharpbit.runtime.Opener`."""
    return OrtRuntime(path, threads=threads)


RUNTIME = open_ort
