"""How an image goes through an engine: in one piece, in tiles, or in patches that the engine cuts itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.pipeline import tiles
from sharpbit.pipeline.samples import to_float, to_samples
from sharpbit.pipeline.tiles import Tile
from sharpbit.runtime import Runtime, Samples, SelfCutting
from sharpbit.system.progress import Progress

TILE = 256  # input pixels; larger tiles save little time and cost memory (bench/tiles.py)
WIDE, LOW, HIGH = 1 << 21, 96, 512  # an engine that takes whole rows gives so many pixels at once, from so many rows
WIDEST = 1 << 15  # pixels of a row that it gets at once, so that with its halo it is within what engines take
ONCE = 1 << 24  # pixels of a result that is wanted in one piece, and that such an engine makes in one call
WHOLE = 512  # a network that sees everything gets images up to this side in one piece
GLOBAL_HALO = 32  # and tiles with this halo beyond it
DEEP, DEEP_HALO = 128, 64  # one that sees further than this is taken for such a network, with a halo that still pays
ORIENTATIONS = 8


@dataclass(frozen=True)
class Cutting:
    """How an image is cut.

    Attributes:
        height: The largest height of a tile in LR pixels, without its halo.
        width: The largest width of a tile in LR pixels, without its halo.
        halo: The surroundings that go into the network with a tile, in LR pixels.
        exact: False where the network sees the whole image and gets tiles of it, so that the result is only close to
            that of the image in one piece.
        grid: What tiles begin at multiples of, so that a network that joins pixels joins the same ones.
    """

    height: int
    width: int
    halo: int
    exact: bool = True
    grid: int = 1


@dataclass(frozen=True)
class Part:
    """A tile of an image that went through the network.

    Attributes:
        tile: Where it lies.
        before: What went in, `(h, w, 3)` in the samples of the network, without the halo.
        after: What came out, `(h * scale, w * scale, 3)`; floats are not clipped.
    """

    tile: Tile
    before: Samples
    after: Samples


def cutting_of(runtime: Runtime, height: int, width: int, side: int | None = None) -> Cutting:
    """How an engine takes an image.

    Args:
        runtime: The engine.
        height: The height of the image in pixels.
        width: The width of the image in pixels.
        side: The side of tiles that was asked for, in LR pixels without the halo; None chooses.
    """
    cut = _cutting(runtime, height, width, side)
    grid: int = getattr(runtime, "multiple", 1)  # engines of others may lack it
    halo = -(-cut.halo // grid) * grid
    sides = [max(grid, size // grid * grid) for size in (cut.height, cut.width)]
    return cut if grid == 1 else replace(cut, height=sides[0], width=sides[1], halo=halo, grid=grid)


def _cutting(runtime: Runtime, height: int, width: int, side: int | None) -> Cutting:
    if isinstance(runtime, SelfCutting):
        return Cutting(height, width, 0)
    if runtime.tile is not None:
        fixed, halo = of_fixed_side(runtime.tile, runtime.halo)
        return Cutting(fixed, fixed, halo, exact=runtime.halo is not None or max(height, width) <= fixed)
    if runtime.halo is None or runtime.halo > DEEP:
        if side is None and max(height, width) <= WHOLE:
            return Cutting(WHOLE, WHOLE, 0)
        some, around = side or TILE, GLOBAL_HALO if runtime.halo is None else DEEP_HALO
        return Cutting(some, some, around, exact=max(height, width) <= some)
    if runtime.wide and side is None:
        quarter = -(-height // 4)  # so that LR images are written by several threads, too
        high = min(HIGH, max(LOW, min(quarter, WIDE // (width * runtime.scale**2))))
        return Cutting(high, WIDEST, runtime.halo)
    return Cutting(side or TILE, side or TILE, runtime.halo)


def at_once(runtime: Runtime, height: int, width: int) -> Tile | None:
    """The image as one tile, where an engine that takes whole rows makes the whole result in one call, else None."""
    fits = runtime.wide and max(height, width) <= WIDEST and height * width * runtime.scale**2 <= ONCE
    return Tile(0, 0, height, width, runtime.halo) if fits and runtime.halo is not None else None


def of_fixed_side(side: int, halo: int | None) -> tuple[int, int]:
    """Side and halo of tiles for a network that takes images of one `side` only, and sees as far as `halo`."""
    halo = min(GLOBAL_HALO if halo is None else halo, side // 4)
    return side - 2 * halo, halo


def run(
    runtime: Runtime,
    image: NDArray[Any],
    *,
    side: int | None = None,
    ensemble: bool = False,
    progress: Progress | None = None,
) -> Iterator[Part]:
    """Take an image through an engine, cut as suits both; no more than one tile is held at a time.

    Args:
        runtime: The engine.
        image: The image, `(h, w, 3)` or grey `(h, w, 1)`, of uint8, uint16 or floats in `[0, 1]`.
        side: The side of tiles, or of patches where the engine cuts images itself, in LR pixels; None chooses.
        ensemble: Whether all eight orientations of each tile are run and their mean is taken, by default not.
        progress: Called with the share of the image that is done since the last call.

    Returns:
        The parts of the image, row by row from the top, each row from left to right.
    """
    height, width = image.shape[:2]
    cutting = cutting_of(runtime, height, width, side)
    largest = cutting.height, cutting.width
    for tile in chain.from_iterable(tiles.rows(height, width, largest, cutting.halo, cutting.grid)):
        yield one(runtime, tile, image, side=side, ensemble=ensemble, progress=progress)


def one(
    runtime: Runtime,
    tile: Tile,
    image: NDArray[Any],
    *,
    side: int | None = None,
    ensemble: bool = False,
    progress: Progress | None = None,
) -> Part:
    """Take one tile of an image through an engine; the arguments are those of `run`, which chooses the tiles."""
    before = _for_network(tile.cut(image), runtime)
    run_one = _engine(runtime, side, share(tile, image.shape), progress)
    after = _upscaled(run_one, before, ensemble, np.dtype(runtime.samples))
    return Part(tile, tile.trim(before, 1), tile.trim(after, runtime.scale))


def share(tile: Tile, size: tuple[int, ...]) -> float:
    """The share of the pixels of an image of `size` (its height and width come first) that lie in a tile."""
    return (tile.bottom - tile.top) * (tile.right - tile.left) / (size[0] * size[1])


def _engine(
    runtime: Runtime, side: int | None, share: float, progress: Progress | None
) -> Callable[[Samples, int], Samples]:
    """What takes one of so many orientations of a tile through the network, and reports its part of `share`."""

    def run_one(x: Samples, orientations: int) -> Samples:
        def report(part: float) -> None:
            if progress:
                progress(part * share / orientations)

        if isinstance(runtime, SelfCutting):
            return runtime.run(x, side=side, progress=report)
        out = next(iter(runtime([x])))
        report(1.0)
        return out

    return run_one


def _upscaled(
    run_one: Callable[[Samples, int], Samples], x: Samples, ensemble: bool, samples: np.dtype[Any]
) -> Samples:
    if not ensemble:
        return run_one(x, 1)
    turned: Iterable[Samples] = (_turn_back(run_one(_turn(x, k), ORIENTATIONS), k) for k in range(ORIENTATIONS))
    mean = np.asarray(sum(y.astype(np.float32) for y in turned) / np.float32(ORIENTATIONS), np.float32)
    return np.rint(mean).astype(np.uint8) if samples == np.uint8 else mean


def _for_network(x: NDArray[Any], runtime: Runtime) -> Samples:
    """A tile as RGB in the samples of a network."""
    x = to_samples(x, np.uint8) if runtime.samples == np.uint8 else to_float(x)
    return np.broadcast_to(x, (*x.shape[:2], 3))


def _turn(x: Samples, k: int) -> Samples:
    x = x.swapaxes(0, 1) if k & 4 else x
    return np.ascontiguousarray(x[:: -1 if k & 1 else 1, :: -1 if k & 2 else 1])


def _turn_back(x: Samples, k: int) -> Samples:
    x = x[:: -1 if k & 1 else 1, :: -1 if k & 2 else 1]
    return x.swapaxes(0, 1) if k & 4 else x
