"""Upscaling patch by patch as the papers on patch-adaptive quantization do, and what each patch cost.

CADyQ, CABM and RefQSR cut an image into overlapping patches, upscale each alone and put them together without blending
(`sharpbit.twopass.patches`); a network that chooses its bits chooses them for each patch. Image-wise is one patch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sharpbit.errors import UsageError
from sharpbit.measure.upscaling import Pixels, eight_bits
from sharpbit.runtime import Counting, Runtime, Spent
from sharpbit.twopass.patches import Patch, grid, merge

OVERLAP = 6  # small pixels that neighbouring patches share in the papers


@dataclass(frozen=True)
class Cut:
    """How images are cut: patches of `patch` small pixels, one every `step`."""

    patch: int
    step: int


@dataclass(frozen=True)
class Cost:
    """What an image cost, or on average the images of a set.

    Attributes:
        patches: how many there were.
        pixels: small ones of all patches.
        fqr: feature quantization rate, as published: the mean over patches of the mean over rounded activations.
        feature_bits: average feature bits, all layers counted, see `sharpbit.runtime.Spent`.
        macs: multiply-accumulate operations.
        bitops: by the honest rule.
        published: BitOPs by the papers' rule; None where there is none.
    """

    patches: float
    pixels: float
    fqr: float
    feature_bits: float
    macs: float
    bitops: float
    published: float | None

    @classmethod
    def of(cls, patches: Sequence[Spent]) -> Cost:
        """Of one image."""
        pixels = sum(one.pixels for one in patches)
        rule = [one.published for one in patches if one.published is not None]
        return cls(
            patches=len(patches),
            pixels=pixels,
            fqr=float(np.mean([np.mean(one.bits) for one in patches])),
            feature_bits=sum(one.feature_bits * one.pixels for one in patches) / pixels,
            macs=sum(one.macs for one in patches),
            bitops=sum(one.bitops for one in patches),
            published=sum(rule) if rule else None,
        )

    @classmethod
    def mean(cls, images: Sequence[Cost]) -> Cost:
        """Of a set; every image counts the same."""
        rule = [one.published for one in images if one.published is not None]
        names = ("patches", "pixels", "fqr", "feature_bits", "macs", "bitops")
        means = {name: float(np.mean([getattr(one, name) for one in images])) for name in names}
        return cls(**means, published=float(np.mean(rule)) if rule else None)


def upscaled(
    runtime: Runtime, small: Pixels, cut: Cut | None = None, *, progress: Callable[[int], object] | None = None
) -> tuple[Pixels, list[tuple[Patch, Spent | None]]]:
    """What a network makes of an image, patch by patch, clamped and rounded to 8 bits; and what each patch cost.

    Args:
        runtime: that of PyTorch can tell what a patch cost, others cannot: None.
        small: `(h, w, 3)` uint8.
        cut: None takes the whole image as one patch.
        progress: called with 1 after each patch.

    Raises:
        UsageError: a step that leaves gaps, or a network that takes one size of images only.
    """
    if runtime.tile is not None:
        raise UsageError(f"this model takes {runtime.tile}x{runtime.tile} pixels only, and no patches of other sizes")
    height, width = small.shape[:2]
    cut = cut or Cut(max(height, width), max(height, width))
    x = small if runtime.samples == np.uint8 else small.astype(np.float32) / np.float32(255)
    patches = grid(height, width, cut.patch, cut.step)
    results, spent = [], []
    for patch in patches:
        piece = np.ascontiguousarray(patch.cut(x))
        out, cost = runtime.counted(piece) if isinstance(runtime, Counting) else (next(iter(runtime([piece]))), None)
        results.append(eight_bits(out))
        spent.append(cost)
        if progress:
            progress(1)
    return merge(patches, results, runtime.scale), list(zip(patches, spent, strict=True))


def by(runtime: Runtime, cut: Cut | None = None) -> Callable[[Pixels], tuple[Pixels, Cost] | Pixels]:
    """`upscaled` as `sharpbit.measure.evaluate.evaluate` takes it: the image, and its cost where the engine tells."""

    def upscale(small: Pixels) -> tuple[Pixels, Cost] | Pixels:
        result, patches = upscaled(runtime, small, cut)
        spent = [one for _, one in patches if one is not None]
        return (result, Cost.of(spent)) if spent else result

    return upscale
