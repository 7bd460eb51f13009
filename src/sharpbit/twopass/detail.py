"""Which patches of an image show so little detail that a small network does for them, and upscaling it with two.

A smaller network loses most where there is detail, and on a CPU it saves time, which fewer bits do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.twopass.clustering import PATCH, SHARED, batches, pieces
from sharpbit.twopass.patches import Patch, merge

Network = Callable[[NDArray[Any]], NDArray[Any]]

NEIGHBOURS = 2  # of a tile for the small network that have as little detail, of four
LEVEL = 256 * 3**2  # of a contrast, for a mean square of 1 grey level


@dataclass(frozen=True)
class Split:
    """The patches of an image, row by row, and `(N,)` whether each goes through the small network."""

    patches: list[Patch]
    small: NDArray[np.bool_]

    @property
    def queries(self) -> float:
        """The share of the pixels, of all patches, that lie in those for the small network."""
        pixels = np.array([patch.pixels for patch in self.patches])
        return float(pixels[self.small].sum() / pixels.sum())

    def counts(self) -> dict[str, int]:
        """How many patches go through each network."""
        small = int(self.small.sum())
        return {"large": len(self.patches) - small, "small": small}

    def role(self, number: int) -> tuple[str, int | None]:
        """The network of a patch, `large` or `small`; no patch refers to another one."""
        return "small" if self.small[number] else "large", None


def detail(patch: NDArray[np.uint8]) -> float:
    """The mean difference of neighbouring pixels in grey levels, 0 to 255; 0 where there are no neighbours.

    The mean goes over all that lie beside or above each other; a pixel counts as the mean of R, G and B. Sums are of
    whole numbers, so the result is the same everywhere.

    Args:
        patch: `(h, w, 3)` uint8.
    """
    total = patch.sum(2, dtype=np.int64)
    differences = [np.abs(np.diff(total, axis=axis)) for axis in (0, 1)]
    pairs = sum(one.size for one in differences)
    return float(sum(int(one.sum()) for one in differences) / (3 * pairs)) if pairs else 0.0


def contrasts(image: NDArray[np.uint8], tile: int) -> NDArray[np.float64]:
    """The detail of each tile of an image, as the native engine judges it: `(rows, columns)`.

    It is that of the tile, or of the neighbour with the second least where that is more: single tiles cost more than
    they save. Detail is 256 times the mean square of the differences of pixels that lie beside or above each other in
    the tile, each the sum of its R, G and B; 0 where there are no neighbours. `levels` has it in grey levels.

    Args:
        image: `(h, w, 3)` uint8.
        tile: side of a tile; the last of a row or column may be smaller.
    """
    total = image.sum(2, dtype=np.int64)
    sums, pairs = (np.zeros([-(-side // tile) for side in total.shape], np.int64) for _ in range(2))
    for axis in (0, 1):
        squares = np.diff(total, axis=axis) ** 2
        inside = np.arange(1, total.shape[axis]) % tile != 0  # both pixels lie in one tile
        squares, ones = (np.compress(inside, values, axis) for values in (squares, np.ones_like(squares)))
        places = [np.arange(side) // tile for side in total.shape]
        places[axis] = places[axis][1:][inside]
        for values, into in ((squares, sums), (ones, pairs)):
            np.add.at(into, np.ix_(*places), values)
    own = 256 * sums / np.maximum(pairs, 1)
    around = np.pad(own, 1)  # outside of the image is no detail
    sides = [around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]]
    found: NDArray[np.float64] = np.maximum(own, np.sort(sides, 0)[NEIGHBOURS - 1])
    return found


def levels(contrast: float) -> float:
    """A contrast in grey levels: the root of the mean square."""
    return float(np.sqrt(contrast / LEVEL))


def contrast(levels: float) -> int:
    """The whole contrast nearest to a root of the mean square in grey levels; 0 of what is below 0."""
    return round(LEVEL * max(levels, 0) ** 2)


def split(image: NDArray[np.uint8], threshold: float, patch: int = PATCH, shared: int = SHARED) -> Split:
    """The patches of an LR image; those with less detail than `threshold` are for the small network.

    Args:
        image: RGB, `(H, W, 3)` uint8.
        threshold: the detail in grey levels, see `detail`; 0 leaves none to the small network.
        patch: side of a patch; see `sharpbit.twopass.patches.grid`.
        shared: pixels that neighbours have in common.

    Raises:
        UsageError: a patch that is not larger than what neighbours share.
    """
    patches = pieces(image, patch, shared)
    return Split(patches, np.array([detail(one.cut(image)) < threshold for one in patches]))


def upscale(
    image: NDArray[Any],
    found: Split,
    scale: int,
    large: Network,
    small: Network,
    ran: Callable[[list[int]], object] | None = None,
) -> NDArray[Any]:
    """The upscaled image `(H * scale, W * scale, 3)`, each patch from its network; patches of one size run together.

    Args:
        image: the LR image, `(H, W, 3)`, of whatever kind the networks take.
        found: its patches.
        scale: upscaling factor.
        large: the large network, `(n, h, w, 3)` to `(n, h * scale, w * scale, 3)`.
        small: the small one, likewise.
        ran: called after each of these with the numbers of the patches.
    """
    cuts = [patch.cut(image) for patch in found.patches]
    results: dict[int, NDArray[Any]] = {}
    for network, mine in ((large, ~found.small), (small, found.small)):
        for some in batches(np.flatnonzero(mine).tolist(), [cut.shape for cut in cuts]):
            results.update(zip(some, network(np.stack([cuts[k] for k in some])), strict=True))
            if ran:
                ran(some)
    return merge(found.patches, (results[k] for k in range(len(cuts))), scale)
