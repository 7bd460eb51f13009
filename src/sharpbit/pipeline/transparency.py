"""Alpha through the network: as a grey image, and clean where the image is wholly transparent or opaque."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.pipeline import cutting
from sharpbit.pipeline.samples import grey, to_samples
from sharpbit.pipeline.sanity import Check
from sharpbit.pipeline.tiles import Tile
from sharpbit.runtime import Runtime
from sharpbit.system.progress import Progress

Array = NDArray[Any]


class AlphaRun:
    """Upscales the alpha of an image tile by tile, beside its colours.

    The network invents no values near what is flat: where a pixel and its eight neighbours are wholly transparent, or
    wholly opaque, so is the result. Tiles that are flat do not go through the network at all.

    Args:
        runtime: The engine.
        alpha: The alpha `(H, W)` of the whole image, of uint8, uint16 or floats in `[0, 1]`.
        name: The name of the image, for errors.
        side: The side of tiles that was asked for, in LR pixels; None chooses.
        ensemble: Whether all eight orientations of each tile are run and their mean is taken.
    """

    def __init__(self, runtime: Runtime, alpha: Array, name: str, *, side: int | None, ensemble: bool) -> None:
        self._runtime, self._alpha, self._side, self._ensemble = runtime, alpha, side, ensemble
        self._top = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
        self._check = Check(f"the alpha of {name}", runtime.scale)
        self._checked = False

    def tile(self, tile: Tile, progress: Progress | None = None) -> Array:
        """The result `(h * scale, w * scale)` of a tile, in the samples of the image.

        Args:
            tile: The place of the tile; tiles come in any order.
            progress: Called with the share of the image that is done since the last call.

        Raises:
            ResultError: the result cannot be right (see `sharpbit.pipeline.sanity`).
        """
        scale, dtype = self._runtime.scale, self._alpha.dtype
        seen = replace(tile, halo=max(1, tile.halo)).cut(self._alpha)
        value = seen.flat[0]
        if value in (0, self._top) and (seen == value).all():
            height, width = (tile.bottom - tile.top) * scale, (tile.right - tile.left) * scale
            if progress:
                progress(cutting.share(tile, self._alpha.shape))
            return np.full((height, width), value, dtype)
        image = self._alpha[..., None]
        part = cutting.one(self._runtime, tile, image, side=self._side, ensemble=self._ensemble, progress=progress)
        self._check.add(part.before, part.after)
        self._checked = True
        out = to_samples(grey(part.after), dtype)[..., 0]
        around = replace(tile, halo=1).cut(self._alpha)
        for flat in (0, self._top):
            out[_flat(around, flat).repeat(scale, 0).repeat(scale, 1)] = flat
        return out

    def finish(self) -> None:
        """Look at the alpha as a whole.

        Raises:
            ResultError: its mean is far from that of the image.
        """
        if self._checked:
            self._check.finish()


def _flat(around: Array, value: float) -> NDArray[np.bool_]:
    """Which pixels of a tile have `value`, and their eight neighbours too; `around` has one pixel more on each side."""
    same = around == value
    rows = same[:-2] & same[1:-1] & same[2:]
    whole: NDArray[np.bool_] = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return whole
