"""Tiles that are drawn: flat fills, thin lines, edges of two tones, words and windows, antialiased; and cut photos."""

from __future__ import annotations

import glob
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FINE = 4  # drawn as many times larger, then shrunk by a box filter
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?()-+=%&$@#/äöüßéèçñ"


@cache
def fonts() -> list[str]:
    """Fonts of this machine that Pillow can draw with."""
    paths = sorted(glob.glob("/usr/share/fonts/**/*.[ot]tf", recursive=True))
    return [path for path in paths if "Emoji" not in path] or [""]


def colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """A colour: often white, black or saturated."""
    which = rng.random()
    if which < 0.2:
        return (255, 255, 255)
    if which < 0.35:
        return (0, 0, 0)
    if which < 0.55:
        return tuple(int(value) for value in rng.integers(0, 2, 3) * 255)  # type: ignore[return-value]
    if which < 0.65:
        grey = int(rng.integers(256))
        return (grey, grey, grey)
    return tuple(int(value) for value in rng.integers(0, 256, 3))  # type: ignore[return-value]


def drawing(side: int, rng: np.random.Generator) -> np.ndarray:
    """A square drawing, `(side, side, 3)`."""
    fine = side * FINE
    image = Image.new("RGB", (fine, fine), colour(rng))
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        _page(pen, fine, rng)
    else:
        for _ in range(int(rng.integers(1, 14))):
            _shape(pen, fine, rng)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def window(side: int, scale: int, rng: np.random.Generator) -> np.ndarray:
    """A square piece of a screen, `(side, side, 3)`: panels with thin lines, words, buttons and round icons.

    Words are as large as they are to be read in the image that is `scale` times smaller.
    """
    fine = side * FINE
    image = Image.new("RGB", (fine, fine))
    pen = ImageDraw.Draw(image)
    cuts = sorted(int(cut) * FINE for cut in rng.integers(0, side, int(rng.integers(1, 4))))
    for left, right in zip([0, *cuts], [*cuts, fine], strict=True):
        _panel(pen, fine, left, right, scale, rng)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def _panel(pen: ImageDraw.ImageDraw, fine: int, left: int, right: int, scale: int, rng: np.random.Generator) -> None:
    """Rows of words between two columns of a window, over what is to their right."""
    thin = FINE * scale / 2
    pale = tuple(int(value) for value in rng.integers(215, 244) + rng.integers(0, 12, 3))
    dark = tuple(int(value) for value in rng.integers(8, 90) + rng.integers(0, 12, 3))
    pale, dark = (pale, dark) if rng.random() < 0.7 else ((255, 255, 255), (0, 0, 0))
    paper, ink = (pale, dark) if rng.random() < 0.7 else (dark, pale)
    pen.rectangle((left, 0, fine, fine), fill=paper)
    size = thin * float(rng.uniform(10, 36))
    path = fonts()[int(rng.integers(len(fonts())))]
    font = ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
    y, step = float(rng.uniform(-size, size)), size * float(rng.uniform(1.3, 3))
    while y < fine:
        words = " ".join("".join(rng.choice(list(LETTERS), int(rng.integers(2, 10)))) for _ in range(6))
        x, kind = left + float(rng.uniform(0.2, 2)) * size, rng.random()
        if kind < 0.15:
            pen.rounded_rectangle((x, y, x + 5 * size, y + 1.3 * size), size / 3, fill=colour(rng))
        elif kind < 0.3:
            pen.ellipse((x, y, x + size, y + size), fill=colour(rng))
            x += 1.3 * size
        pen.text((x, y), words, fill=ink if rng.random() < 0.8 else colour(rng), font=font)
        y += step
        if rng.random() < 0.4:
            line = tuple((3 * a + b) // 4 for a, b in zip(paper, ink, strict=True))
            pen.line((left, y, right, y), fill=line, width=int(thin * rng.choice([1, 2, 3])))


def _page(pen: ImageDraw.ImageDraw, fine: int, rng: np.random.Generator) -> None:
    """Lines of words in one font."""
    size = FINE * float(rng.uniform(9, 34))
    path = fonts()[int(rng.integers(len(fonts())))]
    font = ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
    ink, y = colour(rng), -float(rng.uniform(0, size))
    while y < fine:
        words = ("".join(rng.choice(list(LETTERS), int(rng.integers(1, 10)))) for _ in range(12))
        pen.text((float(-rng.uniform(0, size)), y), " ".join(words), fill=ink, font=font)
        y += size * float(rng.uniform(1.1, 1.6))
        if rng.random() < 0.15:
            ink = colour(rng)


def _shape(pen: ImageDraw.ImageDraw, fine: int, rng: np.random.Generator) -> None:
    """One filled or outlined shape."""
    ink, kind = colour(rng), rng.random()
    thickness = int(FINE * rng.choice([0.5, 1, 1.5, 2, 3, 5, 9]))
    points = [tuple(map(float, rng.uniform(-0.2, 1.2, 2) * fine)) for _ in range(int(rng.integers(3, 7)))]
    box = sorted(rng.uniform(-0.2, 1.2, 2) * fine), sorted(rng.uniform(-0.2, 1.2, 2) * fine)
    corners = (box[0][0], box[1][0], box[0][1], box[1][1])
    if kind < 0.25:
        pen.polygon(points, fill=ink)
    elif kind < 0.45:
        pen.ellipse(corners, fill=ink if rng.random() < 0.5 else None, outline=colour(rng), width=thickness)
    elif kind < 0.65:
        pen.rectangle(corners, fill=ink if rng.random() < 0.5 else None, outline=colour(rng), width=thickness)
    else:
        pen.line(points, fill=ink, width=thickness, joint="curve")


def leaves(photos: list[np.ndarray], side: int, rng: np.random.Generator) -> np.ndarray:
    """A square tile of pieces of photos that lie on each other, `(side, side, 3)`: hard edges between real textures.

    Source: Achddou et al., Synthetic images as a regularity prior for image restoration neural networks, 2021.
    """
    made = _piece(photos, side, rng)
    for _ in range(int(rng.integers(15, 60))):
        mask = Image.new("L", (side * FINE, side * FINE))
        reach = side * FINE * float(np.exp(rng.uniform(np.log(0.02), np.log(0.35))))
        middle, turn = rng.uniform(0, side * FINE, 2), rng.uniform(0, 2 * np.pi)
        corners = int(rng.choice([2, 3, 4, 5, 40]))  # 40 for what is round, 2 for a stroke
        angles = turn + np.arange(corners) * 2 * np.pi / corners
        stretch = rng.uniform(0.3, 1, (1, 2)) if corners > 2 else np.ones((1, 2))
        points = middle + stretch * reach * np.stack([np.cos(angles), np.sin(angles)], 1)
        pen = ImageDraw.Draw(mask)
        if corners == 2:
            pen.line([tuple(point) for point in points], fill=255, width=int(FINE * rng.uniform(1, 10)))
        else:
            pen.polygon([tuple(point) for point in points], fill=255)
        share = np.asarray(mask.resize((side, side), Image.Resampling.BOX), np.float32)[..., None] / 255
        made = made * (1 - share) + _piece(photos, side, rng) * share
    return np.rint(made).clip(0, 255).astype(np.uint8)


def _piece(photos: list[np.ndarray], side: int, rng: np.random.Generator) -> np.ndarray:
    """A part of a photo in other light, of the size of a tile."""
    photo = photos[int(rng.integers(len(photos)))]
    y, x = (int(rng.integers(max(1, length - side + 1))) for length in photo.shape[:2])
    part = photo[y : y + side, x : x + side].astype(np.float32)
    part = np.pad(part, [(0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0)], "symmetric")
    gain, wanted = rng.uniform(0.3, 1.1), (rng.uniform(10, 245) + rng.normal(0, 20, 3)).astype(np.float32)
    return (part - part.mean((0, 1))) * np.float32(gain) + wanted
