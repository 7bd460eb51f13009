"""How near to float a graph has to be: ordinary images in the mean, and each image, textures too, within a margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

import torch
from torch import Tensor

from sharpbit.quant.graph.images import Images
from sharpbit.quant.graph.ranges import through
from sharpbit.quant.graph.steps import Step
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped import FAR
from sharpbit.system.progress import Phases

LEAST = 1e-20  # mean square error, so that there is a logarithm


@dataclass(frozen=True)
class Gate:
    """What is asked for.

    Attributes:
        allowed: Mean square error of a result from 0 to 1 that ordinary images may have, in the mean of their dB.
        margin: How many times that each image may have.
    """

    allowed: float
    margin: float = 10 ** (FAR / 10)

    def of(self, share: float) -> Gate:
        """The gate for errors that may make up a share of what is allowed."""
        return Gate(share * self.allowed, self.margin)

    def excess(self, errors: Tensor, ordinary: int) -> Tensor:
        """How far errors are beyond what is allowed, in powers of ten; above 0 where they are too large.

        Args:
            errors: Mean square error of each image, the ordinary ones first.
            ordinary: How many these are.

        Returns:
            First that of the mean of ordinary images, then that of each image.
        """
        powers = errors.clamp(min=LEAST).log10() - log10(max(self.allowed, LEAST))
        return torch.cat([powers[:ordinary].mean()[None], powers - log10(self.margin)])

    def above(self, errors: Tensor, ordinary: int) -> float:
        """How many dB errors are above what is asked for; below 0 where they are too far from float."""
        return -10 * float(self.excess(errors, ordinary).max())


@dataclass(frozen=True)
class Measured:
    """Images that are kept apart, and what the network in float makes of them.

    Attributes:
        images: `(N, 3, h, w)` bytes in float32, the ordinary ones first.
        wanted: What the network makes of each, `(1, 3, H, W)` in levels of bytes, not rounded.
        ordinary: How many of them are.
    """

    images: Tensor
    wanted: Sequence[Tensor]
    ordinary: int

    @classmethod
    def of(cls, steps: list[Step], shown: Images, progress: Phases) -> Measured:
        """Those that are kept apart, through these steps."""
        images = torch.cat([shown.measured, shown.hard])
        return cls(images, float_results(steps, images, progress), len(shown.measured))


def float_results(steps: list[Step], images: Tensor, progress: Phases) -> list[Tensor]:
    """What the steps make of each of `(N, 3, h, w)` bytes in float, in levels of bytes, not rounded."""
    results = []
    for image in images:
        result = through(steps, image[None] / TOP, lambda k, values: steps[k].run(values))
        results.append((result * TOP).clamp(0, TOP))
        progress("running in float", len(results), len(images))
    return results
