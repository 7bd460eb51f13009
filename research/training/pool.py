"""Make a pool of training tiles: large ones and their degraded small partners, as flat files of bytes.

    python research/training/pool.py OUT --photos PHOTOS --scale 2 --kind photo --variants 3 --seed 1

Photos are cut into tiles of about 480 pixels, each of which is degraded in its own way. Every variant but the first is
shrunk before by a random factor and has its colour channels and sides exchanged at random; with `--shrink 0.3 0.6` the
first is shrunk, too, which makes the details of photos as fine as those of the benchmarks. `--drawn N` adds N drawn
tiles (flat fills, thin lines, text), `--windows N` N pieces of screens, `--leaves N` N tiles of pieces of the shrunk
photos, and `--folder` whole images of a folder, such as rendered vector art. `--hard` gives all of them more contrast.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from drawn import drawing, leaves, window
from PIL import Image

from sharpbit.data.degrade import KINDS, degraded
from sharpbit.image.resize import shrink

SIDE = 480


def tiles(image: np.ndarray, scale: int) -> Iterator[np.ndarray]:
    """The image in nearly square tiles whose sides are multiples of the scale."""
    height, width = image.shape[:2]
    rows, columns = max(1, round(height / SIDE)), max(1, round(width / SIDE))
    for row in range(rows):
        for column in range(columns):
            part = image[
                row * height // rows : (row + 1) * height // rows,
                column * width // columns : (column + 1) * width // columns,
            ]
            yield part[: part.shape[0] // scale * scale, : part.shape[1] // scale * scale]


def varied(
    image: Image.Image, number: int, rng: np.random.Generator, factors: tuple[float, float], *, art: bool
) -> np.ndarray:
    """The image as the numbered variant has it."""
    if number or factors[1] < 1:
        factor = rng.uniform(*factors)
        size = (round(image.width * factor), round(image.height * factor))
        image = image.resize(size, Image.Resampling.LANCZOS if not art else Image.Resampling.BOX)
    array = np.asarray(image)
    if number:
        array = array[:, :, rng.permutation(3)]
        array = array.transpose(1, 0, 2) if rng.random() < 0.5 else array
        array = array[::-1] if rng.random() < 0.5 else array
        array = array[:, ::-1] if rng.random() < 0.5 else array
    return np.ascontiguousarray(array)


def hardened(tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tile in harder light: contrast around one of its levels, up to four times, so that soft edges are steep."""
    levels = tile.astype(np.float32)
    middle = np.quantile(levels, rng.uniform(0.2, 0.8))
    gain = np.exp(rng.uniform(0, np.log(4)))
    return np.rint((levels - middle) * gain + rng.uniform(64, 192)).clip(0, 255).astype(np.uint8)


def write(out: Path, name: str, small: np.ndarray, large: np.ndarray, scale: int) -> None:
    """A tile as files, where `sharpbit train --data OUT` finds them."""
    for folder, array in ((out / "HR", large), (out / "LR_bicubic" / f"X{scale}", small)):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(array)).save(folder / f"{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--kind", choices=sorted(KINDS), default="photo")
    parser.add_argument("--variants", type=int, default=2)
    parser.add_argument("--drawn", type=int, default=0)
    parser.add_argument("--windows", type=int, default=0)
    parser.add_argument("--leaves", type=int, default=0)
    parser.add_argument("--shrink", type=float, nargs=2, default=(0.5, 1.0), help="factors by which variants shrink")
    parser.add_argument("--hard", action="store_true", help="in harder light, with steep edges")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", action="store_true", help="also as PNG files, which `sharpbit train` reads")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    sizes = []
    kind = KINDS[args.kind]

    def sources() -> Iterator[np.ndarray]:
        for folder, art in ((args.photos, False), (args.folder, True)):
            paths = sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".png")) if folder else []
            for path in paths:
                image = Image.open(path).convert("RGB")
                for number in range(args.variants):
                    yield from tiles(varied(image, number, rng, tuple(args.shrink), art=art), args.scale)
        for _ in range(args.drawn):
            yield drawing(SIDE // 2 // 12 * 12, rng)
        for _ in range(args.windows):
            yield window(SIDE // 12 * 12, args.scale, rng)
        paths = sorted(args.photos.glob("*.jpg")) if args.leaves else []
        photos = [varied(Image.open(path).convert("RGB"), 1, rng, tuple(args.shrink), art=False) for path in paths]
        for _ in range(args.leaves):
            yield leaves(photos, SIDE // 12 * 12 * 3 // 4, rng)

    with (args.out / "small.bytes").open("wb") as low, (args.out / "large.bytes").open("wb") as high:
        for large in sources():
            large = hardened(large, rng) if args.hard else large
            small = degraded(large, args.scale, kind, rng) if args.kind != "clean" else shrink(large, args.scale)
            low.write(small.tobytes())
            high.write(large.tobytes())
            sizes.append(small.shape[:2])
            if args.files:
                write(args.out, f"t{len(sizes):05d}", small, large, args.scale)
    np.save(args.out / "sizes.npy", np.array(sizes))
    facts = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    (args.out / "pool.json").write_text(json.dumps({**facts, "tiles": len(sizes)}) + "\n")
    print(len(sizes), "tiles,", round(float(np.prod(sizes, 1).sum()) / 1e6, 1), "million small pixels")


if __name__ == "__main__":
    main()
