"""What convolutions see at random places, as rounding their weights needs it: mean products of all pairs of inputs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.quant.graph.steps import Convolve
from sharpbit.quant.lossless.least_squares import places_of
from sharpbit.quant.lossless.stage import TOP

SAMPLES = 20000  # places that are looked at, at most
WINDOWS = 24 << 20  # numbers of these at a time, at most

Places = tuple[Tensor, Tensor, Tensor]


class Moments:
    """Mean products of what convolutions see.

    Those of one convolution are kept for the next one: in a dense block each reads what the one before reads, and one
    tensor more, so that only the products with this tensor are new.

    Args:
        seed: Seed of the places, which are the same for all convolutions of one size.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._window: tuple[int, int, int] = (0, 0, 0)
        self._inputs: list[int] = []
        self._places: Places = (torch.zeros(0),) * 3
        self._seen = torch.zeros(0)
        self._products = torch.zeros(0)

    def of(self, step: Convolve, values: list[Tensor], size: torch.Size) -> list[Tensor]:
        """Of each group: `(n + 1, n + 1)` float64 for its `n` inputs at each place, and a constant one last.

        Args:
            step: The convolution.
            values: What tensors have, bytes less their zero points.
            size: The sides of its result.
        """
        if step.groups > 1:
            places = self._drawn(step, size)
            seen = torch.cat([windows(values[number], places, step) for number in step.inputs], 1)
            return [_finished(part.T @ part, part) for part in seen.chunk(step.groups, 1)]
        self._extend(step, values, size)
        return [_finished(self._products, self._seen)]

    def _drawn(self, step: Convolve, size: torch.Size) -> Places:
        columns = step.weight[0].numel() * step.groups
        generator = torch.Generator().manual_seed(self.seed)
        return places_of(torch.empty(size, device="meta"), min(SAMPLES, WINDOWS // (columns + 1)), generator)

    def _extend(self, step: Convolve, values: list[Tensor], size: torch.Size) -> None:
        window, known = (step.weight.shape[2], step.stride, step.around), len(self._inputs)
        fits = len(self._seen) * step.weight[0].numel() <= 2 * WINDOWS
        if not known or window != self._window or step.inputs[:known] != self._inputs or not fits:
            self._window, self._places = window, self._drawn(step, size)
            self._seen, self._products, known = torch.zeros(len(self._places[0]), 0), torch.zeros(0, 0), 0
        self._inputs = [*step.inputs]
        if new := [windows(values[number], self._places, step) for number in step.inputs[known:]]:
            more = torch.cat(new, 1)
            across = self._seen.T @ more
            self._products = torch.cat(
                [torch.cat([self._products, across], 1), torch.cat([across.T, more.T @ more], 1)]
            )
            self._seen = torch.cat([self._seen, more], 1)


def windows(x: Tensor, places: Places, step: Convolve) -> Tensor:
    """What a kernel sees at each place of `(N, C, h, w)`: `(count, C * side**2)`."""
    around = torch.arange(step.weight.shape[2])
    image, row, column = places[0], places[1] * step.stride, places[2] * step.stride
    rows, columns = row[:, None, None] + around[:, None], column[:, None, None] + around
    pixels = F.pad(x, (step.around,) * 4).permute(0, 2, 3, 1).contiguous()  # channels side by side: faster to collect
    return pixels[image[:, None, None], rows, columns].permute(0, 3, 1, 2).flatten(1)


def _finished(products: Tensor, seen: Tensor) -> Tensor:
    """Means, with the constant one: bytes and their products are exact in float32, and sums nearly so."""
    count, sums = len(seen), TOP * seen.sum(0, dtype=torch.float64)
    constant = torch.tensor([TOP * TOP * count], dtype=torch.float64)
    rows = torch.cat([products.double(), sums[:, None]], 1)
    return torch.cat([rows, torch.cat([sums, constant])[None]]) / count
