"""All pictures of a folder as small and large pairs in the memory of one device, cropped and augmented there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sharpbit.errors import UsageError
from sharpbit.image import is_picture_name, read
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
        """Read every picture of `folder` and make its small partner by the benchmarks' bicubic.

        Raises:
            UsageError: no folder, or no pictures in it.
        """
        paths = sorted(path for path in Path(folder).rglob("*") if is_picture_name(path))
        if not paths:
            raise UsageError(f"{folder} holds no pictures to train on; give a folder of PNG or JPEG files with --data")
        return cls.from_pictures(
            [_rgb(p) for p in tqdm(paths, "reading", disable=quiet, delay=2)], scale, device=device
        )

    @classmethod
    def from_pictures(cls, pictures: Sequence[np.ndarray], scale: int, *, device: torch.device | str = "cpu") -> Pairs:
        """The same from `(H, W, 3)` uint8 arrays; each is cut at the right and below to multiples of `scale`."""
        large = [p[: p.shape[0] // scale * scale, : p.shape[1] // scale * scale] for p in pictures]
        small = [shrink(picture, scale) for picture in large]
        return cls(scale, _flat(small).to(device), _flat(large).to(device), torch.tensor([p.shape[:2] for p in small]))

    def batch(self, count: int, patch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random crops: `(count, 3, patch, patch)` and `(count, 3, patch * scale, patch * scale)`, float in `[0, 1]`.

        Every position of every picture is equally likely. Each pair is turned or mirrored to one of its eight
        orientations and its colour channels are shuffled (as in the training of ETDS).

        Args:
            count: crops.
            patch: side in small pixels.
            generator: of the CPU; it alone decides what is cut.
        """
        room = (self.sizes - patch + 1).clamp(min=0)
        weights = room.prod(1).double()
        if not bool(weights.any()):
            raise UsageError(
                f"no picture has {patch * self.scale} pixels on both sides, which a patch of {patch} needs"
            )
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        where = (torch.rand(count, 2, generator=generator, dtype=torch.float64) * room[which]).long()
        flips = torch.randint(2, (count, 3), generator=generator)
        colours = torch.rand(count, 3, generator=generator).argsort(1)
        plan = [item.to(self.small.device, non_blocking=True) for item in (which, where, flips.bool(), colours)]
        return self._cut(self.small, 1, patch, *plan), self._cut(self.large, self.scale, patch, *plan)

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


def _flat(pictures: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate([picture.reshape(-1, 3) for picture in pictures]))


def _rgb(path: Path) -> np.ndarray:
    pixels = read(path).pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels / 257).round().astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
