"""The share of pixels in queries, by set of images, size of patch, threshold and classifier.

python evidence/query_fraction.py --data BENCHMARKS/Set14/HR BENCHMARKS/BSD100/HR PHOTOS2K [--figure FILE.svg]

Images are shrunk `--scale` times first, four times as in the paper, whose own shares (derived from its tables, at a
threshold of 0.5) are 0.490 for Urban100 at 72, 0.575 for Test2K at 96 and 0.656 for Test4K at 96. `--classifier
OTHER.npz` compares.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sharpbit.image import is_image_name, read
from sharpbit.image.resize import shrink
from sharpbit.report import svg
from sharpbit.twopass.classifier import Classifier, embedded
from sharpbit.twopass.patches import grid
from sharpbit.twopass.roles import cluster

SHARED = 6  # pixels that neighbouring patches have in common
PATCHES = (48, 72, 96)
THRESHOLDS = tuple(k / 10 for k in range(11))
SHOWN = (0.5, 0.7, 0.8, 0.9)
COLOURS = ("#0b6fb8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#be185d", "#0f766e", "#475569", "#111111")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 840, 400, 60, 44, 330, 44


def small_images(folder: Path, scale: int) -> list[np.ndarray]:
    found = []
    for path in sorted(path for path in folder.rglob("*") if is_image_name(path)):
        image = read(path).rgb8()
        height, width = (size // scale * scale for size in image.shape[:2])
        found.append(shrink(np.ascontiguousarray(image[:height, :width]), scale))
    return found


def shares(images: list[np.ndarray], patch: int, classifier: Classifier) -> dict[str, Any]:
    """For each threshold the mean share over the images."""
    each, patches = [], 0
    for image in images:
        pieces = grid(*image.shape[:2], patch, patch - SHARED)
        vectors = classifier.vectors([piece.cut(image) for piece in pieces])
        pixels = [piece.pixels for piece in pieces]
        each.append([cluster(vectors, threshold).query_fraction(pixels) for threshold in THRESHOLDS])
        patches += len(pieces)
    mean = np.mean(each, 0)
    return {"patches": patches / len(images), "shares": dict(zip(map(str, THRESHOLDS), mean.tolist(), strict=True))}


def figure(rows: list[dict[str, Any]]) -> str:
    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)

    def parts() -> Iterator[str]:
        yield svg.text(LEFT, 24, "Share of pixels in queries", font_size=14, font_weight="bold")
        for k in range(0, 11, 2):
            (x, bottom), (_, top) = at(k / 10, 0), at(k / 10, 1)
            left, y = at(0, k / 10)
            right = at(1, 0)[0]
            yield svg.path(f"M{x:.1f} {top}V{bottom}M{left} {y:.1f}H{right}", stroke="#ddd", fill="none")
            yield svg.text(x, bottom + 18, f"{k / 10:g}", text_anchor="middle")
            yield svg.text(left - 8, y + 4, f"{k / 10:g}", text_anchor="end")
        yield svg.text(at(0.5, 0)[0], HEIGHT - 8, "threshold of the cosine", text_anchor="middle")
        for number, row in enumerate(rows):
            embedded = row["classifier"] == "embedded"
            line = {"stroke": COLOURS[number % len(COLOURS)], "stroke_width": 2}
            line |= {} if embedded else {"stroke_dasharray": "5 4"}
            yield svg.polyline([at(float(t), y) for t, y in row["shares"].items()], **line)
            y = TOP + 18 * number
            yield svg.path(f"M{WIDTH - RIGHT + 16} {y}h22", **line)
            other = "" if embedded else f", {row['classifier']}"
            yield svg.text(WIDTH - RIGHT + 44, y + 4, f"{row['data']}, patches of {row['patch']}{other}")

    return svg.drawing(WIDTH, HEIGHT, parts(), size=12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--patch", nargs="+", type=int, default=PATCHES)
    parser.add_argument("--classifier", type=Path, action="append", default=[])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    classifiers = {"embedded": embedded()} | {path.stem: Classifier.read(path) for path in given.classifier}
    rows = []
    for folder in given.data:
        images = small_images(folder, given.scale)
        name = folder.parent.name if folder.name == "HR" else folder.name
        work = [(patch, which) for patch in given.patch for which in classifiers]
        for patch, which in tqdm(work, name, delay=2, leave=False):
            found = shares(images, patch, classifiers[which])
            rows.append({"data": name, "pictures": len(images), "patch": patch, "classifier": which, **found})
    if given.figure:
        given.figure.write_text(figure(rows))
    if given.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"| data | images | patch | patches each | classifier | {' | '.join(map(str, SHOWN))} |")
    print("|---|---|---|---|---|" + "---|" * len(SHOWN))
    for row in rows:
        cells = (row["data"], row["pictures"], row["patch"], f"{row['patches']:.1f}", row["classifier"])
        values = (f"{row['shares'][str(threshold)]:.3f}" for threshold in SHOWN)
        print(f"| {' | '.join(map(str, (*cells, *values)))} |")


if __name__ == "__main__":
    main()
