"""What happens to images before people have them: blur, resizing, sensor noise and lossy compression, at random.

A small image is made of a large one by filters that keep both aligned, so that a network can be trained to give the
large image back.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Bytes = NDArray[np.uint8]

FILTERS = (
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
    Image.Resampling.HAMMING,
    Image.Resampling.BILINEAR,
)


@dataclass(frozen=True)
class Kind:
    """How strongly images of a family are degraded.

    Attributes:
        clean: share of images that are only resized, by bicubic.
        filters: weights of `FILTERS`.
        blur: share of images that are blurred, before they are resized.
        sigma: largest standard deviation of the blur, in pixels of the small image.
        noise: share of images with noise.
        deviation: largest standard deviation of the noise, in levels of 255.
        lossy: share of images that are compressed.
        quality: range of the JPEG quality.
        again: share of the compressed images that were compressed once before.
        webp: share of compressions that are WebP.
    """

    clean: float = 0.1
    filters: Sequence[float] = (4, 2, 1.5, 1, 1)
    blur: float = 0.35
    sigma: float = 0.9
    noise: float = 0.35
    deviation: float = 10.0
    lossy: float = 0.85
    quality: tuple[int, int] = (40, 95)
    again: float = 0.25
    webp: float = 0.12


KINDS = {
    "clean": Kind(clean=1.0),
    "photo": Kind(),
    "mild": Kind(clean=0.05, blur=0.1, sigma=0.5, noise=0.15, deviation=4.0, lossy=1.0, quality=(60, 95), again=0.1),
    "art": Kind(clean=0.25, blur=0.15, sigma=0.6, noise=0.05, deviation=3.0, lossy=0.5, quality=(50, 98), again=0.15),
}


def degraded(image: Bytes, scale: int, kind: Kind, rng: np.random.Generator) -> Bytes:
    """A small image for a large one.

    Args:
        image: `(H, W, 3)`, both sides multiples of `scale`.
        scale: large pixels for a small one.
        kind: how strongly it is degraded.
        rng: decides what happens.
    """
    height, width = image.shape[0] // scale, image.shape[1] // scale
    large = Image.fromarray(image)
    if rng.random() < kind.clean:
        return np.asarray(resized(large, (width, height), Image.Resampling.BICUBIC))
    if rng.random() < kind.blur:
        large = large.filter(ImageFilter.GaussianBlur(scale * rng.uniform(0.2, kind.sigma)))
    lossy = rng.random() < kind.lossy
    if lossy and rng.random() < kind.again:  # an earlier generation, often of another size
        ratio = rng.uniform(1.0, scale) if scale > 1 and rng.random() < 0.7 else 1.0
        large = resized(large, (round(width * ratio), round(height * ratio)), _filter(kind, rng))
        if rng.random() < kind.noise:
            large = noisy(large, rng.uniform(0.5, kind.deviation), rng)
        large = _compressed(large, kind, rng)
        return np.asarray(_compressed(resized(large, (width, height), _filter(kind, rng)), kind, rng))
    has_noise, late = rng.random() < kind.noise, rng.random() < 0.6
    deviation = rng.uniform(0.5, kind.deviation)
    if has_noise and not late:  # the noise of a sensor that has more pixels, which resizing correlates
        large = noisy(large, min(scale * deviation, 25.0), rng)
    small = resized(large, (width, height), _filter(kind, rng))
    if has_noise and late:
        small = noisy(small, deviation, rng)
    return np.asarray(_compressed(small, kind, rng) if lossy else small)


def resized(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """An image of another size, antialiased, its edges aligned."""
    return image if image.size == size else image.resize(size, resample)


def noisy(image: Image.Image, deviation: float, rng: np.random.Generator) -> Image.Image:
    """An image with the noise of a sensor: `deviation` levels at middle grey, less in the dark, some of it coloured."""
    values = np.asarray(image, np.float32)
    shape = values.shape[:2]
    shot = rng.uniform(0, 1)
    strength = deviation * np.sqrt((1 - shot) + shot * values / 128 + 0.02)
    coloured = rng.uniform(0, 1)
    grain = (1 - coloured) * rng.standard_normal((*shape, 1), np.float32)
    grain = grain + coloured * rng.standard_normal((*shape, 3), np.float32)
    grain /= np.hypot(coloured, 1 - coloured)
    return Image.fromarray(np.clip(np.rint(values + strength * grain), 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int, *, subsampling: str = "4:2:0") -> Image.Image:
    """An image after JPEG compression."""
    return _through(image, "JPEG", quality=quality, subsampling=subsampling)


def webp(image: Image.Image, quality: int) -> Image.Image:
    """An image after lossy WebP compression."""
    return _through(image, "WEBP", quality=quality, method=2)


def _compressed(image: Image.Image, kind: Kind, rng: np.random.Generator) -> Image.Image:
    quality = int(rng.integers(kind.quality[0], kind.quality[1] + 1))
    if rng.random() < kind.webp:
        return webp(image, quality)
    return jpeg(image, quality, subsampling="4:2:0" if rng.random() < 0.7 else "4:4:4")


def _filter(kind: Kind, rng: np.random.Generator) -> Image.Resampling:
    weights = np.asarray(kind.filters, float)
    return FILTERS[int(rng.choice(len(FILTERS), p=weights / weights.sum()))]


def _through(image: Image.Image, form: str, **options: object) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")
