"""All pictures of a folder as small and large pairs in the memory of one device, cropped and augmented there."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sharpbit.data.prepare import LARGE, SMALL
from sharpbit.errors import UsageError
from sharpbit.image import is_picture_name, probe, read
from sharpbit.image.resize import shrink


@dataclass(frozen=True)
class Pairs:
    """A set of picture pairs, flat in memory so that one gather cuts a whole batch.

    Attributes:
        scale: large per small pixel.
        small: `(sum of h * w, 3)` uint8.
        large: `(sum of H * W, 3)` uint8.
        sizes: `(pictures, 2)`, h and w of the small pictures.
    """

    scale: int
    small: Tensor
    large: Tensor
    sizes: Tensor

    @classmethod
    def from_folder(cls, folder: Path, scale: int, *, device: torch.device | str = "cpu", quiet: bool = False) -> Pairs:
        """Read every picture of `folder` with its small partner.

        The partners are made by the benchmarks' bicubic, but read where `sharpbit prepare` (or somebody else) put them:
        true pictures in `HR`, small ones with the same names in `LR_bicubic/X2`.

        Raises:
            UsageError: no pictures, a partner that is missing or has another size, or more than the memory holds.
        """
        folder = Path(folder)
        large = folder / LARGE if (folder / LARGE).is_dir() else folder
        paths = sorted(path for path in large.rglob("*") if is_picture_name(path))
        if not paths:
            raise UsageError(f"{folder} holds no pictures to train on; give a folder of PNG or JPEG files with --data")
        small = _small_folder(folder, scale) if large != folder else None
        sizes = [_cut_size(probe(path), scale) for path in tqdm(paths, "looking", disable=quiet, delay=2)]
        _check_room(folder, sizes, scale, torch.device(device))
        pairs = (
            _pair(path, small / path.relative_to(large) if small else None, scale)
            for path in tqdm(paths, "reading", disable=quiet, delay=2)
        )
        return cls._of(pairs, sizes, scale, device)

    @classmethod
    def from_pictures(cls, pictures: Sequence[np.ndarray], scale: int, *, device: torch.device | str = "cpu") -> Pairs:
        """The same from `(H, W, 3)` uint8 arrays; each is cut at the right and below to multiples of `scale`."""
        sizes = [_cut_size(picture.shape[:2], scale) for picture in pictures]
        return cls._of((_made(picture, scale) for picture in pictures), sizes, scale, device)

    @classmethod
    def _of(
        cls,
        pairs: Iterable[tuple[np.ndarray, np.ndarray]],
        sizes: Sequence[tuple[int, int]],
        scale: int,
        device: torch.device | str,
    ) -> Pairs:
        """Fill two flat arrays with small and large pictures; `sizes` are those of the small ones."""
        total = sum(height * width for height, width in sizes)
        small, large = np.empty((total, 3), np.uint8), np.empty((total * scale**2, 3), np.uint8)
        at = 0
        for (low, high), (height, width) in zip(pairs, sizes, strict=True):
            end = at + height * width
            small[at:end], large[at * scale**2 : end * scale**2] = low.reshape(-1, 3), high.reshape(-1, 3)
            at = end
        return cls(scale, torch.from_numpy(small).to(device), torch.from_numpy(large).to(device), torch.tensor(sizes))

    def batch(
        self, count: int, patch: int, generator: torch.Generator, *, colours: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Random crops: `(count, 3, patch, patch)` and `(count, 3, patch * scale, patch * scale)`, float in `[0, 1]`.

        Every position of every picture is equally likely. Each pair is turned or mirrored to one of its eight
        orientations.

        Args:
            count: crops.
            patch: side in small pixels.
            generator: of the CPU; it alone decides what is cut.
            colours: whether the colour channels of each pair are shuffled (as in the training of ETDS).
        """
        which, where = self.places(count, patch, generator)
        return self.cut(which, where, patch, *self.turns(count, generator, colours=colours))

    def places(self, count: int, patch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random pictures `(count,)`, and a corner of a crop in each `(count, 2)`, in small pixels."""
        weights = self._room(patch).prod(1).double()
        if not bool(weights.any()):
            raise UsageError(
                f"no picture has {patch * self.scale} pixels on both sides, which a patch of {patch} needs"
            )
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        return which, self.within(which, patch, generator)

    def within(self, which: Tensor, patch: int, generator: torch.Generator) -> Tensor:
        """A random corner of a crop in each of these pictures, `(count, 2)`."""
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
        return picked[torch.arange(len(which), device=flat.device)[:, None], colours].float() / 255


def _cut_size(size: Sequence[int], scale: int) -> tuple[int, int]:
    return size[0] // scale, size[1] // scale


def _made(picture: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = _cut_size(picture.shape, scale)
    large = picture[: height * scale, : width * scale]
    return (shrink(large, scale) if large.size else large), large


def _pair(path: Path, partner: Path | None, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """A small and a large picture."""
    if partner is None:
        return _made(read(path).rgb8(), scale)
    if not partner.exists():
        raise UsageError(f"{path} has no small partner {partner}; prepare the folder again")
    small, large = read(partner).rgb8(), read(path).rgb8()
    if large.shape[:2] != (small.shape[0] * scale, small.shape[1] * scale):
        raise UsageError(
            f"{partner} has {small.shape[1]}x{small.shape[0]} pixels, which times {scale} is not the size of {path},"
            f" {large.shape[1]}x{large.shape[0]}"
        )
    return small, large


def _small_folder(folder: Path, scale: int) -> Path | None:
    """The small partners of a folder that has some."""
    small = folder / SMALL.format(scale)
    if not small.is_dir() and small.parent.is_dir():
        there = ", ".join(sorted(path.name for path in small.parent.iterdir())) or "nothing"
        raise UsageError(f"{small.parent} holds {there}, not {small.name}; prepare the folder with --scale {scale} too")
    return small if small.is_dir() else None


def _check_room(folder: Path, sizes: Sequence[tuple[int, int]], scale: int, device: torch.device) -> None:
    """Refuse what would not fit; the pictures are all held at once."""
    needed = 3 * (1 + scale**2) * sum(height * width for height, width in sizes)
    rooms = {"memory": _free_memory()}
    if device.type == "cuda":
        rooms[f"memory of {device}"] = torch.cuda.mem_get_info(device)[0]
    for name, room in rooms.items():
        if needed > room:
            raise UsageError(
                f"the {len(sizes)} pictures of {folder} need {needed / 1e9:.1f} GB of {name}, where {room / 1e9:.1f} GB"
                " are free; all are held there while training, so give fewer of them or take a larger machine"
            )


def _free_memory() -> float:
    """Bytes of memory that are free, where the system says so."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", info.read_text()) if info.exists() else None
    return 1024 * int(found[1]) if found else math.inf
