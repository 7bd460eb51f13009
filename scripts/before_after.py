"""Make the image that shows what sharpbit does: details of the demonstration image, upscaled in two ways.

python scripts/before_after.py [--scale 4] [--model NAME] [--out OUT]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import sharpbit
from sharpbit.image.resize import resize

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PANEL = (272, 304)  # width and height of each shown detail
GAP, WIDE_GAP = 6, 18  # between the two ways, and between details
PAPER, INK, FIELD = (255, 255, 255), (255, 255, 255), (24, 26, 34)
DETAILS = ((68, 80), (216, 164))  # their middles, in the demonstration image: the owl's face; boat, cat and roof


def bicubic(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """The image upscaled by cubic convolution, as by MATLAB's `imresize`."""
    large = resize(image.astype(np.float64), image.shape[0] * scale, image.shape[1] * scale)
    return np.rint(np.clip(large, 0, 255)).astype(np.uint8)


def label(sheet: Image.Image, corner: tuple[int, int], text: str) -> None:
    """Write `text` on a small dark field whose lower left corner is `corner`."""
    font = ImageFont.load_default(16)
    pen = ImageDraw.Draw(sheet)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    x, y = corner
    pen.rectangle((x, y - 26, x + right - left + 16, y), fill=FIELD)
    pen.text((x + 8 - left, y - 13 - (top + bottom) / 2), text, font=font, fill=INK)


def compare(small: NDArray[np.uint8], scale: int, model: str) -> Image.Image:
    """Every detail twice, side by side: bicubic on the left, sharpbit on the right.

    Args:
        small: the demonstration image.
        scale: how many times to upscale it.
        model: name or path of the model that does so.
    """
    ways = ((f"bicubic x{scale}", bicubic(small, scale)), (f"sharpbit x{scale}", sharpbit.upscale(small, model=model)))
    zoom = 2 if scale == 2 else 1  # what x2 gives is shown twice as large, so that one can see anything
    width, height = PANEL
    columns, rows = width // (scale * zoom), height // (scale * zoom)  # of the demonstration image
    pair = 2 * width + GAP + WIDE_GAP
    sheet = Image.new("RGB", (pair * len(DETAILS) - WIDE_GAP, height), PAPER)
    for i, (middle_x, middle_y) in enumerate(DETAILS):
        left = min(max(middle_x - columns // 2, 0), small.shape[1] - columns - 1)
        top = min(max(middle_y - rows // 2, 0), small.shape[0] - rows - 1)
        for k, (name, large) in enumerate(ways):
            part = large[top * scale :, left * scale :][: height // zoom, : width // zoom]
            x = i * pair + k * (width + GAP)
            sheet.paste(Image.fromarray(part).resize(PANEL, Image.Resampling.NEAREST), (x, 0))
            label(sheet, (x, height - 1), name)
    return sheet


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Make the before-and-after image.")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=4)
    parser.add_argument("--model", help="name or path (default: x<scale>-clean-balanced)")
    parser.add_argument("--demo", type=Path, default=IMAGES / "demo.png", help="the LR image")
    parser.add_argument("--out", type=Path, default=IMAGES / "before_after.png")
    arguments = parser.parse_args()
    with Image.open(arguments.demo) as image:
        small = np.asarray(image.convert("RGB"))
    sheet = compare(small, arguments.scale, arguments.model or f"x{arguments.scale}-clean-balanced")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.out, optimize=True)
    print(f"{arguments.out}: {sheet.width}x{sheet.height}, {arguments.out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
