"""Compares by trial what the header of an ONNX file says with what the network does: its scale, how far it sees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sharpbit.errors import ModelError
from sharpbit.graph.values import smooth_image
from sharpbit.modelfile import Header
from sharpbit.runtime import Samples, Tensor

_WIDEST = 320  # the side of the largest image that is tried


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
    image = smooth_image(side, side) * np.float32(header.range[1])
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
