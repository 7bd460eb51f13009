"""Finds out by trial what an ONNX file without a header does: its scale, its range of values, how far it sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sharpbit.errors import ModelError
from sharpbit.modelfile import Header
from sharpbit.runtime import Samples, Tensor

_SCALES = range(1, 17)
_WIDEST = 320  # the side of the largest image that is tried


@dataclass(frozen=True)
class Found:
    """What a file does.

    Attributes:
        scale: upscaling factor.
        halo: input pixels around a tile that its output depends on; None: all.
        white: the value that means white.
        words: the same for people.
    """

    scale: int
    halo: int | None
    white: float
    words: str


def probe(run: Callable[[Tensor], Samples], name: str, tile: int | None) -> Found:
    """Try a network.

    Args:
        run: `(h, w, 3)` to what the network makes of it, no value scaled.
        name: The name of the file, for errors.
        tile: The only side that it takes, if there is one.

    Raises:
        ModelError: it is no plain RGB upscaler.
    """
    side = tile or 64
    image = _image(side)
    out = run(image)
    scale = out.shape[0] // side
    if scale not in _SCALES or out.shape != (side * scale, side * scale, 3):
        raise ModelError(
            f"{name} turns {side}x{side} into {out.shape[1]}x{out.shape[0]}, which is no upscaling by a whole factor"
        )
    white = _white(run, name, image, scale)
    radius = _radius(run, image * white, scale, side if tile else 96)
    seen = "sees the whole image" if radius is None else f"sees {radius} pixels around each"
    words = f"by trial it is x{scale}, for values 0 to {white:g}, and {seen}"
    return Found(scale, None if radius is None else radius + 4, white, words)


def verify(run: Callable[[Tensor], Samples], name: str, tile: int | None, header: Header) -> None:
    """Compare what a header says of the scale and of the receptive field with what the network does.

    Args:
        run: `(h, w, 3)` to what the network makes of it, no value scaled.
        name: The name of the file, for errors.
        tile: The only side that it takes, if there is one.
        header: The header of the file.

    Raises:
        ModelError: the header is wrong, so that results would be.
    """
    halo, scale = header.halo, header.scale
    side = tile or (64 if halo is None else min(max(64, 2 * halo + 16), _WIDEST))
    image = _image(side) * np.float32(header.range[1])
    out = run(image)
    if out.shape != (side * scale, side * scale, 3):
        raise ModelError(
            f"{name} turns {side}x{side} into {out.shape[1]}x{out.shape[0]}, and its header says that it is x{scale};"
            " get it again from where it came from"
        )
    radius = 0 if halo is None or halo >= side // 2 - 1 else _radius(run, image, scale, side)
    if halo is not None and (radius is None or radius > halo):
        seen = "the whole image" if radius is None else f"{radius} pixels around each"
        raise ModelError(
            f"{name} sees {seen} by trial, and its header says {halo}, so that its tiles would not fit together; get it"
            " again from where it came from"
        )


def _image(side: int) -> Tensor:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    waves = [0.5 + 0.2 * np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((1, 2), (2, -1), (3, 1))]
    return np.stack(waves, -1).astype(np.float32)


def _white(run: Callable[[Tensor], Samples], name: str, image: Tensor, scale: int) -> float:
    def error(white: float) -> float:
        out = run(image * np.float32(white)) / np.float32(white)
        small = out.reshape(len(image), scale, len(image), scale, 3).mean((1, 3))
        value = float(np.abs(small - image).mean())
        return value if np.isfinite(value) else float("inf")

    errors = {white: error(white) for white in (1.0, 255.0)}
    best = min(errors, key=lambda white: errors[white])
    if errors[best] > 0.1:
        raise ModelError(
            f"{name} does not give back the colours of a test image, neither for values 0 to 1 nor for 0 to 255; it"
            " is no plain RGB upscaler"
        )
    return best


def _radius(run: Callable[[Tensor], Samples], image: Tensor, scale: int, side: int) -> int | None:
    """How far a changed pixel reaches, in input pixels, in an image of `side`; None if to its edges."""
    missing = side - len(image)
    image = np.pad(image, ((0, missing), (0, missing), (0, 0)), mode="symmetric")
    centre, radius = side // 2, 0
    before = run(image)
    for sign in (1.0, -1.0):
        changed = image.copy()
        changed[centre, centre] += sign * 0.5 * image.mean()
        differs = (run(changed) != before).any(-1)
        rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
        if len(rows):
            ends = np.array([rows[0], rows[-1], columns[0], columns[-1]]) // scale
            radius = max(radius, int(np.abs(ends - centre).max()))
    return None if radius >= side // 2 - 1 else radius
