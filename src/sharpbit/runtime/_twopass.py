"""What engines for networks in two passes (RefQSR), and for pairs of networks, have in common.

Whole images go in, and through them patch by patch.
"""

from __future__ import annotations

import collections
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharpbit.modelfile import PAIR
from sharpbit.runtime import Piece, Samples, TileCost
from sharpbit.system.progress import Progress
from sharpbit.twopass import schedule
from sharpbit.twopass.clustering import PATCH, SHARED, batches
from sharpbit.twopass.roles import THRESHOLD
from sharpbit.twopass.schedule import QUERY, REFERENCE, VECTORS, Bytes, Floats, Found

Chosen = Mapping[tuple[int, ...], float]  # bits that a quantizer chose, by its number and that of its run


class PatchCounter(Protocol):
    """Counts what a patch cost, such as `sharpbit.cost.two_pass_patches.TwoPassCost`.

    Attributes:
        widths: The bits that rounded activations can have, in ascending order.
    """

    @property
    def widths(self) -> tuple[int, ...]: ...

    def patch(
        self, size: tuple[int, int], other: tuple[int, int] | None, side: int, chosen: Chosen | None = None
    ) -> Mapping[str, Any]:
        """The fields of `TileCost` for a patch of `size`, and for a query of the size of its reference."""


class TwoPassRuntime(ABC):
    """A network in two passes, or a pair. See `sharpbit.runtime.Runtime`; what it takes for a tile is a whole image.

    A subclass runs patches in `ask`.

    Args:
        path: The path of the file, for errors.
        entry: The entry of the file's history that says so, see `sharpbit.modelfile.several`.
        scale: The upscaling factor.
        threads: The number of threads that work.
        device: The device that does the work, such as `cpu`.

    Attributes:
        patch: The side of patches in small pixels, as the file has it.
        shared: The pixels that neighbours have in common, as the file has it.
        counter: Counts what a patch cost; None where nobody does.
    """

    wide = False
    cuts_itself = True
    halo: int | None = None
    tile: int | None = None
    samples: DTypeLike = np.uint8
    instruction_set = ""
    engine: str
    precision: str

    def __init__(self, path: Path, entry: Mapping[str, Any], scale: int, threads: int, device: str) -> None:
        self.path, self.scale, self.threads, self.device = path, scale, threads, device
        self.threshold = float(entry.get("threshold", THRESHOLD))
        self.detail = float(entry.get("detail", 0)) if entry.get("verb") == PAIR else None
        self.shared = int(entry.get("shared", SHARED))
        self.patch = int(entry.get("patch", PATCH))
        self.counter: PatchCounter | None = None
        self._routes: collections.Counter[str] = collections.Counter()
        self._pixels = np.zeros(2)
        self._sides: set[int] = set()
        self._noting = Lock()

    @abstractmethod
    def ask(self, task: int, image: Floats, features: Sequence[Floats]) -> list[Floats]:
        """What one part of the network (`sharpbit.twopass.schedule.TASKS`) makes of patches `(N, 3, h, w)` from 0 to 1.

        Args:
            task: The number of the part.
            image: The patches.
            features: The features of the references, for queries: `(N, C, h', w')` for each RefER.

        Returns:
            `(N, 3, h * scale, w * scale)`, and of references `(N, C, h, w)` for each RefER; or `(N, classes, 1, 1)`.
        """

    def chosen(self, count: int) -> list[Chosen]:
        """What each of the `count` patches that ran last in this thread chose; nothing where bits are fixed."""
        return [{}] * count

    @property
    def notes(self) -> tuple[str, ...]:
        """Which routes the patches of all images so far took."""
        total = self._routes.total()
        if not total:
            return ()
        counts = ", ".join(f"{count} {role}" for role, count in self._routes.items())
        share = self._pixels[0] / self._pixels[1]
        route = "with few bits" if self.detail is None else "through the small network"
        sides = " and ".join(map(str, sorted(self._sides)))
        return (f"{total} patches of {sides} pixels: {counts}; {share:.3f} of their pixels {route}",)

    def __call__(self, tiles: Iterable[Samples]) -> Iterator[Samples]:
        """Images through the network, one after the other."""
        for tile in tiles:
            yield self.run(tile)

    def run(self, image: Samples, *, side: int | None = None, progress: Progress | None = None) -> Samples:
        """One image `(h, w, 3)` of bytes. See `sharpbit.runtime.SelfCutting`."""
        return self.upscale(image, patch=side, progress=progress)[0]

    def upscale(
        self,
        image: Samples,
        *,
        patch: int | None = None,
        shared: int | None = None,
        progress: Progress | None = None,
        ran: Callable[[list[int]], object] | None = None,
    ) -> tuple[Bytes, Found]:
        """One image, and what its patches were. See `sharpbit.twopass.schedule.run`; defaults are those of the file."""
        side = self.patch if patch is None else patch
        result, found = schedule.run(
            self,
            image,
            patch=side,
            shared=self.shared if shared is None else shared,
            threshold=self.threshold,
            detailed=self.detail,
            progress=progress,
            ran=ran,
        )
        with self._noting:
            self._routes.update(found.counts())
            self._sides.add(side)
            self._pixels += (found.queries * image.size, image.size)
        return result, found

    def counted_patches(
        self,
        image: Samples,
        *,
        patch: int | None = None,
        shared: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[Bytes, list[Piece]]:
        """One image, and each of its patches with its role and what it cost.

        Args:
            image: `(h, w, 3)` of bytes.
            patch: The side of patches in small pixels; by default as the file has it.
            shared: The pixels that neighbours have in common; by default as the file has it.
            progress: Called with the number of patches that ran together.
        """
        chosen: dict[int, Chosen] = {}

        def ran(numbers: list[int]) -> None:
            chosen.update(zip(numbers, self.chosen(len(numbers)), strict=True))
            if progress:
                progress(len(numbers))

        side = self.patch if patch is None else patch
        result, found = self.upscale(image, patch=side, shared=shared, ran=ran)
        sizes = [one.size for one in found.patches]
        pieces = []
        for number, one in enumerate(found.patches):
            role, other = found.role(number)
            spent = None
            if self.counter:
                size = None if other is None else sizes[other]
                spent = TileCost(**self.counter.patch(sizes[number], size, side, chosen[number]))
            pieces.append(Piece(one, spent, role, other))
        return result, pieces

    def vectors(self, patches: Sequence[Bytes]) -> Floats:
        """See `sharpbit.twopass.schedule.Passes`."""
        shapes = [patch.shape for patch in patches]
        found: dict[int, Floats] = {}
        for some in batches(range(len(patches)), shapes):
            answer = self.ask(VECTORS, _to_floats(np.stack([patches[k] for k in some])), ())[0]
            found.update(zip(some, answer[:, :, 0, 0], strict=True))
        return np.stack([found[k] for k in range(len(patches))])

    def reference(self, patches: Bytes) -> tuple[Bytes, tuple[Floats, ...]]:
        """See `sharpbit.twopass.schedule.Passes`."""
        result, *features = self.ask(REFERENCE, _to_floats(patches), ())
        return _to_bytes(result), tuple(features)

    def query(self, patches: Bytes, features: Sequence[Floats]) -> Bytes:
        """See `sharpbit.twopass.schedule.Passes`."""
        return _to_bytes(self.ask(QUERY, _to_floats(patches), features)[0])


def _to_floats(patches: Bytes) -> Floats:
    return np.divide(patches.transpose(0, 3, 1, 2), np.float32(255), dtype=np.float32, order="C")


def _to_bytes(x: NDArray[np.float32]) -> Bytes:
    scaled = np.clip(x.transpose(0, 2, 3, 1), 0, 1)
    scaled *= 255
    return np.rint(scaled, out=scaled).astype(np.uint8)
