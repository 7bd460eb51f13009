"""The images that a graph is quantized with: those that are given, and drawings, with which networks run wild."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sharpbit.data.degrade import jpeg
from sharpbit.data.varied import drawing
from sharpbit.quant.sloped import APART

IMAGES = 72  # of those that are given, at most
MEASURED = 8  # of these that are kept apart to measure on, at most
DRAWN, DRAWN_APART = 26, 6  # drawings beside them
QUALITY = (50, 75, 90)  # of JPEG, of every other drawing


@dataclass(frozen=True)
class Images:
    """`(N, 3, h, w)` bytes in float32.

    Attributes:
        given: What is rounded with.
        drawn: Drawings, which ranges must hold as well.
        measured: Images of both kinds that are kept apart.
    """

    given: Tensor
    drawn: Tensor
    measured: Tensor


def chosen_of(images: Tensor, generator: torch.Generator) -> Images:
    """Of `(N, 3, h, w)` uint8, in an order that the generator gives."""
    given = images[torch.randperm(len(images), generator=generator)[:IMAGES]].float()
    drawn = _drawings(given.shape[2:], torch.randint(1 << 31, (1,), generator=generator).item())
    apart = torch.arange(len(given)) % APART == APART - 1
    if not bool(apart.any()):
        apart[:] = True
        return Images(given, drawn[DRAWN_APART:], torch.cat([given[:MEASURED], drawn[:DRAWN_APART]]))
    return Images(given[~apart], drawn[DRAWN_APART:], torch.cat([given[apart][:MEASURED], drawn[:DRAWN_APART]]))


def _drawings(size: tuple[int, ...], seed: int | float) -> Tensor:
    rng = np.random.default_rng(int(seed))
    found = []
    for number in range(DRAWN + DRAWN_APART):
        image = drawing((size[1], size[0]), rng)
        found.append(np.array(jpeg(image, QUALITY[number // 2 % len(QUALITY)]) if number % 2 else image))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float()
