"""The samples of tiles are those that an engine says; others would be taken for values of another range."""

from __future__ import annotations

import numpy as np

from sharpbit.errors import UsageError
from sharpbit.runtime import Runtime, Samples

_WORDS = {"uint8": "bytes (uint8)", "float32": "float32 samples from 0 to 1"}


def check_samples(runtime: Runtime, tile: Samples) -> None:
    """Look at the type of a tile that an engine was given.

    Args:
        runtime: The engine.
        tile: The tile.

    Raises:
        UsageError: It is another one than `runtime.samples`.
    """
    wanted = np.dtype(runtime.samples)
    if tile.dtype != wanted:
        raise UsageError(
            f"{runtime.engine} takes {_WORDS[wanted.name]} for this file, as its attribute samples says, and the tile"
            f" has {tile.dtype}; convert it, or call sharpbit.upscale, which takes either"
        )
