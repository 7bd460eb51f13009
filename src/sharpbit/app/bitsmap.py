"""`sharpbit inspect --bits-map`: an image with the bits that each of its patches took, as colours with a legend.

Of a network in two passes also the roles: references are framed, a line leads from each query to its own reference.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from sharpbit.app import dump
from sharpbit.errors import UsageError
from sharpbit.image import read
from sharpbit.measure.patchwise import Cost, upscaled
from sharpbit.runtime import Counting, EngineOptions, Runtime
from sharpbit.runtime._twopass import TwoPassRuntime
from sharpbit.system.atomic import check_target, open_atomic
from sharpbit.twopass.patches import Patch
from sharpbit.verbs.evaluate import cut_for, open_model

COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis: also for colour-blind
COVER = 0.45  # of the colour over the image in grey
NARROW = 480  # pixels that a map has at least, so that its legend can be read
BAND = 84  # height of the legend
ROLES_TEXT = "references are framed, a line leads from each query to its own, isolated patches have neither"

Box = tuple[int, int, int, int]  # left, top, right and bottom


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
    overrides: Mapping[str, Any] | None = None,
) -> str:
    """Write the map; returns what to print.

    Raises:
        UsageError: a model that does not tell its bits, or an output that is no PNG or exists.
    """
    target = Path(output or f"{Path(image).stem}_bits.png")
    if target.suffix.lower() != ".png":
        raise UsageError(f"a map of bits is written as PNG, not as {target.name}; give a name that ends with .png")
    check_target(target, overwrite=overwrite)
    runtime = open_model(model, options=EngineOptions(device=device), overrides=overrides)
    widths = _widths(runtime)
    if not widths:
        raise UsageError(
            f"{model} does not tell what bits it takes; a map is made of weights with quantizers in them"
            " (.safetensors), as 'sharpbit train' leaves them"
        )
    cut = cut_for(runtime, patch, step)
    with tqdm(disable=True if as_json else None, desc="upscaling", unit="patch", leave=False) as bar:
        result, pieces = upscaled(runtime, read(Path(image)).rgb8(), cut, progress=bar.update)
    means = [float(np.mean(one.spent.bits)) for one in pieces if one.spent is not None]
    cost = Cost.of(pieces)
    how = "the whole image" if cut is None else f"patches of {cut.patch} small pixels, one every {cut.step}"
    caption = f"mean bits of the activations of a patch; FQR {cost.fqr:.2f}; {how}"
    if cost.queries is not None:
        caption = f"{ROLES_TEXT}; {cost.queries:.0%} of the pixels are in queries; {caption}"
    places = [(one.patch, value) for one, value in zip(pieces, means, strict=True)]
    roles = [(one.role, one.reference) for one in pieces]
    pil_image = draw(result, places, runtime.scale, (min(widths), max(widths)), caption, roles)
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
                **({"role": role, "reference": reference} if role else {}),
            }
            for (p, value), (role, reference) in zip(places, roles, strict=True)
        ]
        return dump({"file": str(target), "cost": asdict(cost), "patches": rows})
    counts = Counter(role for role, _ in roles if role)
    listed = "".join(f", {count} {role}" for role, count in counts.items())
    return f"{target}: {len(places)} patches{listed}, {min(means):.2f} to {max(means):.2f} bits, FQR {cost.fqr:.2f}"


def _widths(runtime: Runtime) -> tuple[int, ...]:
    """The bits that activations can have; empty where the model does not tell them."""
    if isinstance(runtime, TwoPassRuntime):
        return runtime.counter.widths if runtime.counter else ()
    return runtime.widths if isinstance(runtime, Counting) and runtime.quantized else ()


def draw(
    image: NDArray[np.uint8],
    patches: Sequence[tuple[Patch, float]],
    scale: int,
    ends: tuple[float, float],
    caption: str,
    roles: Sequence[tuple[str, int | None]] = (),
) -> Image.Image:
    """The large `image` in grey, each patch (what is kept of it) under the colour of its bits, and a legend below.

    Args:
        image: `(H, W, 3)`.
        patches: with their bits.
        scale: large per small pixel.
        ends: bits of the first and the last colour.
        caption: the text of the legend.
        roles: the role of each patch of a network in two passes, with the number of the patch that a query refers to.
    """
    grey = np.asarray(Image.fromarray(image).convert("L"), np.float32)[..., None].repeat(3, 2)
    for patch, bits in patches:
        inside = tuple(slice(span.kept_from * scale, span.kept_to * scale) for span in (patch.rows, patch.columns))
        grey[inside] = (1 - COVER) * grey[inside] + COVER * np.asarray(colour(bits, ends), np.float32)
    map_ = Image.fromarray(np.rint(grey).astype(np.uint8))
    zoom = -(-NARROW // map_.width)
    map_ = map_.resize((map_.width * zoom, map_.height * zoom), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(map_)
    boxes = [
        (columns.kept_from * side, rows.kept_from * side, columns.kept_to * side, rows.kept_to * side)
        for side in (scale * zoom,)
        for rows, columns in ((patch.rows, patch.columns) for patch, _ in patches)
    ]
    for left, top, right, bottom in boxes:
        pen.rectangle((left, top, right - 1, bottom - 1), outline=(255, 255, 255))
    _roles(pen, boxes, roles)
    words = [role for role, _ in roles] or [""] * len(boxes)
    for box, (_, bits), word in zip(boxes, patches, words, strict=True):
        _number(pen, box, f"{word}\n{bits:.2f}".strip())
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


def _roles(pen: ImageDraw.ImageDraw, boxes: Sequence[Box], roles: Sequence[tuple[str, int | None]]) -> None:
    """Frames of references, and lines from queries to them."""
    for (left, top, right, bottom), (role, _) in zip(boxes, roles, strict=False):
        if role == "reference":
            pen.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline="black", width=7)
            pen.rectangle((left + 3, top + 3, right - 4, bottom - 4), outline="white", width=3)
    for box, (_, reference) in zip(boxes, roles, strict=False):
        if reference is not None:
            ends = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in (box, boxes[reference])]
            pen.line(ends, fill="black", width=5)
            pen.line(ends, fill="white", width=2)


def _number(pen: ImageDraw.ImageDraw, box: Box, text: str) -> None:
    """`text` in the middle of a box, if it has room there."""
    left, top, right, bottom = box
    font = ImageFont.load_default(max(11, min(26, (right - left) // 8)))
    _, _, width, height = pen.textbbox((0, 0), text, font=font)
    if width + 6 <= right - left and height + 4 <= bottom - top:
        where = ((left + right - width) / 2, (top + bottom - height) / 2)
        pen.text(where, text, fill="white", font=font, stroke_width=2, stroke_fill="black", align="center")


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
