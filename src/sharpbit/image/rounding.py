"""Sizes in whole pixels."""

from __future__ import annotations

import math

_SLACK = 1e-9  # what a product of floats may lack of the half that it stands for, such as 100 x 1.005


def half_up(pixels: float) -> int:
    """A size as a whole number: halves become the larger one, as people round, and not the even one.

    Args:
        pixels: The size, 0 or more.
    """
    return math.floor(pixels + 0.5 + _SLACK * max(1.0, pixels))
