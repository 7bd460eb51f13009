"""All images of a folder as small and large pairs in memory, or in a file; crops of them, augmented.

They lie in the memory of the device that trains, else in that of the machine, else in a file that the system reads as
crops are cut (`sharpbit.data.stored`), whichever is the first that holds them. What is cut is the same in all cases.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sharpbit.data import stored
from sharpbit.data.ahead import drawn
from sharpbit.data.trees import Tree, find_tree
from sharpbit.errors import UsageError
from sharpbit.image import probe, read
from sharpbit.image.resize import shrink

HASHED = 1 << 24  # pixels at a time
DEVICE_SHARE = 0.5  # of a GPU's free memory that images may take; the rest is for training
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pairs:
    """A set of image pairs, flat in memory so that one gather cuts a whole batch.

    Attributes:
        scale: upscaling factor.
        small: pixels of all LR images, `(sum of h * w, 3)` uint8.
        large: pixels of all HR images, `(sum of H * W, 3)` uint8.
        sizes: `(images, 2)`, h and w of the LR images.
        device: device that crops go to.
        apart: whether the images are on another device, so that it pays to cut the next crops meanwhile.
        origin: what was read, in words: how many images of which folder, and where the LR images are from.
    """

    scale: int
    small: Tensor
    large: Tensor
    sizes: Tensor
    device: torch.device | str = "cpu"
    apart: bool = False
    origin: str = ""

    def digest(self) -> str:
        """The sha256 of all pixels, LR and then HR: the same for the same images in the same order."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        found = hashlib.sha256(str(self.sizes.tolist()).encode())
        for pixels in (self.small, self.large):
            for part in torch.split(pixels, HASHED):
                found.update(part.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        scale: int,
        *,
        device: torch.device | str = "cpu",
        cache: Path | None = None,
        copies: int = 1,
        quiet: bool = False,
    ) -> Pairs:
        """Read every image of `folder` with its LR image.

        LR images are made by the benchmarks' bicubic, but read where `sharpbit prepare` or the authors of a paper put
        them (`sharpbit.data.trees`).

        Args:
            folder: folder of the images, or one with HR and LR images in folders of their own.
            scale: upscaling factor.
            device: device that crops go to; default: `cpu`.
            cache: folder of the file for a set that is larger than memory; None (default) refuses such a set.
            copies: number of processes on this machine that hold the set; default: 1.
            quiet: whether progress is hidden; default: false.

        Raises:
            UsageError: no images, LR images that cannot be placed, one that is missing or has another size, or more
                than the memory holds.
        """
        folder = Path(folder)
        tree = find_tree(folder, scale)
        paths = tree.files()
        partners = [tree.partner(path, scale) for path in paths]
        origin = _origin(tree, len(paths), folder)
        sizes = [_cut_size(probe(path), scale) for path in tqdm(paths, "reading sizes", disable=quiet, delay=2)]
        where = _place(folder, sizes, scale, torch.device(device), copies, cache)
        both = tqdm(list(zip(paths, partners, strict=True)), "reading", disable=quiet, delay=2)
        pairs = (_pair(path, small, scale) for path, small in both)
        if where is None:
            assert cache is not None
            files = [*paths, *(path for path in partners if path)]
            arrays = stored.arrays(cache, files, sizes, scale, pairs)
            return cls(scale, *arrays, torch.tensor(sizes), device, apart=True, origin=origin)
        return replace(cls._of(pairs, sizes, scale, where, device), origin=origin)

    @classmethod
    def from_images(cls, images: Sequence[np.ndarray], scale: int, *, device: torch.device | str = "cpu") -> Pairs:
        """The same from `(H, W, 3)` uint8 arrays; each is cut at the right and below to multiples of `scale`."""
        sizes = [_cut_size(image.shape[:2], scale) for image in images]
        return cls._of((_made(image, scale) for image in images), sizes, scale, device, device)

    @classmethod
    def _of(
        cls,
        pairs: Iterable[tuple[np.ndarray, np.ndarray]],
        sizes: Sequence[tuple[int, int]],
        scale: int,
        where: torch.device | str,
        device: torch.device | str,
    ) -> Pairs:
        """Fill two flat arrays with small and large images; `sizes` are those of the small ones."""
        total = sum(height * width for height, width in sizes)
        small, large = np.empty((total, 3), np.uint8), np.empty((total * scale**2, 3), np.uint8)
        at = 0
        for (low, high), (height, width) in zip(pairs, sizes, strict=True):
            end = at + height * width
            small[at:end], large[at * scale**2 : end * scale**2] = low.reshape(-1, 3), high.reshape(-1, 3)
            at = end
        held = [torch.from_numpy(array).to(where) for array in (small, large)]
        apart = torch.device(where).type != torch.device(device).type
        return cls(scale, held[0], held[1], torch.tensor(sizes), device, apart)

    def batch(
        self,
        count: int,
        patch: int,
        generator: torch.Generator,
        *,
        colours: bool = True,
        part: slice | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Random crops: `(count, 3, patch, patch)` and `(count, 3, patch * scale, patch * scale)`, float in `[0, 1]`.

        Every position of every image is equally likely. Each pair is turned or mirrored to one of its eight
        orientations.

        Args:
            count: number of crops.
            patch: side of a crop in LR pixels.
            generator: random generator on the CPU, which alone decides what is cut.
            colours: whether the colour channels of each pair are shuffled (as in the training of ETDS); default: true.
            part: slice of these crops that is wanted; None (default) is all. What is cut does not depend on it.
        """
        which, where = self.places(count, patch, generator)
        plan = (which, where, *self.turns(count, generator, colours=colours))
        which, where, flips, order = (item[part or slice(None)] for item in plan)
        return self.cut(which, where, patch, flips, order)

    def places(self, count: int, patch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random images `(count,)`, and a corner of a crop in each `(count, 2)`, in small pixels."""
        weights = self._room(patch).prod(1).double()
        if not bool(weights.any()):
            raise UsageError(f"no image has {patch * self.scale} pixels on both sides, which a patch of {patch} needs")
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        return which, self.within(which, patch, generator)

    def within(self, which: Tensor, patch: int, generator: torch.Generator) -> Tensor:
        """A random corner of a crop in each of these images, `(count, 2)`."""
        spot = torch.rand(len(which), 2, generator=generator, dtype=torch.float64)
        return (spot * self._room(patch)[which]).long()

    def turns(self, count: int, generator: torch.Generator, *, colours: bool = True) -> tuple[Tensor, Tensor]:
        """How crops are turned and mirrored `(count, 3)`, and the order of their colour channels `(count, 3)`."""
        flips = torch.randint(2, (count, 3), generator=generator)
        order = torch.rand(count, 3, generator=generator)
        return flips.bool(), order.argsort(1) if colours else torch.arange(3).expand(count, 3)

    def cut(self, which: Tensor, where: Tensor, patch: int, flips: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """The crops of `places` with the `turns`, small and large."""
        plan = [item.to(self.small.device, non_blocking=True) for item in (which, where, flips, order)]
        return self._cut(self.small, 1, patch, *plan), self._cut(self.large, self.scale, patch, *plan)

    def look(self, which: Tensor, where: Tensor, patch: int) -> Tensor:
        """The small crops of `places` as they are."""
        plan = (which, where, torch.zeros(len(which), 3, dtype=torch.bool), torch.arange(3).expand(len(which), 3))
        return self._cut(self.small, 1, patch, *(item.to(self.small.device) for item in plan))

    def batches(
        self, steps: range, seed: int, count: int, patch: int, *, colours: bool = True, part: slice | None = None
    ) -> Generator[tuple[Tensor, Tensor]]:
        """The batch of each step; `seed` and the number of the step alone decide what is cut. See `batch`.

        Where the images are not where they go, the next ones are cut meanwhile.
        """
        return drawn(partial(self.batch, count, patch, colours=colours, part=part), steps, seed, apart=self.apart)

    def _room(self, patch: int) -> Tensor:
        return (self.sizes - patch + 1).clamp(min=0)

    def _cut(
        self, flat: Tensor, scale: int, patch: int, which: Tensor, where: Tensor, flips: Tensor, colours: Tensor
    ) -> Tensor:
        sizes = self.sizes.to(flat.device)
        areas = sizes.prod(1) * scale**2
        starts, width = (areas.cumsum(0) - areas)[which], sizes[which, 1:] * scale
        line = torch.arange(patch * scale, device=flat.device)
        y = torch.where(flips[:, :1], line.flip(0), line) + where[:, :1] * scale
        x = torch.where(flips[:, 1:2], line.flip(0), line) + where[:, 1:] * scale
        index = (y * width)[:, :, None] + x[:, None, :]
        index = torch.where(flips[:, 2, None, None], index.transpose(1, 2), index) + starts[:, None, None]
        picked = flat[index].permute(0, 3, 1, 2)
        picked = picked[torch.arange(len(which), device=flat.device)[:, None], colours]
        return picked.to(self.device).float() / 255  # bytes go from place to place


def _cut_size(size: Sequence[int], scale: int) -> tuple[int, int]:
    return size[0] // scale, size[1] // scale


def _made(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = _cut_size(image.shape, scale)
    large = image[: height * scale, : width * scale]
    return (shrink(large, scale) if large.size else large), large


def _pair(path: Path, partner: Path | None, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """A small and a large image."""
    if partner is None:
        return _made(read(path).rgb8(), scale)
    if not partner.exists():
        raise UsageError(f"{path} has no LR image {partner}; prepare the folder again")
    small, large = read(partner).rgb8(), read(path).rgb8()
    if large.shape[:2] != (small.shape[0] * scale, small.shape[1] * scale):
        raise UsageError(
            f"{partner} has {small.shape[1]}x{small.shape[0]} pixels, which times {scale} is not the size of {path},"
            f" {large.shape[1]}x{large.shape[0]}"
        )
    return small, large


def _origin(tree: Tree, count: int, folder: Path) -> str:
    """How many images were read, and from where: the folders without the path to what holds them all."""
    above = Path(os.path.commonpath([path.resolve() for path in (tree.large, tree.small or folder)])).parent
    large, small = (path and path.resolve().relative_to(above).as_posix() for path in (tree.large, tree.small))
    return f"{count} images of {large}, LR images {f'of {small}' if small else 'made by bicubic'}"


def _place(
    folder: Path, sizes: Sequence[tuple[int, int]], scale: int, device: torch.device, copies: int, cache: Path | None
) -> torch.device | None:
    """Where the images are held: on `device`, in the memory of the machine, or in a file (None)."""
    needed = 3 * (1 + scale**2) * sum(height * width for height, width in sizes)
    memory = _free_memory() / copies
    what = f"the {len(sizes)} images of {folder} need {needed / 1e9:.1f} GB"
    if device.type == "cuda":
        room = torch.cuda.mem_get_info(device)[0]
        if needed <= DEVICE_SHARE * room:
            return device
        _LOG.warning("%s, and %.1f GB of %s are free: they stay outside of it", what, room / 1e9, device)
    if needed <= memory:
        return torch.device("cpu")
    if cache is None:
        raise UsageError(
            f"{what} of memory, where {memory / 1e9:.1f} GB are free; all are held there while training, so give fewer"
            " of them or take a larger machine"
        )
    _LOG.warning("%s of memory, where %.1f GB are free: they are read from a file in %s", what, memory / 1e9, cache)
    return None


def _free_memory() -> float:
    """Bytes of memory that are free, where the system says so."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", info.read_text()) if info.exists() else None
    return 1024 * int(found[1]) if found else math.inf
