"""Least squares on places in images: what a layer gets there, and the kernel that comes nearest to a target."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.quant.lossless.stage import TOP

QUIET = 100.0  # the mean square of an input of ten bytes: weights of what is quieter must not grow
RIDGE = 1e-4  # how strongly least squares hold on to what they start from, of each input's own mean square


def places_of(x: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random pixels: image, row, column."""
    number, _, height, width = x.shape
    index = torch.randint(number * height * width, (count,), generator=generator)
    return index // (height * width), index // width % height, index % width


def windows(x: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The 3x3 around each place and a constant one: `(count, channels * 9 + 1)` float64."""
    around = torch.arange(3)
    image, row, column = places
    rows, columns = row[:, None, None] + around[:, None], column[:, None, None] + around
    cut = F.pad(x, (1, 1, 1, 1))[image[:, None, None], :, rows, columns]  # (count, 3, 3, channels)
    flat = cut.permute(0, 3, 1, 2).flatten(1).double()
    return torch.cat([flat, torch.full((len(flat), 1), TOP, dtype=flat.dtype)], 1)


def nearest(kernel: Tensor, moments: Tensor, targets: Tensor) -> Tensor:
    """The kernel that comes nearest to the targets; where these leave it free, the one that is given."""
    damped = regularized(moments, RIDGE)
    fitted: Tensor = kernel + torch.linalg.solve(damped, targets - moments @ kernel.T).T
    return fitted


def regularized(moments: Tensor, share: float) -> Tensor:
    """Moments with a share of each input's mean square, and of `QUIET`, added to it."""
    return moments + torch.diag(share * (moments.diagonal() + QUIET))
