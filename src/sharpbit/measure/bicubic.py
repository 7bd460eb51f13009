"""The baselines without a network: bicubic interpolation, as a runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError
from sharpbit.image.resize import resize
from sharpbit.runtime import Tensor

NAMES = ("bicubic", "bicubic-matlab")


class Bicubic:
    """Bicubic interpolation. See `sharpbit.runtime.Runtime`.

    Args:
        name: `bicubic` is that of the deep learning frameworks (a = -0.75, edges repeated), the row "Bicubic" of the
            tables of ETDS; `bicubic-matlab` is `imresize` (a = -0.5, edges mirrored), the baseline of most others.
        scale: upscaling factor.
    """

    def __init__(self, name: str, scale: int) -> None:
        if name not in NAMES:
            raise UsageError(f"there is no {name!r}; known are {' and '.join(NAMES)}")
        self.name, self.scale = name, scale
        self.engine, self.precision = f"numpy {np.__version__}", "float32"
        self.halo: int | None = 3
        self.tile: int | None = None
        self.notes: tuple[str, ...] = ()

    def __call__(self, tiles: Iterable[Tensor]) -> Iterator[Tensor]:
        """Tiles enlarged, one after the other."""
        for tile in tiles:
            if self.name == "bicubic":
                yield _along(_along(tile, self.scale).swapaxes(0, 1), self.scale).swapaxes(0, 1)
            else:
                yield resize(tile, tile.shape[0] * self.scale, tile.shape[1] * self.scale, scale=self.scale)


def _along(x: Tensor, scale: int) -> Tensor:
    """The first axis, `scale` times as long: cubic convolution (Keys, 1981) with a = -0.75, half-pixel centres."""
    where = (np.arange(len(x) * scale) + 0.5) / scale - 0.5
    first = np.floor(where).astype(np.intp)
    out = np.zeros((len(where), *x.shape[1:]), np.float32)
    for k in range(-1, 3):
        weight = _cubic(where - (first + k)).astype(np.float32)
        out += weight.reshape(-1, 1, 1) * x[np.clip(first + k, 0, len(x) - 1)]
    return out


def _cubic(x: NDArray[np.float64], a: float = -0.75) -> NDArray[np.float64]:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.asarray(np.where(x <= 1, near, far))
