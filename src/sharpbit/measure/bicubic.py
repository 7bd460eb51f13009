"""The baselines without a network: bicubic interpolation, as a runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import DTypeLike

from sharpbit.errors import UsageError
from sharpbit.image.resize import resize
from sharpbit.runtime import Samples, Tensor

NAMES = ("bicubic", "bicubic-matlab")
_A = np.float32(-0.75)


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
        self.multiple = 1
        self.wide = False
        self.samples: DTypeLike = np.float32
        self.instruction_set, self.device, self.threads = "", "cpu", 1
        self.notes: tuple[str, ...] = ()

    def __call__(self, tiles: Iterable[Samples]) -> Iterator[Samples]:
        """Tiles upscaled, one after the other."""
        for tile in tiles:
            if self.name == "bicubic":
                yield _along(_along(tile.swapaxes(0, 1), self.scale).swapaxes(0, 1), self.scale)
            else:
                yield resize(tile, tile.shape[0] * self.scale, tile.shape[1] * self.scale, scale=self.scale)


def _along(x: Tensor, scale: int) -> Tensor:
    """The first axis, `scale` times as long: cubic convolution (Keys, 1981) with a = -0.75, half-pixel centres.

    In float32 throughout, as the frameworks compute it.
    """
    step = np.float32(1 / scale)
    where = step * (np.arange(len(x) * scale, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    first = np.floor(where)
    rest = where - first
    out = np.zeros((len(where), *x.shape[1:]), np.float32)
    for k, weight in enumerate((_far(rest + 1), _near(rest), _near(1 - rest), _far(2 - rest)), -1):
        out += weight.reshape(-1, 1, 1) * x[np.clip(first.astype(np.intp) + k, 0, len(x) - 1)]
    return out


def _near(t: Tensor) -> Tensor:
    return ((_A + 2) * t - (_A + 3)) * t * t + 1


def _far(t: Tensor) -> Tensor:
    return ((_A * t - 5 * _A) * t + 8 * _A) * t - 4 * _A
