"""Upscaling patch by patch as the papers on patch-adaptive quantization do, and what each patch cost.

CADyQ, CABM and RefQSR cut an image into overlapping patches, upscale each alone and put them together without blending
(`sharpbit.twopass.patches`); a network that chooses its bits chooses them for each patch. Image-wise is one patch.
Networks in two passes, and pairs, cut images themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from sharpbit.errors import UsageError
from sharpbit.measure.upscaling import Pixels, eight_bits
from sharpbit.runtime import Counting, Piece, Runtime
from sharpbit.runtime._twopass import TwoPassRuntime
from sharpbit.system.progress import Progress
from sharpbit.twopass.patches import grid, merge

OVERLAP = 6  # small pixels that neighbouring patches share in the papers
FEW = ("query", "small")  # roles of patches that cost less


@dataclass(frozen=True)
class Cut:
    """How images are cut: patches of `patch` small pixels, one every `step`."""

    patch: int
    step: int


@dataclass(frozen=True)
class Cost:
    """What an image cost, or on average the images of a set. What the engine cannot tell is None.

    Attributes:
        patches: How many there were.
        pixels: Small ones of all patches.
        fqr: Feature quantization rate, as published: the mean over patches of the mean over rounded activations. In two
            passes each patch counts by its pixels, as in the tables of RefQSR.
        feature_bits: Average feature bits, all layers counted, see `sharpbit.runtime.TileCost`.
        macs: Multiply-accumulate operations; in two passes with those of the classifier.
        bitops: BitOPs by the honest rule.
        published: BitOPs by the papers' rule; None where there is none.
        queries: The share of the pixels of all patches that lie in queries in two passes; in a pair that of the small
            network; None for other networks.
    """

    patches: float
    pixels: float
    fqr: float | None = None
    feature_bits: float | None = None
    macs: float | None = None
    bitops: float | None = None
    published: float | None = None
    queries: float | None = None

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> Cost:
        """The cost of one image."""
        sizes = np.array([one.patch.pixels for one in pieces], np.float64)
        routed = any(one.role for one in pieces)
        queries = float(sizes[[one.role in FEW for one in pieces]].sum() / sizes.sum()) if routed else None
        spent = [one.spent for one in pieces if one.spent is not None]
        if not spent:
            return cls(len(pieces), float(sizes.sum()), queries=queries)
        rule = [one.published for one in spent if one.published is not None]
        bits = np.array([np.mean(one.bits) for one in spent])
        return cls(
            patches=len(pieces),
            pixels=float(sizes.sum()),
            fqr=float(np.average(bits, weights=sizes) if routed else bits.mean()),
            feature_bits=sum(one.feature_bits * one.pixels for one in spent) / float(sizes.sum()),
            macs=sum(one.macs for one in spent),
            bitops=sum(one.bitops for one in spent),
            published=sum(rule) if rule else None,
            queries=queries,
        )

    @classmethod
    def mean(cls, images: Sequence[Cost]) -> Cost:
        """The mean cost of a set; every image counts the same."""
        values = {item.name: [getattr(one, item.name) for one in images] for item in fields(cls)}
        means: dict[str, Any] = {name: None if None in own else float(np.mean(own)) for name, own in values.items()}
        return cls(**means)


def upscaled(
    runtime: Runtime | TwoPassRuntime,
    small: Pixels,
    cut: Cut | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[Pixels, list[Piece]]:
    """What a network makes of an image, patch by patch, clamped and rounded to 8 bits; and what each patch cost.

    Args:
        runtime: PyTorch can tell what a patch cost, other engines in general cannot.
        small: `(h, w, 3)` uint8.
        cut: None takes the whole image as one patch, or cuts as a file in two passes has it.
        progress: Called with the number of patches that are done since the last call.

    Raises:
        UsageError: A step that leaves gaps, or a network that takes one size of images only.
    """
    if isinstance(runtime, TwoPassRuntime):
        shared = None if cut is None else cut.patch - cut.step
        return runtime.counted_patches(small, patch=cut.patch if cut else None, shared=shared, progress=progress)
    if runtime.tile is not None:
        raise UsageError(f"this model takes {runtime.tile}x{runtime.tile} pixels only, and no patches of other sizes")
    height, width = small.shape[:2]
    cut = cut or Cut(max(height, width), max(height, width))
    x = small if runtime.samples == np.uint8 else small.astype(np.float32) / np.float32(255)
    patches = grid(height, width, cut.patch, cut.step)
    results, pieces = [], []
    for patch in patches:
        part = np.ascontiguousarray(patch.cut(x))
        out, cost = runtime.counted(part) if isinstance(runtime, Counting) else (next(iter(runtime([part]))), None)
        results.append(eight_bits(out))
        pieces.append(Piece(patch, cost))
        if progress:
            progress(1)
    return merge(patches, results, runtime.scale), pieces


def by(runtime: Runtime | TwoPassRuntime, cut: Cut | None = None) -> Callable[[Pixels], tuple[Pixels, Cost] | Pixels]:
    """`upscaled` as `sharpbit.measure.evaluate.evaluate` takes it: the image, and its cost where the engine counts."""

    def upscale(small: Pixels) -> tuple[Pixels, Cost] | Pixels:
        result, pieces = upscaled(runtime, small, cut)
        told = any(one.role or one.spent for one in pieces)
        return (result, Cost.of(pieces)) if told else result

    return upscale
