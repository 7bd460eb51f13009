"""`sharpbit inspect --bits-map`: an image with the bits that each of its patches took, as colours with a legend."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from sharpbit.app import dump
from sharpbit.errors import UsageError
from sharpbit.image import read
from sharpbit.measure.patchwise import Cost, upscaled
from sharpbit.runtime import Counting
from sharpbit.system.atomic import open_atomic, refuse_existing
from sharpbit.twopass.patches import Patch
from sharpbit.verbs.evaluate import cut_of, open_model

COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis: also for colour-blind
COVER = 0.45  # of the colour over the image in grey
NARROW = 480  # pixels that a map has at least, so that its legend can be read
BAND = 84  # height of the legend


def run_bits_map(
    model: str,
    image: str,
    output: str | None,
    patch: int | None,
    step: int | None,
    *,
    device: str | None = None,
    overwrite: bool = False,
    as_json: bool = False,
) -> str:
    """Write the map; returns what to print.

    Raises:
        UsageError: a model that does not tell its bits, or an output that is no PNG or exists.
    """
    target = Path(output or f"{Path(image).stem}_bits.png")
    if target.suffix.lower() != ".png":
        raise UsageError(f"a map of bits is written as PNG, not as {target.name}; give a name that ends with .png")
    if not overwrite:
        refuse_existing(target)
    cut = cut_of(patch, step)
    runtime = open_model(model, device=device)
    if not isinstance(runtime, Counting) or not runtime.quantized:
        raise UsageError(
            f"{model} does not tell what bits it takes; a map is made of weights with quantizers in them"
            " (.safetensors), as 'sharpbit train' leaves them"
        )
    with tqdm(disable=True if as_json else None, desc="upscaling", unit="patch", leave=False) as bar:
        result, patches = upscaled(runtime, read(Path(image)).rgb8(), cut, progress=bar.update)
    spent = [one for _, one in patches if one is not None]
    means = [float(np.mean(one.bits)) for one in spent]
    widths = runtime.widths
    cost = Cost.of(spent)
    how = "the whole image" if cut is None else f"patches of {cut.patch} small pixels, one every {cut.step}"
    caption = f"mean bits of the activations of a patch; FQR {cost.fqr:.2f}; {how}"
    places = [(place, value) for (place, _), value in zip(patches, means, strict=True)]
    pil_image = draw(result, places, runtime.scale, (min(widths), max(widths)), caption)
    buffer = io.BytesIO()
    pil_image.save(buffer, "PNG")
    with open_atomic(target, overwrite=overwrite) as file:
        file.write(buffer.getvalue())
    if as_json:
        rows = [
            {
                "top": p.rows.start,
                "left": p.columns.start,
                "bottom": p.rows.stop,
                "right": p.columns.stop,
                "bits": value,
            }
            for p, value in places
        ]
        return dump({"file": str(target), "cost": asdict(cost), "patches": rows})
    return f"{target}: {len(places)} patches, {min(means):.2f} to {max(means):.2f} bits, FQR {cost.fqr:.2f}"


def draw(
    image: NDArray[np.uint8],
    patches: Sequence[tuple[Patch, float]],
    scale: int,
    ends: tuple[float, float],
    caption: str,
) -> Image.Image:
    """The large `image` in grey, each patch (what is kept of it) under the colour of its bits, and a legend below.

    Args:
        image: `(H, W, 3)`.
        patches: with their bits.
        scale: large per small pixel.
        ends: bits of the first and the last colour.
        caption: of the legend.
    """
    grey = np.asarray(Image.fromarray(image).convert("L"), np.float32)[..., None].repeat(3, 2)
    for patch, bits in patches:
        inside = tuple(slice(span.kept_from * scale, span.kept_to * scale) for span in (patch.rows, patch.columns))
        grey[inside] = (1 - COVER) * grey[inside] + COVER * np.asarray(colour(bits, ends), np.float32)
    map_ = Image.fromarray(np.rint(grey).astype(np.uint8))
    zoom = -(-NARROW // map_.width)
    map_ = map_.resize((map_.width * zoom, map_.height * zoom), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(map_)
    for patch, bits in patches:
        top, bottom, left, right = (
            value * scale * zoom
            for value in (patch.rows.kept_from, patch.rows.kept_to, patch.columns.kept_from, patch.columns.kept_to)
        )
        pen.rectangle((left, top, right - 1, bottom - 1), outline=(255, 255, 255))
        _number(pen, (left, top, right, bottom), f"{bits:.2f}")
    whole = Image.new("RGB", (map_.width, map_.height + BAND), "white")
    whole.paste(map_, (0, 0))
    _legend(ImageDraw.Draw(whole), map_.width, map_.height, ends, caption)
    return whole


def colour(bits: float, ends: tuple[float, float]) -> tuple[int, int, int]:
    """The colour of so many bits."""
    at = (bits - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 1.0
    at = min(max(at, 0.0), 1.0) * (len(COLOURS) - 1)
    low = min(int(at), len(COLOURS) - 2)
    red, green, blue = (round(a + (b - a) * (at - low)) for a, b in zip(COLOURS[low], COLOURS[low + 1], strict=True))
    return red, green, blue


def _number(pen: ImageDraw.ImageDraw, box: tuple[int, ...], text: str) -> None:
    """`text` in the middle of a box, if it has room there."""
    left, top, right, bottom = box
    font = ImageFont.load_default(max(11, min(26, (right - left) // 8)))
    _, _, width, height = pen.textbbox((0, 0), text, font=font)
    if width + 6 <= right - left and height + 4 <= bottom - top:
        where = ((left + right - width) / 2, (top + bottom - height) / 2)
        pen.text(where, text, fill="white", font=font, stroke_width=2, stroke_fill="black")


def _legend(pen: ImageDraw.ImageDraw, width: int, top: int, ends: tuple[float, float], caption: str) -> None:
    left, right, font = 12, width - 12, ImageFont.load_default(13)
    for x in range(left, right):
        here = ends[0] + (ends[1] - ends[0]) * (x - left) / (right - left)
        pen.line((x, top + 10, x, top + 28), fill=colour(here, ends))
    first, last = round(ends[0]), round(ends[1])
    for number in range(first, last + 1):
        text = f"{number} bits"
        wide = pen.textlength(text, font=font)
        middle = left + (right - left) * (number - first) / max(last - first, 1)
        pen.text((min(max(middle - wide / 2, left), right - wide), top + 32), text, fill="black", font=font)
    lines: list[str] = []
    line = ""
    for word in caption.split():
        longer = f"{line} {word}".strip()
        if pen.textlength(longer, font=font) > right - left:
            lines, line = [*lines, line], word
        else:
            line = longer
    pen.text((left, top + 50), "\n".join([*lines, line]), fill="black", font=font, spacing=1)
