"""Transparency without fringes: colours for invisible pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BAND = 512
_REACH = 16  # pixels around one that is seen, into which a network lets its colour bleed
_FAINT = 16  # times that alpha nearby is higher: what lies under it is taken for junk


def fill(pixels: NDArray[np.generic], alpha: NDArray[np.generic]) -> NDArray[np.generic]:
    """`pixels` `(H, W, C)` with the colour of transparent pixels taken from visible ones nearby.

    Whatever an editor left under transparency (often black) would bleed into the visible edge when a network
    upscales it. That goes for pixels that nobody sees, and for those that are hardly seen beside others: their alpha
    is a sixteenth or less of the highest nearby. Colours come from the eight neighbours, and farther away from a
    pyramid of means weighted by alpha.

    Args:
        pixels: The pixels, of any type of sample.
        alpha: `(H, W)`; zero is invisible.

    Returns:
        a new array of the same type; `pixels` itself where nothing is hidden, or everything is.
    """
    hidden = _hidden(alpha)
    if not hidden.any() or hidden.all():
        return pixels
    faint = alpha.max() // _FAINT if alpha.dtype.kind == "u" else alpha.max() / _FAINT
    alpha = np.where(alpha <= faint, alpha.dtype.type(0), alpha)  # no colour comes from junk that lies farther away
    levels = [_halved(pixels.astype(np.float32) if pixels.size < 1 << 22 else pixels, alpha)]
    while min(levels[-1][1].shape) > 1 and (levels[-1][1] == 0).any():
        levels.append(_halved(*levels[-1]))
    colour = levels.pop()[0]
    while levels:
        finer, weight = levels.pop()
        colour = np.where((weight > 0)[..., None], finer, _doubled(colour, weight.shape))
    out = pixels.copy()
    for top in range(0, len(out), _BAND):
        rows = slice(top, top + _BAND)
        if not hidden[rows].any():
            continue
        near, weight = _around(pixels, alpha, top, min(len(out), top + _BAND))
        far = _doubled(colour[top // 2 : (top + _BAND) // 2 + 1], hidden[rows].shape)
        under = np.where(weight[..., None] > 0, near, far)
        if np.issubdtype(out.dtype, np.integer):
            under = np.rint(under)
        out[rows][hidden[rows]] = under[hidden[rows]].astype(out.dtype)
    return out


def _hidden(alpha: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels are invisible, or hardly seen beside what is near."""
    hidden = np.zeros(alpha.shape, np.bool_)
    most = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    for top in range(0, len(alpha), _BAND):
        rows, low = alpha[top : top + _BAND], max(0, top - _REACH)
        if rows.min() > most / _FAINT:
            continue
        high = _highest(_highest(alpha[low : top + _BAND + _REACH]).T).T[top - low :][: len(rows)]
        hidden[top : top + _BAND] = rows <= (high // _FAINT if rows.dtype.kind == "u" else high / _FAINT)
    return hidden


def _highest(x: NDArray[Any]) -> NDArray[Any]:
    """The highest of each value and those up to `_REACH` rows above and below it."""
    for step in (1, 2, 4, 8, 1):  # windows of 1, 2, 4 ... rows on each side: 16 together
        wider = x.copy()
        np.maximum(wider[step:], x[:-step], out=wider[step:])
        np.maximum(wider[:-step], x[step:], out=wider[:-step])
        x = wider
    return x


def _around(
    pixels: NDArray[np.generic], alpha: NDArray[np.generic], top: int, bottom: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For rows `top` to `bottom`: the mean colour of each 3x3 neighbourhood, weighted by alpha, and that weight."""
    low, high = max(0, top - 1), min(len(pixels), bottom + 1)
    missing = ((low - top + 1, bottom + 1 - high), (1, 1))
    cover = np.pad(alpha[low:high].astype(np.float32), missing)[..., None]
    covered = np.pad(pixels[low:high].astype(np.float32), (*missing, (0, 0))) * cover
    shape = (bottom - top, pixels.shape[1])
    colour, weight = np.zeros((*shape, pixels.shape[2]), np.float32), np.zeros((*shape, 1), np.float32)
    for dy in range(3):
        for dx in range(3):
            part = slice(dy, dy + shape[0]), slice(dx, dx + shape[1])
            colour += covered[part]
            weight += cover[part]
    colour /= np.maximum(weight, np.finfo(np.float32).tiny)
    return colour, weight[..., 0]


def _halved(
    colour: NDArray[np.generic], weight: NDArray[np.generic]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of each 2x2 block weighted by `weight`, and the mean weight; in bands of rows, to bound the memory."""
    height, width = (weight.shape[0] + 1) // 2, (weight.shape[1] + 1) // 2
    out = np.zeros((height, width, colour.shape[2]), np.float32)
    total = np.zeros((height, width), np.float32)
    for top in range(0, weight.shape[0], _BAND):
        w = weight[top : top + _BAND].astype(np.float32)
        c = colour[top : top + _BAND].astype(np.float32) * w[..., None]
        edge = ((0, w.shape[0] % 2), (0, w.shape[1] % 2))
        w, c = np.pad(w, edge), np.pad(c, (*edge, (0, 0)))
        w = w.reshape(w.shape[0] // 2, 2, -1, 2).sum((1, 3))
        c = c.reshape(w.shape[0], 2, w.shape[1], 2, -1).sum((1, 3))
        rows = slice(top // 2, top // 2 + len(w))
        out[rows] = c / np.maximum(w, np.finfo(np.float32).tiny)[..., None]
        total[rows] = w / 4
    return out, total


def _doubled(colour: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return colour.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]]
