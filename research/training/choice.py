"""Find the limits by which a family of models is chosen (`sharpbit.pipeline.choose`).

    python research/training/choice.py --photos PHOTOS --art WORK/art --save found.json

Photos, rendered drawings and drawn pages are degraded in many ways at x2; each family upscales them. The table shows,
for each way, what `photo` and `art` gain over `clean` in PSNR, and the deciles of the measures. Then those limits are
searched that lose the least against the best family of each image; a loss counts at most 2 dB. `--load` only searches.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from drawn import drawing
from PIL import Image, ImageFilter

import sharpbit
from sharpbit.data.degrade import jpeg, noisy
from sharpbit.image import read
from sharpbit.measure.psnr import psnr
from sharpbit.pipeline.choose import Measures, measured, sample

FAMILIES = ("clean", "photo", "art")
WAYS = (
    *("clean", "lanczos", "box", "blur0.3", "blur0.5", "blur0.8"),
    *("jpeg98", "jpeg95", "jpeg92", "jpeg90", "jpeg88", "jpeg85", "jpeg75", "jpeg50", "webp90", "webp80", "webp60"),
    *("noise1", "noise2", "noise3", "noise5", "noise8", "noise3+jpeg95", "noise6+jpeg95"),
    *("jpeg90+png", "jpeg75+png", "jpeg50+png"),
)
SIDE = 576


def degraded(large: Image.Image, way: str, rng: np.random.Generator) -> bytes:
    """The file of an image of half the size, as `way` says."""
    first, _, second = way.partition("+")
    filters = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}
    if first.startswith("blur"):
        large = large.filter(ImageFilter.GaussianBlur(2 * float(first[4:])))
    image = large.resize((large.width // 2, large.height // 2), filters.get(first, Image.Resampling.BICUBIC))
    for step in (first, second):
        number = "".join(c for c in step if c.isdigit())
        if step.startswith("noise"):
            image = noisy(image, float(number), rng)
        elif step.startswith("jpeg") and (step != first or not second):
            return _file(image, "JPEG", int(number))
        elif step.startswith("jpeg"):
            image = jpeg(image, int(number))
        elif step.startswith("webp"):
            return _file(image, "WEBP", int(number))
    return _file(image, "PNG", 0)


def _file(image: Image.Image, form: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **({"quality": quality} if quality else {}))
    return buffer.getvalue()


def sources(photos: Path, art: Path) -> Iterator[tuple[str, Image.Image]]:
    """Photos as small as people put them on the web, rendered drawings, drawn pages; their middle."""
    rng = np.random.default_rng(77)
    for path in sorted(photos.glob("*.jpg")):
        image = Image.open(path).convert("RGB")
        factor = 1100 / max(image.size)
        yield (
            "photo",
            image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS),
        )
    for path in sorted(art.glob("*.png"))[::29]:
        yield "art", Image.open(path).convert("RGB")
    for _ in range(16):
        yield "drawn", Image.fromarray(drawing(384, rng))


def found(photos: Path, art: Path) -> list[dict]:
    """A row for each image and way: its measures, its JPEG quality, and the PSNR of each family."""
    upscalers = {family: sharpbit.Upscaler(f"x2-{family}-balanced", threads=1) for family in FAMILIES}
    rng, rows = np.random.default_rng(5), []
    for kind, image in sources(photos, art):
        width, height = (min(side, SIDE) // 16 * 16 for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        large = image.crop((left, top, left + width, top + height))
        for way in WAYS:
            small = read(degraded(large, way, rng))
            made = {f: sharpbit.upscale(small.rgb8().copy(), upscaler=one) for f, one in upscalers.items()}
            values = {f: min(60.0, float(psnr(pixels, np.asarray(large), border=2))) for f, pixels in made.items()}
            lossy = small.compression
            quality = 101 if lossy is None else lossy.quality or 0
            rows.append({"kind": kind, "way": way, "quality": quality, **vars(measured(sample(small))), "psnr": values})
    return rows


def table(rows: list[dict]) -> None:
    """What the families gain, and the measures, for each kind and way."""
    names = Measures.__dataclass_fields__
    print("gain of photo and art over clean (dB); deciles 1, 5, 9 of", *names)
    for kind, way in itertools.product(("photo", "art", "drawn"), WAYS):
        those = [row for row in rows if (row["kind"], row["way"]) == (kind, way)]
        gains = [np.mean([row["psnr"][family] - row["psnr"]["clean"] for row in those]) for family in FAMILIES[1:]]
        deciles = ["/".join(f"{v:.2f}" for v in np.quantile([row[n] for row in those], (0.1, 0.5, 0.9))) for n in names]
        print(f"{kind:6}{way:15}{gains[0]:+6.2f}{gains[1]:+6.2f}  ", "  ".join(deciles))


def search(rows: list[dict]) -> None:
    """The limits that lose the least."""
    column = {name: np.array([row[name] for row in rows]) for name in (*Measures.__dataclass_fields__, "quality")}
    psnrs = np.array([[row["psnr"][family] for family in FAMILIES] for row in rows])
    loss = np.minimum(psnrs.max(1, keepdims=True) - psnrs, 2.0)
    kinds = np.array([row["kind"] for row in rows])
    weight = np.where(kinds == "photo", 1 / (kinds == "photo").sum(), 1 / (kinds != "photo").sum())
    at = np.arange(len(rows))

    def cost(limits: dict[str, float]) -> float:
        return float((weight * loss[at, families(column, limits)]).sum() / 2)

    grid = {
        "flat": np.arange(0.2, 0.75, 0.05),
        "contrast": np.arange(10, 80, 5.0),
        "peak": np.arange(0.1, 1.01, 0.1),
        "quality": np.arange(80, 97, 1.0),
        "blocks": np.arange(1.04, 1.4, 0.02),
        "noise": np.arange(0.3, 2.5, 0.1),
        "sharp": np.arange(0.1, 0.4, 0.02),
    }
    limits = {"flat": 0.5, "contrast": 30.0, "peak": 0.5, "quality": 88.0, "blocks": 1.12, "noise": 1.2, "sharp": 0.25}
    for _ in range(4):
        for name, values in grid.items():
            limits[name] = float(min(values, key=lambda value: cost({**limits, name: value})))
    print({name: round(value, 2) for name, value in limits.items()}, "lose", round(cost(limits), 3), "dB on average")
    for number, family in enumerate(FAMILIES):
        print(f"always {family}: {float((weight * loss[:, number]).sum() / 2):.3f} dB")
    taken = families(column, limits)
    for kind in ("photo", "art", "drawn"):
        of_kind = kinds == kind
        print(kind, {family: round(float((taken[of_kind] == n).mean()), 2) for n, family in enumerate(FAMILIES)})


def families(column: dict[str, np.ndarray], limits: dict[str, float]) -> np.ndarray:
    """The number of the family of each row, as `choose` decides."""
    drawn = (column["contrast"] > limits["contrast"]) & (
        (column["flat"] > limits["flat"]) | (column["peak"] > limits["peak"])
    )
    hurt = (column["quality"] <= limits["quality"]) | (column["blocks"] > limits["blocks"])
    hurt |= (column["noise"] > limits["noise"]) | (column["sharp"] < limits["sharp"])
    return np.where(drawn, 2, np.where(hurt, 1, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--art", type=Path)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--load", type=Path)
    args = parser.parse_args()
    rows = json.loads(args.load.read_text()) if args.load else found(args.photos, args.art)
    if args.save:
        args.save.write_text(json.dumps(rows))
    table(rows)
    search(rows)


if __name__ == "__main__":
    main()
