"""Batches that are drawn by the number of their step, and where it pays a little ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

AHEAD = 2  # batches that are cut beforehand


def drawn(
    batch: Callable[[torch.Generator], tuple[Tensor, Tensor]], steps: range, seed: int, *, apart: bool
) -> Generator[tuple[Tensor, Tensor]]:
    """What `batch` gives for each step, with random numbers that `seed` and the number of the step alone decide.

    Args:
        batch: function that draws a batch with a random generator.
        steps: numbers of the steps.
        seed: number that decides all batches.
        apart: whether the next batches are drawn in a thread meanwhile.
    """

    def draw(step: int) -> tuple[Tensor, Tensor]:
        return batch(torch.Generator().manual_seed(seed * 1_000_003 + step))

    if not apart:
        yield from map(draw, steps)
        return
    with ThreadPoolExecutor(1, "crops") as pool:
        ahead = deque(pool.submit(draw, step) for step in steps[:AHEAD])
        for step in steps:
            if step + AHEAD < steps.stop:
                ahead.append(pool.submit(draw, step + AHEAD))
            yield ahead.popleft().result()
