"""What engines for networks in two passes (RefQSR), and for pairs of networks, have in common.

Whole images go in, and through them patch by patch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharpbit.modelfile import PAIR
from sharpbit.runtime import Samples
from sharpbit.twopass import schedule as passes
from sharpbit.twopass.clustering import PATCH, SHARED, batches
from sharpbit.twopass.roles import THRESHOLD
from sharpbit.twopass.schedule import QUERY, REFERENCE, VECTORS, Bytes, Floats


class PassesRuntime(ABC):
    """A network in two passes, or a pair. See `sharpbit.runtime.Runtime`; what it takes for a tile is a whole image.

    A subclass runs patches in `ask`.

    Args:
        path: of the file, for errors.
        entry: of the file's history, see `sharpbit.modelfile.several`.
        scale: upscaling factor.
        threads: that work.
        device: `cpu`, or what else does the work.
    """

    wide = False
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
        self.patch = self._patch = int(entry.get("patch", PATCH))
        self._progress: Callable[[float], object] | None = None
        self._roads: Counter[str] = Counter()
        self._pixels = np.zeros(2)

    @abstractmethod
    def ask(self, task: int, image: Floats, features: Sequence[Floats]) -> list[Floats]:
        """What one part of the network (`sharpbit.twopass.schedule.TASKS`) makes of patches `(N, 3, h, w)` from 0 to 1.

        Args:
            task: the number of the part.
            image: the patches.
            features: of queries: `(N, C, h', w')` for each RefER.

        Returns:
            `(N, 3, h * scale, w * scale)`, and of references `(N, C, h, w)` for each RefER; or `(N, classes, 1, 1)`.
        """

    def begin(self, side: int | None, progress: Callable[[float], object] | None) -> None:
        """See `sharpbit.runtime.Whole`."""
        self._patch, self._progress = side or self.patch, progress

    @property
    def notes(self) -> tuple[str, ...]:
        """Which roads the patches of all images so far took."""
        total = self._roads.total()
        if not total:
            return ()
        counts = ", ".join(f"{count} {role}" for role, count in self._roads.items())
        share = self._pixels[0] / self._pixels[1]
        road = "with few bits" if self.detail is None else "through the cheap network"
        return (f"{total} patches of {self._patch} pixels: {counts}; {share:.3f} of their pixels {road}",)

    def __call__(self, tiles: Iterable[Samples]) -> Iterator[Samples]:
        """Images through the network, one after the other."""
        for tile in tiles:
            yield self.run(tile)

    def run(self, tile: Samples) -> Samples:
        """One image `(h, w, 3)` of bytes."""
        large, found = passes.run(
            self,
            tile,
            patch=self._patch,
            shared=self.shared,
            threshold=self.threshold,
            detailed=self.detail,
            progress=self._progress,
        )
        self._roads.update(found.counts())
        self._pixels += (found.queries * tile.size, tile.size)
        return large

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
