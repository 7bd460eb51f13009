"""Before and after, side by side."""

from __future__ import annotations

import numpy as np

from sharpbit.image.resize import resize
from sharpbit.pipeline.samples import Array, to_float, to_samples

SECONDS = 4  # of a preview


def side_by_side(before: Array, after: Array) -> Array:
    """A frame resized by bicubic to the size of its result, and that result beside it."""
    height, width = after.shape[:2]
    resized = to_samples(resize(to_float(before), height, width), after.dtype)
    resized[:, -2:] = np.iinfo(after.dtype).max  # a white line between them
    return np.concatenate([resized, after], axis=1)
