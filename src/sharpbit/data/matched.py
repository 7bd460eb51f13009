"""Crops in pairs that show the same kind of thing: what a network in two passes is trained on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.data.ahead import drawn
from sharpbit.data.pairs import Pairs

TRIES = 20  # crops that are tried as the partner of one before another image is taken
ROUNDS = 20  # images that are tried before the best crop so far is taken


@dataclass(frozen=True)
class Matched:
    """Picks from one image two crops whose vectors have a cosine of at least `threshold`.

    Attributes:
        pairs: training images.
        judge: classifier from crops `(N, 3, patch, patch)` in `[0, 1]` to vectors `(N, classes)`; it sees LR crops
            as they are, neither turned nor mirrored.
        threshold: least cosine of two crops that match; one that nothing reaches, such as 2, takes any two of an image.
    """

    pairs: Pairs
    judge: Callable[[Tensor], Tensor]
    threshold: float = 0.5

    @property
    def scale(self) -> int:
        """Large per small pixel."""
        return self.pairs.scale

    def digest(self) -> str:
        """The sha256 of all pixels, see `Pairs.digest`."""
        return self.pairs.digest()

    def batch(
        self,
        count: int,
        patch: int,
        generator: torch.Generator,
        *,
        colours: bool = True,
        part: slice | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`count` references, then their queries in the same order: twice as many crops as `Pairs.batch` gives.

        Either crop of a pair may be the reference. Both are turned, mirrored and coloured alike. `part` says which of
        the pairs are wanted; what is drawn does not depend on it.
        """
        which, first, second = self._places(count, patch, generator)
        swap = torch.rand(count, generator=generator)[:, None] < 0.5
        first, second = torch.where(swap, second, first), torch.where(swap, first, second)
        flips, order = self.pairs.turns(count, generator, colours=colours)
        wanted = part or slice(None)
        places = torch.cat([first[wanted], second[wanted]])
        which, flips, order = (torch.cat([item[wanted]] * 2) for item in (which, flips, order))
        return self.pairs.cut(which, places, patch, flips, order)

    def batches(
        self, steps: range, seed: int, count: int, patch: int, *, colours: bool = True, part: slice | None = None
    ) -> Generator[tuple[Tensor, Tensor]]:
        """The batch of each step, see `Pairs.batches`."""
        draw = partial(self.batch, count, patch, colours=colours, part=part)
        return drawn(draw, steps, seed, apart=self.pairs.apart)

    @torch.no_grad()
    def _places(self, count: int, patch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Images, and two places in each."""
        which, first = self.pairs.places(count, patch, generator)
        second = self.pairs.within(which, patch, generator)
        if self.threshold > 1:
            return which, first, second
        vectors, open_ = self._vectors(which, first, patch), torch.arange(count)
        for attempt in range(1, TRIES * ROUNDS):
            cosine = F.cosine_similarity(vectors[open_], self._vectors(which[open_], second[open_], patch))
            open_ = open_[cosine < self.threshold]
            if not len(open_):
                break
            if attempt % TRIES == 0:
                which[open_], first[open_] = self.pairs.places(len(open_), patch, generator)
                vectors[open_] = self._vectors(which[open_], first[open_], patch)
            second[open_] = self.pairs.within(which[open_], patch, generator)
        return which, first, second

    def _vectors(self, which: Tensor, where: Tensor, patch: int) -> Tensor:
        return self.judge(self.pairs.look(which, where, patch)).cpu()


def small_images(pairs: Pairs, count: int) -> Iterator[Tensor]:
    """At most `count` of the LR images, `(h, w, 3)` uint8, evenly over the set; each as it is."""
    areas = pairs.sizes.prod(1)
    starts = (areas.cumsum(0) - areas).tolist()
    for k in range(0, len(starts), -(-len(starts) // count)):
        height, width = pairs.sizes[k].tolist()
        yield pairs.small[starts[k] : starts[k] + height * width].view(height, width, 3).cpu()
