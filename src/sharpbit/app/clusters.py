"""`sharpbit clusters`: the roles of an image's patches, counted and drawn."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tqdm import tqdm

from sharpbit.app import aligned, dump, matching
from sharpbit.errors import UsageError
from sharpbit.image import is_image_name, read
from sharpbit.image.resize import shrink
from sharpbit.system.atomic import check_target, open_atomic
from sharpbit.system.deprecated import old_names
from sharpbit.twopass.classifier import Classifier, embedded
from sharpbit.twopass.clustering import Clustered, calibrated, clustered
from sharpbit.twopass.roles import THRESHOLD
from sharpbit.zoo import path_of

ZOOM = 2  # a drawing has that many pixels for each of the LR image
TURN = 0.61803398875  # of the circle of colours, from one cluster to the next: neighbours never look alike
NUMBERS = {"threshold": "g", "queries": ".3f", "at_best": ".2f"}
FAR = 0.05  # from the share of queries that was asked for
PUBLISHED = "Derived from the paper's tables: Urban100 at 72 0.490, Test2K at 96 0.575, Test4K at 96 0.656."


@dataclass(frozen=True)
class ClusterOptions:
    """What was given to `sharpbit clusters`; see its help."""

    images: tuple[str, ...]
    patch: tuple[int, ...]
    shared: int
    threshold: float | None
    shrink: int
    output: str | None
    overwrite: bool
    as_json: bool
    quiet: bool
    queries: float | None = None
    classifier: str | None = None
    model: str | None = None
    bits: tuple[int, int] | None = None
    config: tuple[tuple[str, Any], ...] = ()


def run_clusters(given: ClusterOptions) -> str:
    """What the command prints."""
    sets = [_images(Path(name)) for name in given.images]
    _check(given, [path for paths in sets for path in paths])
    classifier = Classifier.read(Path(given.classifier)) if given.classifier else embedded()
    rows, matches = [], []
    work = [(patch, k) for patch in given.patch for k in range(len(sets))]
    for patch, k in tqdm(work, "clustering", disable=given.quiet, delay=2, leave=False):
        images = [_small(path, given.shrink) for path in sets[k]]
        threshold = _threshold(given, images, patch, classifier)
        found = [clustered(small, patch, given.shared, threshold, classifier) for small in images]
        if given.output:
            _save(drawn(images[0], found[0]), Path(given.output), overwrite=given.overwrite)
        rows.append(_facts(given.images[k], patch, threshold, given, found))
        if given.model:
            sizes = dict(given.config)
            matches.append(matching.measured(given.model, given.bits, images, found, patch, sizes, quiet=given.quiet))
            rows[-1]["match"] = asdict(matches[-1])
    if given.as_json:
        return dump(rows)
    names = ("images", "number", "patch", "patches", "references", "queries", "isolated", "threshold")
    table: list[tuple[str, ...]] = [(*names, "share of queries", "time at best")]
    keys = ("name", "pictures", "patch", "patches", "reference", "query", "isolated")
    table += [
        (*(str(row[key]) for key in keys), *(f"{row[key]:{form}}" for key, form in NUMBERS.items())) for row in rows
    ]
    card = classifier.card
    lines = [aligned(table), "", "Share of pixels in queries, mean over images. Time at best: if queries cost nothing,"]
    lines.append("against the whole image without overlaps.")
    if given.queries is not None:
        lines.append(_found(given.queries, rows))
    lines += [f"Classifier: {card['data']}; {card['top1']:.0%} right of those kept for the test.", PUBLISHED]
    lines += [line for match in matches for line in ("", matching.told(match))]
    return "\n".join(lines)


def _threshold(given: ClusterOptions, images: Sequence[NDArray[np.uint8]], patch: int, classifier: Classifier) -> float:
    if given.queries is None:
        return THRESHOLD if given.threshold is None else given.threshold
    return calibrated(images, given.queries, patch, given.shared, classifier)[0]


def _found(share: float, rows: Sequence[dict[str, Any]]) -> str:
    """What --queries found, and whether it is what was asked for."""
    text = f"Thresholds are those of which the share is nearest to {share:g}, for this classifier."
    far = [row for row in rows if abs(row["queries"] - share) > FAR]
    if far:
        names = ", ".join(f"{row['name']} at {row['patch']}" for row in far)
        text += f" No threshold comes near on {names}: images of few patches have no other shares."
    return text


def drawn(image: NDArray[np.uint8], found: Clustered) -> Image.Image:
    """The LR image, twice as large: clusters in colours, references framed, a line from each query to its own.

    Isolated patches stay grey.
    """
    grey = np.repeat(image.mean(2, keepdims=True), 3, 2)
    faded = np.rint(0.55 * grey + 0.2 * image + 0.25 * 235).astype(np.uint8)
    base = Image.fromarray(faded).resize((image.shape[1] * ZOOM, image.shape[0] * ZOOM), Image.Resampling.BICUBIC)
    layer = Image.new("RGBA", base.size)
    draw = ImageDraw.Draw(layer)
    clusters = found.clusters
    references = np.flatnonzero(clusters.referred).tolist()
    colours = {number: _colour(k) for k, number in enumerate(references)}
    boxes = [_box(patch) for patch in found.patches]
    for number, box in enumerate(boxes):
        owner = number if number in colours else int(clusters.reference[number])
        fill = (*colours[owner], 90) if owner >= 0 else (0, 0, 0, 0)
        draw.rectangle(box, fill=fill, outline=(255, 255, 255, 160))
    for number in references:
        draw.rectangle(_inset(boxes[number], 2), outline=(*colours[number], 255), width=5)
    for number in clusters.queries.tolist():
        ends = _middle(boxes[number]), _middle(boxes[int(clusters.reference[number])])
        draw.line(ends, fill=(255, 255, 255, 200), width=4)
        draw.line(ends, fill=(*colours[int(clusters.reference[number])], 255), width=2)
    for number, box in enumerate(boxes):
        x, y = _middle(box)
        size = 6 if number in colours else 3
        owner = number if number in colours else int(clusters.reference[number])
        colour = colours.get(owner, (110, 110, 110))
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(*colour, 255), outline=(255, 255, 255, 255))
    result = Image.alpha_composite(base.convert("RGBA"), layer).convert("RGB")
    counts = found.counts()
    words = (
        f"{counts['reference']} references (framed), {counts['query']} queries, {counts['isolated']} isolated (grey);"
    )
    band = Image.new("RGB", (result.width, result.height + 24), "white")
    band.paste(result, (0, 0))
    text = f"{words} {found.queries:.0%} of the pixels are in queries"
    ImageDraw.Draw(band).text((6, result.height + 5), text, fill="black", font_size=14)
    return band


def _facts(
    name: str, patch: int, threshold: float, given: ClusterOptions, found: Sequence[Clustered]
) -> dict[str, Any]:
    counts = {role: sum(one.counts()[role] for one in found) for role in ("reference", "query", "isolated")}
    at_best = [(1 - one.queries) * sum(patch.pixels for patch in one.patches) / _area(one) for one in found]
    return {
        "name": name,
        "pictures": len(found),
        "patch": patch,
        "shared": given.shared,
        "threshold": threshold,
        "patches": sum(len(one.patches) for one in found),
        **counts,
        "queries": float(np.mean([one.queries for one in found])),
        "at_best": float(np.mean(at_best)),
    }


def _area(found: Clustered) -> int:
    """The pixels of the image, without overlaps."""
    last = found.patches[-1]
    return last.rows.stop * last.columns.stop


def _images(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"there is no image or folder {path}")
    if path.is_file():
        return [path]
    found = sorted(one for one in path.rglob("*") if is_image_name(one))
    if not found:
        raise UsageError(f"{path} holds no images; give a folder of PNG or JPEG files")
    return found


def _small(path: Path, factor: int) -> NDArray[np.uint8]:
    image = read(path).rgb8()
    if factor == 1:
        return image
    height, width = (size // factor * factor for size in image.shape[:2])
    if not height or not width:
        raise UsageError(f"{path} is too small to be shrunk {factor} times")
    return shrink(np.ascontiguousarray(image[:height, :width]), factor)


def _check(given: ClusterOptions, paths: Sequence[Path]) -> None:
    if given.queries is not None and given.threshold is not None:
        raise UsageError("--queries finds a threshold and --threshold sets one; leave out one of them")
    if given.bits and not given.model:
        raise UsageError("--bits is for --match; give a MODEL with it")
    if given.config and not given.model:
        raise UsageError("--config is for --match; give a MODEL with it")
    if given.model:
        path_of(given.model)  # which refuses what is no model, before anything is clustered
    if not given.output:
        return
    if len(paths) != 1 or len(given.patch) != 1:
        raise UsageError(f"-o draws one image at one size of patch, not {len(paths)} at {len(given.patch)}")
    target = Path(given.output)
    if target.suffix.lower() != ".png":
        raise UsageError(f"the drawing is a .png, not {target.name!r}")
    check_target(target, overwrite=given.overwrite)


def _save(pil_image: Image.Image, path: Path, *, overwrite: bool) -> None:
    with open_atomic(path, overwrite=overwrite) as file:
        pil_image.save(file, "PNG")


def _colour(number: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(number * TURN % 1, 0.85, 0.85 if number % 2 else 0.65)
    return int(255 * red), int(255 * green), int(255 * blue)


Box = tuple[int, int, int, int]


def _box(patch: Any) -> Box:
    rows, columns = patch.rows, patch.columns
    left, top, right, bottom = columns.kept_from, rows.kept_from, columns.kept_to, rows.kept_to
    return left * ZOOM, top * ZOOM, right * ZOOM - 1, bottom * ZOOM - 1


def _inset(box: Box, by: int) -> Box:
    return box[0] + by, box[1] + by, box[2] - by, box[3] - by


def _middle(box: Box) -> tuple[int, int]:
    return (box[0] + box[2]) // 2, (box[1] + box[3]) // 2


__getattr__ = old_names(__name__, {"Settings": "ClusterOptions"})
