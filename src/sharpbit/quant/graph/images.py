"""The images that a graph is quantized with: given ones, drawings, with which networks run wild, and textures.

Textures are soft and faint, and what distinguishes them is lost first. Networks that were trained to paint details
make of it either grass or nothing, so a small difference becomes a large one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sharpbit.data.degrade import jpeg
from sharpbit.data.varied import drawing, textures
from sharpbit.quant.sloped import APART

IMAGES = 72  # of those that are given, at most
MEASURED = 8  # of these that are kept apart to measure on, at most
DRAWN, DRAWN_APART = 26, 6  # drawings beside them
SOFT, SOFT_APART = 14, 6  # textures beside them
QUALITY = (50, 75, 90)  # of JPEG, of every other drawing


@dataclass(frozen=True)
class Images:
    """`(N, 3, h, w)` bytes in float32.

    Attributes:
        given: What is rounded with.
        drawn: Drawings, which ranges must hold as well.
        soft: Textures, too.
        measured: Given images and drawings that are kept apart.
        hard: Textures that are kept apart.
    """

    given: Tensor
    drawn: Tensor
    soft: Tensor
    measured: Tensor
    hard: Tensor


def chosen_of(images: Tensor, generator: torch.Generator) -> Images:
    """Of `(N, 3, h, w)` uint8, in an order that the generator gives."""
    given = images[torch.randperm(len(images), generator=generator)[:IMAGES]].float()
    drawn = _drawings(given.shape[2:], torch.randint(1 << 31, (1,), generator=generator).item())
    height, width = given.shape[2:]
    soft = textures(SOFT + SOFT_APART, (width, height), int(torch.randint(1 << 31, (1,), generator=generator))).float()
    apart = torch.arange(len(given)) % APART == APART - 1
    kept, rest = (given[apart], given[~apart]) if bool(apart.any()) else (given, given)
    measured = torch.cat([kept[:MEASURED], drawn[:DRAWN_APART]])
    return Images(rest, drawn[DRAWN_APART:], soft[SOFT_APART:], measured, soft[:SOFT_APART])


def _drawings(size: tuple[int, ...], seed: int | float) -> Tensor:
    rng = np.random.default_rng(int(seed))
    found = []
    for number in range(DRAWN + DRAWN_APART):
        image = drawing((size[1], size[0]), rng)
        found.append(np.array(jpeg(image, QUALITY[number // 2 % len(QUALITY)]) if number % 2 else image))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float()
