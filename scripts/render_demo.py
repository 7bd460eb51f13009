"""Draw the demonstration image: an owl above a lake at dusk, and a town on a hill.

Everything is computed here from curves and polygons, so the image belongs to this repository and owes nobody
anything. It is drawn at three times the size of the upscaled image, averaged down to it, and then made four times
smaller just as the low-resolution images of the benchmarks are.

    python scripts/render_demo.py [OUT] [--truth LARGE.png]
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from sharpbit.image.resize import shrink

OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "demo.png"
WIDTH, HEIGHT = 1248, 832  # of the upscaled image, and the units of every coordinate below
SCALE = 4  # how many times smaller the demonstration image is
OVERSAMPLE = 3  # drawn samples per pixel of the upscaled image, along each side
SUN = (640.0, 392.0)
SHORE = 556.0  # where the lake begins

Point = tuple[float, float]
Colour = tuple[float, float, float]
Field = NDArray[np.float32]


# ---------------------------------------------------------------------------------------------- drawing in general


def mix(a: Sequence[float], b: Sequence[float], t: float) -> Colour:
    """The colour a share `t` of the way from `a` to `b`."""
    return tuple(p + (q - p) * t for p, q in zip(a, b, strict=True))  # type: ignore[return-value]


def bezier(*control: Point, n: int = 24) -> list[Point]:
    """`n + 1` points of a cubic curve, or of several in a row that share their end points."""
    points: list[Point] = [control[0]]
    for k in range(0, len(control) - 1, 3):
        a, b, c, d = control[k : k + 4]
        for i in range(1, n + 1):
            t = i / n
            u = 1 - t
            w = (u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t)
            points.append(tuple(w[0] * a[j] + w[1] * b[j] + w[2] * c[j] + w[3] * d[j] for j in (0, 1)))  # type: ignore
    return points


def turned(points: Iterable[Point], angle: float, about: Point = (0, 0), to: Point | None = None) -> list[Point]:
    """Points turned by `angle` (radians, clockwise on the screen) about one point, which then moves to `to`."""
    c, s = math.cos(angle), math.sin(angle)
    ox, oy = about
    tx, ty = about if to is None else to
    return [(tx + c * (x - ox) - s * (y - oy), ty + s * (x - ox) + c * (y - oy)) for x, y in points]


class Layer:
    """A transparent sheet to draw on, in units of the upscaled image."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (WIDTH * OVERSAMPLE, HEIGHT * OVERSAMPLE))
        self.pen = ImageDraw.Draw(self.image)

    def polygon(self, points: Iterable[Point], colour: Sequence[float]) -> None:
        """A filled shape."""
        self.pen.polygon([(x * OVERSAMPLE, y * OVERSAMPLE) for x, y in points], fill=_ink(colour))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Sequence[float]) -> None:
        """A filled ellipse."""
        s = OVERSAMPLE
        self.pen.ellipse(((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s), fill=_ink(colour))

    def stroke(
        self,
        points: Sequence[Point],
        width: float | Callable[[float], float],
        colour: Sequence[float],
        cap: bool = False,
    ) -> None:
        """A line along `points`; `width` may depend on the share of the way."""
        at = width if callable(width) else lambda _: width
        left, right = [], []
        last = len(points) - 1
        for i, (x, y) in enumerate(points):
            (x0, y0), (x1, y1) = points[max(i - 1, 0)], points[min(i + 1, last)]
            length = math.hypot(x1 - x0, y1 - y0) or 1.0
            half = at(i / last) / 2
            nx, ny = -(y1 - y0) / length * half, (x1 - x0) / length * half
            left.append((x + nx, y + ny))
            right.append((x - nx, y - ny))
        for i in range(last):  # piece by piece, so that a line that crosses itself has no holes
            self.polygon([left[i], left[i + 1], right[i + 1], right[i]], colour)
        if cap:
            for i, (x, y) in enumerate(points):
                half = at(i / last) / 2
                self.ellipse(x, y, half, half, colour)

    def flat(self) -> tuple[Field, Field]:
        """Colour `(H, W, 3)` and cover `(H, W, 1)` at the size of the upscaled image."""
        small = np.asarray(self.image.reduce(OVERSAMPLE), np.float32)
        return small[..., :3], small[..., 3:] / 255


class Canvas:
    """The upscaled image, as float colours from 0 to 255."""

    def __init__(self) -> None:
        self.y, self.x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32) + 0.5
        self.pixels = np.zeros((HEIGHT, WIDTH, 3), np.float32)

    def add(self, layer: Layer, shade: Callable[[Field, Field], Field] | None = None, opacity: float = 1.0) -> None:
        """Lay a sheet over what is there; `shade` may change its colours, given them and their cover."""
        colour, cover = layer.flat()
        if shade is not None:
            colour = np.clip(shade(colour, cover), 0, 255)
        self.pixels += cover * opacity * (colour - self.pixels)

    def glow(self, x: float, y: float, reach: tuple[float, float], colour: Sequence[float], strength: float) -> None:
        """Light that fades away from a point, over `reach` units across and down."""
        near = np.exp(-(((self.x - x) / reach[0]) ** 2) - ((self.y - y) / reach[1]) ** 2)[..., None]
        self.pixels += near * strength * (np.float32(colour) - self.pixels)


def _ink(colour: Sequence[float]) -> tuple[int, int, int, int]:
    r, g, b = (round(min(max(c, 0), 255)) for c in colour)
    return r, g, b, 255


def gradient(position: Field, stops: Sequence[tuple[float, Sequence[float]]]) -> Field:
    """Colours that change with `position` from stop to stop."""
    places = [p for p, _ in stops]
    return np.stack([np.interp(position, places, [c[k] for _, c in stops]) for k in range(3)], -1).astype(np.float32)


def soft(cover: Field, radius: float) -> Field:
    """A cover with blurred edges."""
    image = Image.fromarray(np.rint(cover[..., 0] * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32)[..., None] / 255


def lit(canvas: Canvas, rim: float, warm: Sequence[float] = (255, 186, 112), dx: int = 8, dy: int = 3) -> Callable:
    """A shade that lets the low sun catch the edges that look to the right."""

    def shade(colour: Field, cover: Field) -> Field:
        behind = np.roll(soft(cover, 5), (dy, -dx), (0, 1))
        return colour + rim * np.clip(1 - behind, 0, 1) * (np.float32(warm) - colour)

    return shade


# -------------------------------------------------------------------------------------------------- the background


def sky(canvas: Canvas) -> None:
    """Dusk, with the sun, clouds lit from below, and birds."""
    stops = (
        (0, (30, 50, 98)),
        (130, (66, 86, 138)),
        (260, (158, 122, 150)),
        (350, (232, 150, 128)),
        (440, (255, 196, 128)),
        (520, (255, 226, 164)),
    )
    canvas.pixels[:] = gradient(canvas.y, stops)
    canvas.glow(*SUN, (460, 170), (255, 190, 118), 0.5)
    canvas.glow(*SUN, (190, 130), (255, 232, 160), 0.75)

    rng = Random(5)
    streaks = Layer()
    for _ in range(34):
        y = 40 + 330 * rng.random() ** 0.8
        x, length = rng.uniform(-100, WIDTH), rng.uniform(140, 460)
        low = min(y / 380, 1)
        wave, thick = rng.uniform(3, 9), rng.uniform(3, 13)
        phase = rng.uniform(0, 6)
        line = [(x + length * t / 30, y + wave * math.sin(phase + t / 6) - t * 0.5) for t in range(31)]
        tint = (
            mix((128, 112, 158), (255, 178, 130), low)
            if rng.random() < 0.7
            else mix((90, 92, 140), (236, 128, 118), low)
        )
        streaks.stroke(line, lambda t, w=thick: w * math.sin(math.pi * t) ** 0.7, tint)
    canvas.add(streaks, opacity=0.55)

    disc = Layer()
    disc.ellipse(*SUN, 66, 66, (255, 244, 198))
    canvas.add(disc)
    for cx, cy, size, seed in ((905, 150, 1.0, 3), (560, 96, 0.72, 8), (1120, 246, 0.62, 13)):
        cloud(canvas, cx, cy, size, Random(seed))

    birds = Layer()
    for x, y, s in ((742, 252, 1.0), (786, 232, 0.8), (716, 222, 0.7), (826, 262, 0.66), (770, 282, 0.6)):
        for side in (-1, 1):
            wing = bezier(
                (x, y), (x + side * 8 * s, y - 12 * s), (x + side * 18 * s, y - 13 * s), (x + side * 30 * s, y - 3 * s)
            )
            birds.stroke(wing, lambda t, s=s: s * (6.2 - 5 * t), (66, 52, 88))
    canvas.add(birds)


def cloud(canvas: Canvas, cx: float, cy: float, size: float, rng: Random) -> None:
    """A heap of round puffs with a flat base, lit from below and from the side of the sun."""
    puffs = []
    for k in range(30):
        t = rng.uniform(-1, 1)
        r = (13 + 36 * (1 - t * t)) * rng.uniform(0.7, 1.1) * size
        puffs.append((cx + 150 * size * t, cy - r * (0.8 + (k % 3) * rng.uniform(0.1, 0.5)), r))
    puffs.sort(key=lambda p: p[1])
    layer = Layer()
    away = 1 if cx < SUN[0] else -1
    for x, y, r in puffs:
        for k in range(9):
            t = k / 8
            tint = mix(mix((136, 108, 154), (222, 150, 158), min(2 * t, 1)), (255, 196, 158), max(2 * t - 1, 0))
            layer.ellipse(x + away * r * 0.2 * t, y + r * 0.22 * t, r * (1 - 0.62 * t), r * (0.86 - 0.56 * t), tint)
    height = ((cy - 90 * size, (112, 100, 152)), (cy + 6 * size, (255, 200, 158)))
    canvas.add(layer, lambda c, _: c + 0.3 * (gradient(canvas.y, height) - c))


def ridge(rng: Random, base: float, rough: float, levels: int = 7) -> list[Point]:
    """The outline of a range of mountains, by halving again and again."""
    heights = [base + rng.uniform(-rough, rough) for _ in range(4)]
    for _ in range(levels):
        rough *= 0.52
        nearer = []
        for a, b in itertools.pairwise(heights):
            nearer += [a, (a + b) / 2 + rng.uniform(-rough, rough)]
        heights = [*nearer, heights[-1]]
    return [(-10 + (WIDTH + 20) * i / (len(heights) - 1), y) for i, y in enumerate(heights)]


def mountains(canvas: Canvas) -> None:
    """Three ranges, the farther the paler, with mist at their feet and a wood on the nearest."""
    ranges = ((21, 424, 60, (196, 134, 142)), (33, 474, 44, (142, 106, 138)), (46, 520, 26, (84, 78, 116)))
    for seed, base, rough, tint in ranges:
        rng = Random(seed)
        outline = ridge(rng, base, rough)
        layer = Layer()
        layer.polygon([*outline, (WIDTH + 10, SHORE + 8), (-10, SHORE + 8)], tint)
        if base == 520:
            for x, y in outline[::2]:
                for _ in range(2):
                    tx, h = x + rng.uniform(-4, 4), rng.uniform(13, 27)
                    shade = mix((52, 58, 88), (78, 76, 112), rng.random())
                    for k in range(3):
                        w, top = h * (0.13 + 0.08 * k), y + 5 - h * (1 - 0.28 * k)
                        layer.polygon([(tx - w, top + h * 0.45), (tx, top), (tx + w, top + h * 0.45)], shade)
        mist = gradient(canvas.y, ((base - rough, tint), (SHORE, mix(tint, (255, 206, 168), 0.55))))
        canvas.add(layer, lambda c, _, m=mist: 0.55 * c + 0.45 * m)
    canvas.glow(*SUN, (190, 130), (255, 210, 140), 0.34)


def lake(canvas: Canvas) -> None:
    """The sky upside down, darker, broken by ripples that widen towards the viewer."""
    rows = np.arange(int(SHORE), HEIGHT)
    mirrored = np.clip(2 * SHORE - rows * 1.0 - 0.35 * (rows - SHORE), 0, HEIGHT - 1).astype(int)
    deep = np.float32((34, 52, 92))
    share = np.interp(rows, (SHORE, HEIGHT), (0.22, 0.62)).astype(np.float32)[:, None, None]
    blurred = Image.fromarray(np.clip(canvas.pixels, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(7))
    seen = np.asarray(blurred, np.float32)[mirrored]
    canvas.pixels[rows] = seen + share * (deep - seen)
    path = np.exp(-(((canvas.x[rows] - SUN[0]) / np.interp(rows, (SHORE, HEIGHT), (62, 150))[:, None]) ** 2))
    canvas.pixels[rows] += 0.5 * path[..., None] * (np.float32((255, 196, 124)) - canvas.pixels[rows])
    rng = Random(77)
    ripples = Layer()
    y = SHORE + 3
    while y < HEIGHT:
        near = (y - SHORE) / (HEIGHT - SHORE)
        for _ in range(15):
            x, length = rng.uniform(-40, WIDTH), rng.uniform(16, 60) * (0.5 + 1.8 * near)
            warm = math.exp(-(((x + length / 2 - SUN[0]) / (60 + 120 * near)) ** 2))
            bright = rng.random() < 0.25 + 0.7 * warm
            tint = (
                mix((176, 130, 150), (255, 226, 160), warm)
                if bright
                else mix((54, 66, 108), (190, 124, 120), warm * 0.7)
            )
            thick = (1.6 + 6.5 * near) * rng.uniform(0.6, 1)
            line = [(x + length * t / 10, y + near * 2 * math.sin(t)) for t in range(11)]
            ripples.stroke(line, lambda t, w=thick: w * math.sin(math.pi * t), tint)
        y += 3.2 + 12 * near
    canvas.add(ripples, opacity=0.62)


def boat(canvas: Canvas, x: float, y: float, s: float) -> None:
    """A sailing boat with its rigging, and what the water gives back of it."""

    def at(px: float, py: float, mirror: bool = False) -> Point:
        return (x + s * px, y + s * (-0.7 * py if mirror else py))

    for mirror in (True, False):
        layer = Layer()
        hull = bezier((-46, -12), (-40, 6), (-30, 12), (-20, 12)) + bezier((26, 12), (40, 8), (50, -4), (58, -18))
        main = bezier((4, -148), (30, -104), (44, -64), (46, -26)) + bezier((46, -26), (30, -22), (16, -22), (4, -24))
        jib = bezier((-2, -136), (-20, -92), (-34, -56), (-44, -20)) + bezier(
            (-44, -20), (-28, -26), (-14, -26), (-3, -22)
        )
        for shape, tint in ((main, (250, 236, 214)), (jib, (236, 120, 84)), (hull, (94, 44, 46))):
            layer.polygon([at(*p, mirror) for p in shape], tint)
        for k in range(1, 6):
            h = -148 + 21 * k
            layer.stroke([at(4, h, mirror), at(10 + 7.2 * k, h + 8, mirror)], 1.6 * s, (206, 178, 160))
        layer.stroke([at(-44, -9, mirror), at(54, -14, mirror)], 4.2 * s, (246, 214, 170))
        layer.stroke([at(1, 0, mirror), at(1, -158, mirror)], 4.2 * s, (70, 44, 44))
        layer.stroke([at(2, -24, mirror), at(50, -25, mirror)], 3.2 * s, (70, 44, 44))
        for px, py in ((-50, -14), (58, -18)):
            layer.stroke([at(1, -157, mirror), at(px, py, mirror)], 1.8 * s, (82, 58, 64))
        flag = [*bezier((2, -158), (12, -164), (16, -152), (26, -157), (22, -153), (20, -150), (20, -147)), (2, -148)]
        layer.polygon([at(*p, mirror) for p in flag], (222, 62, 62))
        layer.ellipse(*at(24, -20, mirror), 5 * s, 5 * s, (238, 190, 150))
        layer.polygon([at(*p, mirror) for p in ((17, -14), (20, -17), (28, -17), (32, -14))], (52, 84, 132))
        canvas.add(layer, opacity=0.42 if mirror else 1)


# -------------------------------------------------------------------------------------------------------- the town


def tiled(layer: Layer, corner: Point, along: Point, down: Point, size: tuple[float, float], rng: Random) -> None:
    """A roof of overlapping rounded tiles on the parallelogram of `corner`, `along` and `down`."""
    long, tall = math.hypot(*along), math.hypot(*down)
    columns, rows = max(round(long / size[0]), 2), max(round(tall / size[1]), 2)

    def at(u: float, v: float) -> Point:
        u, v = min(max(u, 0), 1), min(v, 1.03)
        return corner[0] + u * along[0] + v * down[0], corner[1] + u * along[1] + v * down[1]

    layer.polygon([at(0, 0), at(1, 0), at(1, 1), at(0, 1)], (96, 46, 42))
    for row in reversed(range(rows)):
        for column in range(-1, columns + 1):
            u, v = (column + 0.5 * (row % 2)) / columns, row / rows
            du, dv = 1 / columns, 1 / rows
            if not -du < u < 1:
                continue
            tint = mix((176, 78, 56), (236, 138, 88), rng.random())
            if rng.random() < 0.08:
                tint = (146, 84, 76)
            for inset, paint in ((0.0, mix(tint, (58, 26, 32), 0.72)), (0.1, tint)):
                arc = []
                for k in range(9):
                    angle = math.pi * k / 8
                    arc.append(
                        at(
                            u + du * (0.5 + (0.5 - inset) * math.cos(angle)),
                            v + dv * (0.62 + (0.62 - 1.3 * inset) * math.sin(angle)),
                        )
                    )
                layer.polygon([at(u + du * inset, v - 0.2 * dv), at(u + du * (1 - inset), v - 0.2 * dv), *arc], paint)
            shine = [at(u + du * (0.34 + 0.04 * k), v + dv * (0.25 + 0.2 * k)) for k in range(4)]
            layer.stroke(shine, 0.1 * size[0], mix(tint, (255, 214, 160), 0.5))


def window(layer: Layer, x: float, y: float, w: float, h: float, rng: Random, shutters: Sequence[float]) -> None:
    """A window with bars, shutters and a sill; behind some there is light."""
    lamp = rng.random() < 0.45
    layer.polygon([(x - 2, y - 2), (x + w + 2, y - 2), (x + w + 2, y + h + 2), (x - 2, y + h + 2)], (246, 232, 210))
    layer.polygon([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], (255, 214, 110) if lamp else (60, 70, 104))
    bar = (150, 84, 40) if lamp else (214, 214, 220)
    layer.stroke([(x + w / 2, y), (x + w / 2, y + h)], 1.6, bar)
    layer.stroke([(x, y + h * 0.45), (x + w, y + h * 0.45)], 1.6, bar)
    for left in (x - 2 - w * 0.55, x + w + 2):
        layer.polygon(
            [(left, y - 1), (left + w * 0.55, y - 1), (left + w * 0.55, y + h + 1), (left, y + h + 1)], shutters
        )
        for k in range(1, 5):
            layer.stroke(
                [(left + 1, y + h * k / 5), (left + w * 0.55 - 1, y + h * k / 5)], 1.1, mix(shutters, (20, 24, 40), 0.5)
            )
    layer.polygon(
        [(x - 4, y + h + 2), (x + w + 4, y + h + 2), (x + w + 4, y + h + 5), (x - 4, y + h + 5)], (222, 200, 176)
    )


def house(layer: Layer, x: float, y: float, w: float, h: float, rng: Random, gable: bool) -> None:
    """A house that stands at `(x, y)`: its wall, its windows and its roof of tiles."""
    wall = rng.choice(
        [(248, 222, 178), (242, 190, 150), (232, 168, 128), (250, 236, 212), (226, 196, 178), (240, 206, 142)]
    )
    shutters = rng.choice([(62, 112, 112), (70, 92, 142), (122, 60, 62), (84, 116, 76)])
    top = y - h
    layer.polygon([(x, top), (x + w, top), (x + w, y + 40), (x, y + 40)], wall)
    layer.polygon(
        [(x + w * 0.8, top), (x + w, top), (x + w, y + 40), (x + w * 0.8, y + 40)], mix(wall, (96, 78, 110), 0.34)
    )
    for _ in range(int(w * h / 160)):  # bare bricks here and there
        bx, by = x + rng.uniform(2, w - 10), top + rng.uniform(8, h + 20)
        layer.polygon([(bx, by), (bx + 7, by), (bx + 7, by + 3), (bx, by + 3)], mix(wall, (176, 104, 84), 0.4))
    if gable:
        peak = top - w * 0.46
        layer.polygon([(x, top), (x + w / 2, peak), (x + w, top)], wall)
        layer.polygon([(x + w / 2, peak), (x + w, top), (x + w * 0.8, top)], mix(wall, (96, 78, 110), 0.34))
        layer.ellipse(x + w / 2, top - w * 0.1, w * 0.085, w * 0.085, (70, 62, 86))
        for side in (-1, 1):
            end = (x + w / 2 + side * w * 0.6, top + w * 0.09)
            layer.stroke([(x + w / 2, peak), end], 9, (112, 52, 48))
            layer.stroke([(x + w / 2, peak - 2.5), (end[0], end[1] - 2.5)], 4.5, (226, 124, 82))
    else:
        rise = h * 0.42
        tiled(layer, (x - 6, top - rise), (w + 12, 0), (0, rise + 7), (11, 9), rng)
        layer.stroke([(x - 8, top - rise), (x + w + 8, top - rise)], 5, (206, 106, 74))
        cx = x + w * rng.uniform(0.2, 0.7)
        layer.polygon(
            [(cx, top - rise - 18), (cx + 13, top - rise - 18), (cx + 13, top - rise + 7), (cx, top - rise + 7)],
            (190, 112, 92),
        )
        layer.polygon(
            [
                (cx - 2, top - rise - 21),
                (cx + 15, top - rise - 21),
                (cx + 15, top - rise - 16),
                (cx - 2, top - rise - 16),
            ],
            (120, 62, 58),
        )
    across = max(int(w // 34), 1)
    for i in range(across):
        for j in range(max(int((h + 26) // 40), 1)):
            window(layer, x + w * (i + 0.5) / across - 6.5, top + 15 + j * 38, 13, 19, rng, shutters)


def cypress(layer: Layer, x: float, y: float, h: float, rng: Random) -> None:
    """A slender tree of many upward strokes."""
    for _ in range(110):
        t = rng.random()
        half = 0.13 * h * math.sin(math.pi * min(0.12 + 0.88 * t, 1)) ** 0.8
        px, py = x + rng.uniform(-1, 1) * half, y - h * t
        tint = mix((26, 46, 56), (110, 124, 74), max(0.0, 0.5 - (px - x) / (2 * half + 1)) * rng.random())
        layer.stroke([(px, py), (px + (x - px) * 0.4, py - h * 0.1)], lambda t: 3.4 * (1 - t) + 0.6, tint)


def tower(layer: Layer, x: float, y: float) -> None:
    """The bell tower: stone courses, a clock, an open belfry and a pointed roof with a cross."""
    w, h = 62, 268
    stone, dark = (240, 208, 168), (150, 112, 122)
    top = y - h
    layer.polygon([(x, top), (x + w, top), (x + w, y), (x, y)], stone)
    layer.polygon([(x + w * 0.72, top), (x + w, top), (x + w, y), (x + w * 0.72, y)], mix(stone, (96, 78, 110), 0.4))
    for row in range(int(h // 11)):
        yy = top + row * 11
        layer.stroke([(x, yy), (x + w, yy)], 1.2, mix(stone, dark, 0.55))
        for column in range(4):
            bx = x + (column + 0.5 * (row % 2)) * w / 4
            layer.stroke([(bx, yy), (bx, yy + 11)], 1.2, mix(stone, dark, 0.55))
    for yy, over in ((top, 7), (top + 80, 4), (y - 110, 4)):
        layer.polygon(
            [(x - over, yy - 4), (x + w + over, yy - 4), (x + w + over, yy + 4), (x - over, yy + 4)], (252, 230, 196)
        )
    for bx in (x + 10, x + 35):
        layer.polygon(
            [
                (bx, top + 74),
                *[
                    (bx + 9 - 9 * math.cos(math.pi * k / 12), top + 28 - 13 * math.sin(math.pi * k / 12))
                    for k in range(13)
                ],
                (bx + 18, top + 74),
            ],
            (74, 60, 88),
        )
        layer.polygon(
            [(bx + 2, top + 62), (bx + 6, top + 42), (bx + 12, top + 42), (bx + 16, top + 62)], (232, 176, 84)
        )
    cx, cy = x + w / 2, top + 118
    layer.ellipse(cx, cy, 25, 25, (104, 66, 66))
    layer.ellipse(cx, cy, 22, 22, (255, 248, 228))
    for k in range(12):
        a = math.pi * k / 6
        layer.stroke(
            [(cx + 16 * math.cos(a), cy + 16 * math.sin(a)), (cx + 20 * math.cos(a), cy + 20 * math.sin(a))],
            2,
            (70, 48, 56),
        )
    layer.stroke([(cx, cy), (cx + 9, cy - 9)], 3, (60, 40, 50), cap=True)
    layer.stroke([(cx, cy), (cx - 4, cy + 16)], 2.2, (60, 40, 50), cap=True)
    layer.polygon([(x - 8, top - 3), (x + w / 2, top - 92), (x + w + 8, top - 3)], (190, 88, 64))
    layer.polygon([(x + w / 2, top - 92), (x + w + 8, top - 3), (x + w * 0.62, top - 3)], (126, 58, 56))
    for k in range(1, 9):
        half = (w / 2 + 8) * k / 9
        layer.stroke([(cx - half, top - 92 + 89 * k / 9), (cx + half, top - 92 + 89 * k / 9)], 1.5, (96, 42, 44))
    layer.stroke([(cx, top - 88), (cx, top - 122)], 3, (66, 48, 64))
    layer.stroke([(cx - 9, top - 110), (cx + 9, top - 110)], 3, (66, 48, 64))


def town(canvas: Canvas) -> None:
    """A hill with houses behind and above one another, cypresses between them, and the tower on top."""
    rng = Random(2024)
    hill = Layer()
    outline = bezier((790, 800), (830, 730), (832, 660), (840, 606), (850, 540), (890, 452), (960, 424))
    outline += [*bezier((960, 424), (1030, 392), (1120, 372), (1260, 404)), (1260, HEIGHT), (790, HEIGHT)]
    hill.polygon(outline, (88, 98, 74))
    for _ in range(1500):
        x = rng.uniform(766, 1248)
        y = rng.uniform(400, 800)
        tint = mix((56, 74, 62), (168, 152, 86), rng.random() ** 2)
        hill.stroke([(x, y), (x + rng.uniform(-4, 4), y - rng.uniform(5, 13))], 1.8, tint)
    mask = Image.new("L", hill.image.size)
    area = [(x * OVERSAMPLE, y * OVERSAMPLE) for x, y in outline]
    ImageDraw.Draw(mask).polygon(area, fill=255)
    hill.image.putalpha(mask)
    canvas.add(hill)

    layer = Layer()
    cypress(layer, 968, 440, 96, rng)
    cypress(layer, 1214, 430, 120, rng)
    tower(layer, 1082, 470)
    places = (
        (1000, 452, 74, 52, False), (1160, 446, 84, 62, False), (944, 496, 66, 50, True), (1028, 506, 88, 64, True),
        (1126, 514, 92, 70, False), (1216, 506, 70, 66, True), (896, 548, 72, 58, False), (982, 566, 92, 70, False),
        (1082, 580, 82, 76, True), (1172, 590, 104, 84, False), (870, 612, 70, 58, True), (946, 634, 96, 76, False),
        (1050, 650, 98, 80, True), (1158, 668, 110, 92, False),
    )  # fmt: skip
    for x, y, w, h, gable in places:
        if rng.random() < 0.6:
            cypress(layer, x - 8, y + 8, rng.uniform(70, 100), rng)
        house(layer, x, y, w, h, rng, gable)
    side = gradient(canvas.x, ((840, (255, 214, 150)), (1248, (112, 96, 138))))
    canvas.add(layer, lambda c, _: c * (0.86 + 0.14 * side / 255) + 0.1 * (side - c))


def near_roof(canvas: Canvas) -> None:
    """The roof below the viewer, with a chimney."""
    rng = Random(9)
    chimney = Layer()
    x, y = 1168, 664
    chimney.polygon([(x - 26, y - 40), (x + 30, y - 48), (x + 30, y + 70), (x - 26, y + 70)], (178, 100, 82))
    for row in range(10):
        yy = y - 40 + row * 11
        chimney.stroke([(x - 26, yy), (x + 30, yy - 8)], 1.8, (236, 194, 164))
        for column in range(4):
            bx = x - 26 + (column + 0.5 * (row % 2)) * 16
            if bx < x + 30:
                yb = yy - (bx - x + 26) * 8 / 56
                chimney.stroke([(bx, yb), (bx, yb + 11)], 1.8, (236, 194, 164))
    chimney.polygon([(x - 32, y - 50), (x + 36, y - 60), (x + 36, y - 46), (x - 32, y - 36)], (222, 144, 108))
    for dx in (-14, 12):
        top = y - 54 - dx * 0.15
        chimney.polygon(
            [(x + dx - 9, top), (x + dx - 7, top - 24), (x + dx + 9, top - 25), (x + dx + 11, top - 3)], (196, 104, 74)
        )
        chimney.ellipse(x + dx + 1, top - 24.5, 9, 3.4, (74, 44, 50))
    canvas.add(chimney)

    layer = Layer()
    tiled(layer, (742, 772), (560, -86), (-66, 168), (34, 30), rng)
    for k in range(15):
        u = k / 14
        cx, cy = 742 + 560 * u, 768 - 86 * u
        layer.ellipse(cx, cy, 25, 14, (92, 40, 40))
        layer.ellipse(cx - 1, cy - 2, 22, 11, mix((196, 92, 64), (236, 138, 88), rng.random()))
        layer.ellipse(cx - 7, cy - 6, 10, 3, (250, 186, 134))
    dusk = gradient(canvas.x, ((680, (255, 206, 150)), (1248, (118, 84, 116))))
    canvas.add(layer, lambda c, _: c * (0.5 + 0.55 * dusk / 255))


def cat(canvas: Canvas, x: float, y: float) -> None:
    """A ginger cat that sits on the roof and looks out over the lake."""
    layer = Layer()
    fur, stripe = (232, 146, 74), (156, 76, 42)
    tail = bezier((x + 14, y - 8), (x + 62, y + 22), (x + 78, y - 18), (x + 60, y - 42))
    layer.stroke(tail, lambda t: 13 - 3 * t, fur, cap=True)
    for k in range(5, 24, 4):
        layer.stroke(tail[k : k + 3], 12, stripe)
    layer.stroke(tail[-3:], 10, (255, 238, 214), cap=True)
    body = bezier((x, y - 86), (x + 22, y - 84), (x + 46, y - 30), (x + 34, y - 6))
    body += bezier((x + 34, y - 6), (x + 28, y + 7), (x + 10, y + 6), (x, y + 6))
    layer.polygon(body + [(2 * x - px, py) for px, py in reversed(body)], fur)
    for k in range(6):
        h, w = y - 66 + 11 * k, 7 + 3.4 * k
        for side in (-1, 1):
            curve = bezier(
                (x + side * 4, h + 3), (x + side * w * 0.6, h - 3), (x + side * w, h), (x + side * (w + 8), h + 7), n=8
            )
            layer.stroke(curve, lambda t: 5.4 - 4 * t, stripe)
    layer.stroke([(x, y - 80), (x, y - 14)], lambda t: 5 * math.sin(math.pi * (0.1 + 0.85 * t)), stripe)
    hx, hy = x - 3, y - 98
    for side in (-1, 1):
        ear = [(hx + side * 24, hy - 4), (hx + side * 23, hy - 38), (hx + side * 3, hy - 20)]
        layer.polygon(ear, fur)
        layer.polygon([mix((*p, 0), (hx + side * 17, hy - 19, 0), 0.45)[:2] for p in ear], (176, 92, 62))
    layer.ellipse(hx, hy, 27, 23, fur)
    for dx in (-9, 0, 9):
        layer.stroke(
            [(hx + dx, hy - 20 + abs(dx) * 0.2), (hx + dx * 0.8, hy - 4)], lambda t: 4.6 * (1 - t) + 0.8, stripe
        )
    for side in (-1, 1):
        for k in range(3):
            start = (hx + side * 22, hy + 6 + 2 * k)
            layer.stroke([start, (hx + side * 44, hy + 1 + 7 * k)], lambda t: 1.9 - t, (255, 240, 220))

    def shade(colour: Field, cover: Field) -> Field:
        across = np.clip((canvas.x - x) / 60, -1, 1)[..., None]
        return lit(canvas, 0.85, dx=-7)(colour * (0.82 - 0.18 * across), cover)

    canvas.add(layer, shade)


# --------------------------------------------------------------------------------------------------------- the owl


def feather(
    layer: Layer,
    root: Point,
    angle: float,
    length: float,
    width: float,
    tint: Sequence[float],
    *,
    bars: int,
    rng: Random,
) -> None:
    """One feather that hangs from `root`: pale edge, bars across, shaft and fine barbs."""

    def half(t: float) -> float:
        return width / 2 * min(1, 0.55 + 1.2 * t) * math.sqrt(max(1 - t**5, 0))

    def outline(grow: float) -> list[Point]:
        ts = [k / 14 for k in range(15)]
        points = [(half(t) * grow, length * t * (0.94 + 0.06 * grow)) for t in ts]
        return turned(points + [(-px, py) for px, py in reversed(points)], angle, to=root)

    edge, dark = mix(tint, (255, 238, 208), 0.62), mix(tint, (40, 24, 28), 0.62)
    layer.polygon(outline(1.0), mix(tint, (30, 18, 26), 0.72))
    layer.polygon(outline(0.93), edge)
    layer.polygon(outline(0.74), tint)
    for k in range(bars):
        t = 0.34 + 0.5 * k / max(bars - 1, 1)
        w = half(t) * 0.74
        band = bezier((-w, length * t - 3), (-w / 2, length * t + 3), (w / 2, length * t + 3), (w, length * t - 3), n=8)
        layer.stroke(turned(band, angle, to=root), length * 0.075, dark)
    for k in range(5):
        t = 0.3 + 0.14 * k
        for side in (-1, 1):
            w = half(t) * 0.86
            barb = [(0, length * t), (side * w, length * (t + 0.13))]
            layer.stroke(turned(barb, angle, to=root), 0.9, mix(tint, (250, 228, 190), 0.25 + 0.35 * rng.random()))
    layer.stroke(
        turned([(0, length * 0.1), (0, length * 0.93)], angle, to=root), lambda t: 2.4 - 1.6 * t, mix(dark, edge, 0.25)
    )


def owl(canvas: Canvas, cx: float, cy: float) -> None:
    """The owl; `(cx, cy)` is the point between its eyes."""
    rng = Random(411)
    layer = Layer()
    brown, cream = (134, 92, 62), (240, 214, 172)

    for k in range(-3, 4):  # tail
        feather(layer, (cx + 13 * k, cy + 296), -0.05 * k, 168 - 7 * abs(k), 36, (116, 80, 58), bars=5, rng=rng)

    body = bezier((cx, cy + 20), (cx + 170, cy + 20), (cx + 168, cy + 250), (cx + 62, cy + 348))
    body += [(2 * cx - x, y) for x, y in reversed(body)]
    layer.polygon(body, (84, 58, 48))
    for row in reversed(range(11)):  # breast
        y = cy + 70 + row * 23
        t = row / 10
        wide = 112 * math.sin(math.pi * (0.3 + 0.56 * t)) ** 0.75
        count = max(int(wide / 13), 3)
        for k in range(count + 1 - row % 2):
            u = (k + 0.5 * (row % 2)) / count * 2 - 1
            tint = mix(cream, (206, 150, 98), 0.3 * rng.random() + 0.4 * abs(u))
            root = (cx + wide * u + rng.uniform(-2, 2), y + rng.uniform(-3, 3))
            feather(layer, root, -0.12 * u + rng.uniform(-0.07, 0.07), 50, 32, tint, bars=2, rng=rng)
    for side in (-1, 1):  # wings: long feathers below, short ones over them
        outer = bezier(
            (cx + side * 66, cy + 76),
            (cx + side * 150, cy + 84),
            (cx + side * 176, cy + 196),
            (cx + side * 118, cy + 330),
        )
        inner = bezier(
            (cx + side * 50, cy + 96),
            (cx + side * 88, cy + 130),
            (cx + side * 84, cy + 200),
            (cx + side * 66, cy + 290),
        )
        for k in range(7):
            (ox, oy), (ix, iy) = outer[12], inner[11]
            root = mix((ox - side * 12, oy, 0), (ix, iy, 0), k / 6)[:2]
            tint = mix(brown, (88, 60, 52), k / 6)
            feather(layer, root, side * (0.23 - 0.006 * k), 186 - 11 * k, 34, tint, bars=6, rng=rng)
        for row in reversed(range(8)):
            i = 1 + 2 * row
            for k in range(5):
                t = (k + 0.5 * (row % 2)) / 5
                (ox, oy), (ix, iy) = outer[i], inner[i]
                x, y = mix((ox - side * 12, oy, 0), (ix, iy, 0), t)[:2]
                dx, dy = outer[i + 1][0] - outer[i - 1][0], outer[i + 1][1] - outer[i - 1][1]
                angle = math.atan2(-dx, dy) * (0.75 - 0.5 * t)
                tint = mix((176, 122, 76), (110, 74, 56), 0.6 * rng.random() + 0.04 * row)
                feather(layer, (x, y), angle, 40 + 2 * row, 25 + row, tint, bars=1 + row // 4, rng=rng)

    head = bezier((cx, cy - 98), (cx + 80, cy - 100), (cx + 146, cy - 46), (cx + 132, cy + 30))
    head += bezier((cx + 132, cy + 30), (cx + 110, cy + 92), (cx + 50, cy + 108), (cx, cy + 108))
    head += [(2 * cx - x, y) for x, y in reversed(head)]
    for side in (-1, 1):  # ears
        for k in range(7):
            tip = (cx + side * (122 + 3 * k - 9 * abs(k - 3)), cy - 168 + 13 * k)
            root = (cx + side * (58 + 9 * k), cy - 70 + 3 * k)
            bend = (root[0] + side * 10, root[1] - 44)
            line = bezier(root, bend, bend, tip)
            layer.stroke(line, lambda t: 23 * (1 - t) ** 0.8, mix((60, 40, 40), (150, 104, 70), k / 7))
            layer.stroke(line, lambda t: 6 * (1 - t), mix((196, 146, 96), (110, 76, 60), k / 7))
    layer.polygon(head, (110, 76, 56))
    for row in reversed(range(5)):  # crown
        for k in range(-5, 6):
            y = cy - 92 + row * 17 + 1.7 * k * k
            x = cx + k * (19 + 1.6 * row)
            if abs(x - cx) < 124:
                feather(
                    layer, (x, y), -0.1 * k, 32, 22, mix((154, 106, 70), (110, 74, 54), rng.random()), bars=1, rng=rng
                )

    for ring in range(2):  # the ruff below and beside the face
        for k in range(27):
            a = math.radians(-28 + 236 * (k + 0.5 * ring) / 26.5)
            x, y = cx + (116 - 22 * ring) * math.cos(a), cy + 12 + (82 - 18 * ring) * math.sin(a)
            tint = mix((172, 120, 78), (104, 70, 54), rng.random())
            feather(layer, (x, y), (a - math.pi / 2) * 0.8, 36, 23, tint, bars=1, rng=rng)
    for side in (-1, 1):  # the discs around the eyes, of fine hair-like feathers
        ex, ey = cx + side * 54, cy + 4
        layer.ellipse(ex + side * 6, ey + 4, 73, 76, (66, 42, 40))
        layer.ellipse(ex + side * 5, ey + 3, 68, 71, (226, 190, 146))
        for k in range(150):
            a = 2 * math.pi * k / 150 + rng.uniform(-0.02, 0.02)
            r0, r1 = 30 + rng.uniform(0, 8), rng.uniform(56, 68)
            start = (ex + r0 * math.cos(a), ey + r0 * math.sin(a))
            end = (ex + side * 5 + r1 * math.cos(a + 0.12 * side), ey + 3 + 1.04 * r1 * math.sin(a + 0.12 * side))
            tint = mix((250, 234, 206), (150, 100, 70), rng.random() ** 1.6)
            layer.stroke(
                bezier(start, start, (start[0] * 0.4 + end[0] * 0.6 + 2, start[1] * 0.4 + end[1] * 0.6), end, n=5),
                lambda t: 2.6 - 1.8 * t,
                tint,
            )
    for k in range(26):  # brows
        for side in (-1, 1):
            t = k / 25
            root = (cx + side * (4 + 98 * t), cy + 18 - 66 * t - 22 * math.sin(math.pi * t))
            tip = (root[0] + side * (16 + 22 * t), root[1] - 26 + 6 * t)
            layer.stroke(
                [root, tip], lambda t: 5.5 * (1 - t) + 0.6, mix((255, 248, 232), (186, 140, 100), rng.random() * 0.6)
            )
    for side in (-1, 1):  # eyes
        ex, ey = cx + side * 54, cy + 4
        layer.ellipse(ex, ey, 38, 38, (38, 24, 28))
        layer.ellipse(ex, ey, 33, 33, (244, 150, 30))
        for k in range(44):
            a = 2 * math.pi * k / 44
            tint = (255, 206, 74) if k % 2 else (206, 104, 18)
            layer.stroke(
                [(ex + 15 * math.cos(a), ey + 15 * math.sin(a)), (ex + 31 * math.cos(a), ey + 31 * math.sin(a))],
                1.9,
                tint,
            )
        layer.ellipse(ex, ey, 21, 21, (255, 196, 62))
        layer.ellipse(ex, ey, 17.5, 17.5, (20, 14, 20))
        layer.ellipse(ex + 8, ey - 9, 7, 7, (255, 252, 240))
        layer.ellipse(ex - 8, ey + 10, 3, 3, (190, 170, 170))
        lid = [
            (ex + 40 * math.cos(math.pi * (1 + k / 20)), ey - 2 + 38 * math.sin(math.pi * (1 + k / 20)))
            for k in range(21)
        ]
        layer.polygon(
            lid[3:18]
            + turned(
                bezier((ex + 28, ey - 26), (ex + 12, ey - 18), (ex - 12, ey - 18), (ex - 28, ey - 26)),
                -side * 0.2,
                (ex, ey),
            ),
            (38, 24, 28),
        )

    beak = bezier(
        (cx - 15, cy + 22),
        (cx - 8, cy + 8),
        (cx + 8, cy + 8),
        (cx + 15, cy + 22),
        (cx + 17, cy + 42),
        (cx + 8, cy + 60),
        (cx, cy + 74),
    )
    beak += bezier((cx, cy + 74), (cx - 8, cy + 60), (cx - 17, cy + 42), (cx - 15, cy + 22))
    layer.polygon(beak, (50, 42, 50))
    layer.polygon([(cx + (x - cx) * 0.5 + 3, cy + 38 + (y - cy - 38) * 0.72) for x, y in beak], (112, 98, 100))
    layer.stroke(
        bezier((cx + 3, cy + 20), (cx + 6, cy + 34), (cx + 5, cy + 46), (cx + 2, cy + 58)),
        lambda t: 5 * (1 - t),
        (226, 212, 204),
    )
    for k in range(34):  # bristles around the beak
        side = 1 if k % 2 else -1
        root = (cx + side * rng.uniform(6, 14), cy + rng.uniform(14, 40))
        tip = (root[0] + side * rng.uniform(12, 26), root[1] + rng.uniform(14, 34))
        layer.stroke(
            bezier(root, (root[0] + side * 10, root[1]), (tip[0], tip[1] - 10), tip, n=6),
            lambda t: 2.3 * (1 - t) + 0.4,
            mix((255, 246, 226), (156, 118, 92), rng.random()),
        )

    def shade(colour: Field, cover: Field) -> Field:
        across = (canvas.x - cx) / 150
        light = (0.95 + 0.2 * across - 0.1 * across**2 - 0.16 * np.clip((canvas.y - cy - 60) / 300, 0, 1))[..., None]
        cool = np.float32((0.95, 0.96, 1.06)) + np.clip(across + 0.6, 0, 1)[..., None] * np.float32((0.14, 0.04, -0.16))
        eyes = sum(np.clip(38 - np.hypot(canvas.x - cx - s * 54, canvas.y - cy - 4), 0, 1) for s in (-1, 1))[..., None]
        light = light + eyes * (1 - light)
        return lit(canvas, 0.8)(colour * light * (cool + eyes * (1 - cool)), cover)

    canvas.add(layer, shade)


# --------------------------------------------------------------------------------------- branch, leaves and the sign


def leaf(layer: Layer, root: Point, angle: float, length: float, tint: Sequence[float]) -> None:
    """A pointed leaf with a light and a dark half, a midrib and veins."""
    width = length * 0.44
    upper = bezier((0, 0), (length * 0.25, -width * 0.75), (length * 0.65, -width * 0.6), (length, 0))
    lower = [(x, -y * 0.9) for x, y in upper]
    layer.polygon(turned(upper + lower[::-1], angle, to=root), mix(tint, (16, 24, 30), 0.6))
    inside = [(length * 0.03 + x * 0.94, y * 0.86) for x, y in upper]
    layer.polygon(
        turned([*inside, (length * 0.97, 0), (length * 0.03, 0)], angle, to=root), mix(tint, (255, 240, 170), 0.24)
    )
    layer.polygon(turned([(x, -y) for x, y in inside], angle, to=root), tint)
    rib = mix(tint, (255, 246, 200), 0.6)
    layer.stroke(turned([(-length * 0.14, 0), (length * 0.95, 0)], angle, to=root), lambda t: 3 - 2.2 * t, rib)
    for k in range(1, 6):
        x = length * k / 7
        for side in (-1, 1):
            reach = width * 0.4 * math.sin(math.pi * (k + 0.9) / 7.5)
            layer.stroke(
                turned([(x, 0), (x + length * 0.13, side * reach)], angle, to=root),
                1.2,
                rib if side > 0 else mix(tint, rib, 0.75),
            )


LETTERS: dict[str, tuple[float, list[list[Point]]]] = {
    "S": (0.60, [bezier((0.56, 0.18), (0.44, -0.07), (0.04, -0.04), (0.04, 0.26), (0.04, 0.54), (0.58, 0.44),
                        (0.58, 0.74), (0.58, 1.06), (0.12, 1.07), (0.02, 0.80))]),
    "H": (0.62, [[(0.04, 0), (0.04, 1)], [(0.58, 0), (0.58, 1)], [(0.04, 0.5), (0.58, 0.5)]]),
    "A": (0.66, [[(0, 1), (0.33, 0)], [(0.33, 0), (0.66, 1)], [(0.13, 0.66), (0.53, 0.66)]]),
    "R": (0.60, [[(0.04, 0), (0.04, 1)], [(0.04, 0), (0.3, 0)], bezier((0.3, 0), (0.64, 0), (0.64, 0.54), (0.3, 0.54)),
                 [(0.3, 0.54), (0.04, 0.54)], [(0.28, 0.54), (0.6, 1)]]),
    "P": (0.58, [[(0.04, 0), (0.04, 1)], [(0.04, 0), (0.3, 0)],
                 bezier((0.3, 0), (0.66, 0), (0.66, 0.56), (0.3, 0.56)), [(0.3, 0.56), (0.04, 0.56)]]),
    "B": (0.60, [[(0.04, 0), (0.04, 1)], [(0.04, 0), (0.28, 0)],
                 bezier((0.28, 0), (0.58, 0), (0.58, 0.47), (0.28, 0.47)), [(0.04, 0.47), (0.3, 0.47)],
                 bezier((0.3, 0.47), (0.68, 0.47), (0.68, 1), (0.3, 1)), [(0.3, 1), (0.04, 1)]]),
    "I": (0.08, [[(0.04, 0), (0.04, 1)]]),
    "T": (0.60, [[(0, 0), (0.6, 0)], [(0.3, 0), (0.3, 1)]]),
}  # fmt: skip


def sign(canvas: Canvas, x: float, y: float, hooks: tuple[Point, Point]) -> None:
    """A board with the name of this project, hung on two chains."""
    rng = Random(31)
    layer = Layer()
    w, h, tilt = 284.0, 84.0, 0.055
    for hook, px in zip(hooks, (34.0, w - 34), strict=True):
        (ax, ay), (bx, by) = hook, turned([(px, 10)], tilt, to=(x, y))[0]
        links = int(math.hypot(bx - ax, by - ay) / 9)
        angle = math.atan2(by - ay, bx - ax)
        for k in range(links + 1):
            c = (ax + (bx - ax) * k / links, ay + (by - ay) * k / links)
            ring = [
                (8 * math.cos(a / 8 * math.pi), (4.4 if k % 2 else 1.4) * math.sin(a / 8 * math.pi)) for a in range(17)
            ]
            layer.stroke(turned(ring, angle, to=c), 2.4, (212, 196, 178) if k % 2 else (128, 112, 112))

    def board(inset: float, r: float) -> list[Point]:
        points = []
        for qx, qy, start in (
            (w - inset - r, inset + r, -0.5),
            (w - inset - r, h - inset - r, 0),
            (inset + r, h - inset - r, 0.5),
            (inset + r, inset + r, 1),
        ):
            points += [
                (qx + r * math.cos(math.pi * (start + k / 16)), qy + r * math.sin(math.pi * (start + k / 16)))
                for k in range(9)
            ]
        return turned(points, tilt, to=(x, y))

    layer.polygon([(px + 3, py + 5) for px, py in board(0, 14)], (40, 24, 26))
    layer.polygon(board(0, 14), (86, 50, 38))
    layer.polygon(board(3, 12), (164, 104, 64))
    for k in range(30):
        yy = 8 + (h - 16) * k / 29
        wave, phase = rng.uniform(0.5, 2.4), rng.uniform(0, 6)
        line = [(10 + (w - 20) * t / 24, yy + wave * math.sin(phase + t / 3)) for t in range(25)]
        layer.stroke(
            turned(line, tilt, to=(x, y)), rng.uniform(0.8, 2), mix((128, 76, 48), (206, 146, 92), rng.random())
        )
    for inset, tint in ((8, (70, 38, 32)), (9.5, (244, 214, 158))):
        ring = board(inset, 9)
        layer.stroke([*ring, ring[0]], 1.8, tint)
    size, pen, space = 39.0, 7.2, 10.5
    text = "SHARPBIT"
    total = sum(LETTERS[letter][0] * size for letter in text) + space * (len(text) - 1)
    for dx, dy, tint in ((2.4, 2.8, (58, 30, 28)), (0, 0, (255, 240, 204))):
        left = (w - total) / 2
        for letter in text:
            for line in LETTERS[letter][1]:
                points = [(left + px * size + dx, h / 2 + (py - 0.5) * size + dy) for px, py in line]
                layer.stroke(turned(points, tilt, to=(x, y)), pen, tint, cap=True)
            left += LETTERS[letter][0] * size + space
    canvas.add(layer, lit(canvas, 0.45))


def branch(canvas: Canvas) -> None:
    """The branch with its bark."""
    rng = Random(64)
    spine = bezier((-30, 676), (130, 610), (250, 668), (400, 630), (520, 600), (590, 612), (700, 560), n=40)

    def thick(t: float) -> float:
        return 52 * (1 - t) ** 0.75 + 5

    layer = Layer()
    twigs = (
        (0.42, bezier((405, 628), (440, 580), (486, 560), (516, 520))),
        (0.62, bezier((560, 604), (610, 622), (650, 640), (690, 632))),
        (0.12, bezier((70, 642), (60, 700), (84, 740), (74, 800))),
    )
    for _, twig in twigs:
        layer.stroke(twig, lambda t: 11 * (1 - t) + 3, (78, 54, 48))
        layer.stroke([(x + 1, y - 2) for x, y in twig], lambda t: 4 * (1 - t) + 1, (146, 104, 78))
    layer.stroke(spine, thick, (70, 48, 44), cap=True)
    for _ in range(230):
        start = rng.randrange(0, 66)
        piece = spine[start : start + rng.randrange(4, 12)]
        side = rng.uniform(-0.46, 0.46)
        line = [(x, y + side * thick((start + i) / 80) + math.sin(i + start) * 0.8) for i, (x, y) in enumerate(piece)]
        tint = mix((44, 30, 32), (176, 128, 92), max(0.0, min(1.0, 0.42 - side + rng.uniform(-0.35, 0.35))))
        layer.stroke(line, lambda t: 3 * math.sin(math.pi * t) + 0.5, tint)
    canvas.add(layer, lit(canvas, 0.4, dx=3, dy=6))


def talons(canvas: Canvas, cx: float, y: float) -> None:
    """The feet that hold the branch."""
    layer = Layer()
    for foot in (-44, 40):
        for k in (-1, 0, 1):
            x = cx + foot + 19 * k
            toe = bezier((x - 3 * k, y - 24), (x + 3 * k, y - 24), (x + 5 * k, y - 6), (x + 4 * k, y + 12))
            layer.stroke(toe, lambda t: 17 - 3 * t, (92, 66, 46), cap=True)
            layer.stroke(toe, lambda t: 13 - 3 * t, (222, 170, 96), cap=True)
            for t in (6, 11, 16):
                px, py = toe[t]
                layer.stroke([(px - 6, py), (px + 6, py)], 1.4, (150, 104, 60))
            tip = toe[-1]
            claw = bezier(tip, (tip[0], tip[1] + 10), (tip[0] + 2, tip[1] + 18), (tip[0] - 3, tip[1] + 24))
            layer.stroke(claw, lambda t: 10 * (1 - t) + 1, (40, 32, 38))
    canvas.add(layer)


def leaves(canvas: Canvas) -> None:
    """Leaves on the twigs, and more that frame the upper left corner."""
    rng = Random(100)
    greens = [(74, 112, 62), (100, 132, 66), (58, 94, 70), (140, 142, 62), (206, 132, 56), (212, 96, 58), (172, 66, 52)]
    layer = Layer()
    spray = bezier((-20, 60), (60, 30), (160, 60), (250, 26), n=20)
    spray2 = bezier((-20, 150), (30, 150), (70, 190), (96, 250), n=20)
    for line in (spray, spray2):
        layer.stroke(line, lambda t: 10 * (1 - t) + 2.4, (66, 46, 46))
    spots: list[tuple[Point, float, float]] = []
    for line, step in ((spray, 2), (spray2, 3)):
        for i in range(1, 21, step):
            (x0, y0), (x1, y1) = line[i - 1], line[i]
            forward = math.atan2(y1 - y0, x1 - x0)
            side = 1 if (i // step) % 2 else -1
            spots.append((line[i], forward + side * rng.uniform(0.6, 1.1), rng.uniform(58, 88)))
    for x, y, a, n in (
        (516, 520, -0.9, 74), (500, 540, 0.15, 70), (478, 558, -1.7, 62), (452, 576, 0.35, 58), (700, 560, -0.3, 78),
        (672, 576, -1.25, 62), (640, 588, -0.9, 54), (690, 632, 0.2, 70), (660, 636, 0.95, 58), (636, 630, -0.35, 50),
        (74, 800, 1.9, 66), (76, 764, 0.6, 78), (80, 740, 2.6, 70), (66, 702, 0.4, 66), (60, 690, 2.7, 62),
        (30, 650, -2.0, 66), (84, 632, -1.2, 60), (20, 664, 2.0, 74),
    ):  # fmt: skip
        spots.append(((x, y), a, n))
    for root, angle, length in spots:
        leaf(layer, root, angle, length, mix(rng.choice(greens), (120, 110, 70), 0.2 * rng.random()))
    canvas.add(layer, lit(canvas, 0.3))


def render() -> NDArray[np.uint8]:
    """The upscaled image, `(HEIGHT, WIDTH, 3)` uint8."""
    canvas = Canvas()
    sky(canvas)
    mountains(canvas)
    lake(canvas)
    boat(canvas, 770, 660, 0.88)
    town(canvas)
    near_roof(canvas)
    cat(canvas, 912, 742)
    owl(canvas, 268, 268)
    branch(canvas)
    talons(canvas, 268, 622)
    sign(canvas, 400, 716, ((436, 622), (650, 592)))
    leaves(canvas)
    corner = np.hypot((canvas.x / WIDTH - 0.52) * 1.1, canvas.y / HEIGHT - 0.5)
    canvas.pixels *= (1 - 0.5 * np.clip(corner - 0.42, 0, 1))[..., None]
    return np.rint(np.clip(canvas.pixels, 0, 255)).astype(np.uint8)


def demo() -> NDArray[np.uint8]:
    """The demonstration image, `(208, 312, 3)` uint8."""
    return shrink(render(), SCALE)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Draw the demonstration image.")
    parser.add_argument("out", nargs="?", type=Path, default=OUT, help="the LR image (default: docs/images/demo.png)")
    parser.add_argument("--truth", type=Path, help="also write the upscaled image that it was made from")
    arguments = parser.parse_args()
    large = render()
    if arguments.truth is not None:
        Image.fromarray(large).save(arguments.truth, optimize=True)
        print(f"{arguments.truth}: {large.shape[1]}x{large.shape[0]}")
    small = shrink(large, SCALE)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {small.shape[1]}x{small.shape[0]}, {arguments.out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
