"""Finds out by trial which value means white to a network of somebody else, in its image and in its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError, UsageError

Samples = NDArray[Any]
WHITES = (1.0, 255.0)
FAR = 0.1  # how far the mean colours of a result may be from those of the image, where white is 1
NEAR = 0.05  # how far apart two trials are between which it is not clear
WAVE = 64  # pixels of the longest wave of the image of a trial
SAME = 1 / 512  # the results of both trials differ by less than rounding to bytes does


@dataclass(frozen=True)
class Whites:
    """What means white.

    Attributes:
        image: To the image.
        result: To the result.
        doubt: A sentence where a trial left it open; empty otherwise.
    """

    image: float
    result: float
    doubt: str = ""

    @property
    def words(self) -> str:
        """For people, such as `0 to 1`."""
        both = f"0 to {self.image:g}"
        return both if self.image == self.result else f"{both} in and 0 to {self.result:g} out"


def smooth_image(height: int, width: int) -> NDArray[np.float32]:
    """A smooth image `(h, w, 3)`, whose values lie between 0.3 and 0.7, with waves that are as long at every size."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / WAVE
    waves = [0.5 + 0.2 * np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((1, 2), (2, -1), (3, 1))]
    return np.stack(waves, -1).astype(np.float32)


def whites(run: Callable[[Samples], Samples], name: str, image: NDArray[np.float32], scale: int) -> Whites:
    """Try a network with values from 0 to 1 and from 0 to 255.

    Args:
        run: `(h, w, 3)` to `(h * scale, w * scale, 3)`, no value scaled.
        name: The name of the file, for errors.
        image: What is tried, `(h, w, 3)` in `[0, 1]`.
        scale: The upscaling factor.

    Raises:
        ModelError: Neither gives back the colours of the image.
    """
    height, width = image.shape[:2]
    errors, results = {}, []
    for white in WHITES:
        out = np.asarray(run(image * np.float32(white)), np.float64)
        results.append(out / white)
        small = out.reshape(height, scale, width, scale, 3).mean((1, 3))
        for result in WHITES:
            value = float(np.abs(small / result - image).mean())
            errors[white, result] = value if np.isfinite(value) else np.inf
    best = min(product(WHITES, WHITES), key=lambda both: errors[both])
    if errors[best] > FAR:
        raise ModelError(
            f"{name} does not give back the colours of a test image, neither for values 0 to 1 nor for 0 to 255; it"
            " is no plain RGB upscaler; --range 1 or --range 255 takes it nevertheless"
        )
    if errors[1.0, 1.0] > errors[best] + NEAR:
        return Whites(*best)
    if errors[255.0, 255.0] > errors[1.0, 1.0] + NEAR or float(np.abs(results[0] - results[1]).max()) < SAME:
        return Whites(1.0, 1.0)
    return Whites(
        1.0,
        1.0,
        f"by trial {name} could take values 0 to 1 as well as 0 to 255; 0 to 1 is taken, and --range 255 takes the"
        " other",
    )


def stated(white: str | float | Sequence[float]) -> tuple[float, float]:
    """What means white in the image and in the result: one number, or both, as `1:255`.

    Raises:
        UsageError: It is none of these.
    """
    text = white if isinstance(white, str) else ":".join(map(str, white if isinstance(white, Sequence) else [white]))
    image, _, result = text.partition(":")
    try:
        both = float(image), float(result or image)
    except ValueError:
        both = 0.0, 0.0
    if not all(0 < value <= 65535 for value in both):
        raise UsageError(
            "a range is the value of white, 1 or 255, or that of the image and that of the result, as 1:255, not"
            f" {text}"
        )
    return both
