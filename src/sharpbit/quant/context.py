"""What the choice of bits for a patch may look at in the image itself."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sharpbit.errors import UsageError

GREY = (0.299, 0.587, 0.114)  # luma weights of ITU-R BT.601
SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))  # left to right; transposed: top to bottom
INTEGER_GREY = (9798, 19235, 3735)  # the same weights in OpenCV, times 2**15


def image_gradient(image: Tensor) -> Tensor:
    """How much each patch changes from left to right and from top to bottom: what the selectors of CADyQ get.

    It is the mean size of a Sobel filter's results (divided by 8, edge pixels repeated outside) on the grey image.
    CADyQ multiplies it by 1000 for EDSR, SRResNet and IDN, and not for CARN.

    Args:
        image: RGB in `[0, 1]`, `(N, 3, H, W)`.

    Returns:
        `(N, 2)`: horizontal, vertical.

    Source: `model/edsr_cadyq.py` of Cheeun/CADyQ, there by `spatial_gradient` of kornia.
    """
    grey = sum(weight * image[:, k : k + 1] for k, weight in enumerate(GREY))
    across = torch.tensor(SOBEL, dtype=image.dtype, device=image.device) / 8
    kernels = torch.stack([across, across.T])[:, None]
    return F.conv2d(F.pad(torch.as_tensor(grey), (1, 1, 1, 1), mode="replicate"), kernels).abs().mean((2, 3))


def edge_score(image: NDArray[np.uint8], *, released: bool = False) -> float:
    """How many edges a patch has: the score by which the tables of CABM are looked up (rounded to two digits there).

    It is the mean size, at most 255, of OpenCV's Laplacian (`ksize=3`, the image mirrored at the middle of its edge
    pixels) of the grey image, in integers as OpenCV computes them.

    Args:
        image: RGB, `(H, W, 3)`.
        released: do as the published program does, which makes every sample that is not 0 white before; only for
            tables that were made with it.

    Raises:
        UsageError: not such an image.

    Source: `model/edge.py` of Sheldon04/CABM-pytorch.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"an edge score is of a uint8 image (H, W, 3), not of {image.dtype} {image.shape}")
    if released:
        image = np.where(image > 0, np.uint8(255), np.uint8(0))
    return float(_laplacian(_grey(image)).mean())


def edge_scores(images: Tensor, released: Tensor) -> Tensor:
    """The same scores, by PyTorch and so that they can be exported: `(N,)` in float64.

    Args:
        images: RGB in `[0, 1]`, `(N, 3, H, W)`, which are rounded to bytes.
        released: Truth value of one element that says whether scores are those of the published program (`edge_score`).
    """
    pixels = (255 * images).round().clamp(0, 255).nan_to_num()
    pixels = torch.where(released, 255.0 * (pixels > 0), pixels)
    weighted = sum(weight * pixels[:, k : k + 1] for k, weight in enumerate(INTEGER_GREY))  # below 2^24, so exact
    grey = torch.floor((torch.as_tensor(weighted) + (1 << 14)) / (1 << 15))
    p = _mirrored(_mirrored(grey, 2), 3)
    corners = p[..., :-2, :-2] + p[..., :-2, 2:] + p[..., 2:, :-2] + p[..., 2:, 2:]
    return (2 * corners - 8 * grey).abs().clamp(max=255).double().mean((1, 2, 3))


def _mirrored(x: Tensor, axis: int) -> Tensor:
    """`x` with one more pixel at both ends of `axis`: its neighbour's neighbour, or itself where there is no other.

    Written as a choice of rows, because the mirrored edges of exported graphs refuse a side of one pixel.
    """
    index = torch.arange(-1, x.shape[axis] + 1, device=x.device)
    last = index[-1:] - 1
    return x.index_select(axis, torch.minimum(index.abs(), 2 * last - index).clamp(min=0).minimum(last))


def _grey(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    weighted = image.astype(np.int64) @ np.array(INTEGER_GREY, np.int64)
    return np.right_shift(weighted + (1 << 14), 15)


def _laplacian(grey: NDArray[np.int64]) -> NDArray[np.int64]:
    p = np.pad(grey, 1, mode="reflect")
    corners = p[:-2, :-2] + p[:-2, 2:] + p[2:, :-2] + p[2:, 2:]
    return np.asarray(np.minimum(np.abs(2 * corners - 8 * grey), 255))
