"""Real images: photos degraded by fixed seeds, text pages and drawings made here; each an LR image and its HR image."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Pixels = np.ndarray
FONTS = Path("/usr/share/fonts/truetype/dejavu")
WORDS = (
    "The quick brown fox jumps over the lazy dog while 42 grey pixels wait in line. Upscaling must not tint the paper,"
    " nor thicken thin strokes; italics, commas and (brackets) stay sharp. Prices: $3.50, 17% off, 8x8 blocks. "
)


@dataclass(frozen=True)
class Case:
    """A small image, the true large one, and the names of the kind of degradation and of the image."""

    kind: str
    name: str
    small: Pixels
    large: Pixels


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _noise(image: Image.Image, deviation: float, seed: int) -> Image.Image:
    values = np.asarray(image, np.float32)
    grain = np.random.default_rng(seed).normal(0, deviation, values.shape)
    return Image.fromarray(np.clip(np.rint(values + grain), 0, 255).astype(np.uint8))


def _shrunk(image: Image.Image, scale: float) -> Image.Image:
    size = round(image.width / scale), round(image.height / scale)
    return image.resize(size, Image.Resampling.BICUBIC)


def _twice(image: Image.Image, scale: int, seed: int) -> Image.Image:
    """Two generations: a larger JPEG first, then the small one."""
    return _jpeg(_shrunk(_jpeg(_shrunk(image, scale / 1.5), 80), 1.5).resize(_shrunk(image, scale).size), 75)


def _blurred(image: Image.Image, scale: int) -> Image.Image:
    return _jpeg(_shrunk(image.filter(ImageFilter.GaussianBlur(0.8 * scale)), scale), 90)


PHOTO: dict[str, Callable[[Image.Image, int, int], Image.Image]] = {
    "clean": lambda image, scale, seed: _shrunk(image, scale),
    "jpeg90": lambda image, scale, seed: _jpeg(_shrunk(image, scale), 90),
    "jpeg80": lambda image, scale, seed: _jpeg(_shrunk(image, scale), 80),
    "jpeg60": lambda image, scale, seed: _jpeg(_shrunk(image, scale), 60),
    "blur": lambda image, scale, seed: _blurred(image, scale),
    "noise": lambda image, scale, seed: _jpeg(_noise(_shrunk(image, scale), 8, seed), 90),
    "twice": _twice,
}
DRAWN: dict[str, Callable[[Image.Image, int, int], Image.Image]] = {
    "png": PHOTO["clean"],
    "jpeg80": PHOTO["jpeg80"],
}


def photos(folder: Path, scale: int, limit: int, side: int) -> Iterator[Case]:
    """Every degradation of the photos in a folder, of each the middle, of `side` large pixels at the most."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg"))
    for seed, path in enumerate(paths[:: max(1, len(paths) // limit)][:limit]):
        image = Image.open(path).convert("RGB")
        width, height = (min(size, side) // 12 * 12 for size in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
        for kind, degrade in PHOTO.items():
            yield Case(f"photo {kind}", path.stem, np.asarray(degrade(image, scale, seed)), np.asarray(image))


def drawn(scale: int) -> Iterator[Case]:
    """Pages of text and drawings."""
    images = {f"page{size}": page(size, scale) for size in (10, 14, 20)} | {f"drawing{k}": drawing(k) for k in range(3)}
    for name, image in images.items():
        for kind, degrade in DRAWN.items():
            small = np.asarray(degrade(image, scale, 0))
            yield Case(f"{'text' if 'page' in name else 'drawing'} {kind}", name, small, np.asarray(image))


def page(size: int, scale: int) -> Image.Image:
    """A white page of black text, whose letters have `size` pixels in the small image."""
    image = Image.new("RGB", (768, 576), "white")
    pen = ImageDraw.Draw(image)
    y = 24.0
    for line in range(40):
        face = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf")[line // 4 % 3]
        font = ImageFont.truetype(str(FONTS / face), size * scale * 0.75)
        text = (WORDS * 3)[line * 23 : line * 23 + round(1500 / size / scale)]
        ink = "black" if line % 7 else (180, 20, 20)
        pen.text((24, y), text, fill=ink, font=font)
        y += size * scale * 1.1
        if y > 530:
            break
    return image


def drawing(number: int) -> Image.Image:
    """A drawing of flat fills and outlines, antialiased."""
    rng, fine = np.random.default_rng(1000 + number), 4
    image = Image.new("RGB", (480 * fine, 480 * fine), "white")
    pen = ImageDraw.Draw(image)
    palette = [(230, 60, 50), (40, 90, 200), (250, 210, 60), (30, 140, 70), (0, 0, 0), (240, 150, 180), (120, 80, 40)]
    for k in range(16):
        x, y = rng.uniform(40, 440, 2) * fine
        radius, ink = rng.uniform(15, 110) * fine, palette[int(rng.integers(len(palette)))]
        outline = int(fine * rng.choice([1, 2, 3]))
        corners = int(rng.integers(3, 8))
        turned = rng.uniform(0, 6.3)
        points = [
            (
                x + radius * math.cos(turned + 2 * math.pi * c / corners),
                y + radius * math.sin(turned + 2 * math.pi * c / corners),
            )
            for c in range(corners)
        ]
        if k % 3 == 0:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink, outline="black", width=outline)
        elif k % 3 == 1:
            pen.polygon(points, fill=ink, outline="black", width=outline)
        else:
            pen.line([*points, points[0]], fill=ink, width=outline, joint="curve")
    return image.resize((480, 480), Image.Resampling.BOX)
