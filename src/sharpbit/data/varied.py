"""Crops as people have them: some are drawn, and most went through a lossy compression.

What quantizers find on photos alone is too narrow for text and line art, whose edges are harder than those of photos,
and says little of soft faint textures, such as grass in the distance: what distinguishes these is lost first.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sharpbit.data.degrade import jpeg

DRAWN = 3  # every third crop
LOSSY, QUALITY = 0.6, (50, 96)  # share of the crops that are compressed, and the range of JPEG's quality
SOFT, FAINT = (0.7, 1.3), (3.0, 18.0)  # pixels over which a texture is blurred, and its deviation in grey levels
GRAY, DARK, BRIGHT = 0.8, 40.0, 210.0  # share of a texture that is the same in all colours, and its colour
_LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789  .")

Colour = tuple[int, ...]


def varied(crops: Tensor, seed: int = 0) -> Tensor:
    """The crops `(N, 3, h, w)` uint8, every third replaced by a drawing, most of them compressed."""
    rng = np.random.default_rng(seed)
    found = []
    for number, crop in enumerate(crops.permute(0, 2, 3, 1).numpy()):
        image = Image.fromarray(np.ascontiguousarray(crop))
        if number % DRAWN == 0:
            image = drawing(image.size, rng)
        if rng.random() < LOSSY:
            image = jpeg(image, int(rng.integers(*QUALITY)))
        found.append(np.array(image))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()


def drawing(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Flat shapes, lines and text in a few colours, `size` being width and height."""
    width, height = size
    paper = _colour(rng) if rng.random() < 0.5 else (255, 255, 255)
    ink = (0, 0, 0) if sum(paper) > 380 else (255, 255, 255)
    image = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 5))):
        left, right = sorted(int(x) for x in rng.integers(-8, width + 8, 2))
        top, bottom = sorted(int(y) for y in rng.integers(-8, height + 8, 2))
        fill = _colour(rng) if rng.random() < 0.6 else ink
        match int(rng.integers(3)):
            case 0:
                draw.ellipse((left, top, right, bottom), fill=fill)
            case 1:
                draw.rectangle((left, top, right, bottom), fill=fill)
            case _:
                draw.line((left, top, right, bottom), fill=fill, width=int(rng.integers(1, 4)))
    for y in range(int(rng.integers(0, 8)), height, int(rng.integers(11, 20))):
        fill = _colour(rng) if rng.random() < 0.6 else ink
        font = ImageFont.load_default(float(rng.integers(8, 18)))
        draw.text((int(rng.integers(-20, 10)), y), "".join(rng.choice(_LETTERS, 14)), fill=fill, font=font)
    return image


def texture(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A soft faint texture, as of grass, cloth or sand: blurred noise around one colour, `(height, width, 3)` bytes."""
    noise = rng.standard_normal((3, size[1], size[0]))
    noise = GRAY * noise[:1] + (1 - GRAY) * noise
    across, down = np.fft.rfftfreq(size[0]), np.fft.fftfreq(size[1])
    blur = np.exp(-2 * (np.pi * rng.uniform(*SOFT)) ** 2 * (across**2 + down[:, None] ** 2))
    soft = np.fft.irfft2(np.fft.rfft2(noise) * blur, (size[1], size[0]))
    levels = rng.uniform(DARK, BRIGHT, 3)[:, None, None] + soft / soft.std() * rng.uniform(*FAINT)
    found: np.ndarray = np.rint(levels).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    return found


def textures(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """So many soft faint textures, `(count, 3, height, width)` uint8; `size` is width and height."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([texture(size, rng) for _ in range(count)])).permute(0, 3, 1, 2).contiguous()


def _colour(rng: np.random.Generator) -> Colour:
    return tuple(int(value) for value in rng.integers(0, 256, 3))
