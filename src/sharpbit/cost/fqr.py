"""FQR, the feature quantization rate: mean bits of the rounded activations, where patches or layers differ.

CADyQ (Hong et al., ECCV 2022) calls it so; CABM (Tian et al., CVPR 2023) says FAB, feature average bit-width. Each
patch and each layer counts the same, whatever its size, and then each image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import UsageError


def of_patches(bits: NDArray[Any]) -> NDArray[np.float64]:
    """Mean bits of each patch, `(N,)`, from those that each layer used in it, `(N, layers)`.

    Raises:
        UsageError: no patch or no layer.
    """
    bits = np.asarray(bits, np.float64)
    if bits.ndim != 2 or not bits.size:
        raise UsageError(f"the bits of patches are a table of patches and layers, not of the shape {bits.shape}")
    return np.asarray(bits.mean(1))


def of_image(bits: NDArray[Any]) -> float:
    """FQR of an image: the mean over its patches."""
    return float(of_patches(bits).mean())


def of_set(images: Sequence[NDArray[Any]]) -> float:
    """FQR of a set of images: the mean over them, however many patches each has.

    Raises:
        UsageError: no image.
    """
    if not images:
        raise UsageError("there is no FQR of no images")
    return float(np.mean([of_image(bits) for bits in images]))
