"""Build the drawn part of the training set: vector art of Openclipart, rendered by librsvg.

    apt-get install librsvg2-bin openclipart-svg
    python scripts/build_training_set.py OUT --count 700

`OUT` gets PNG files of 320 to 720 pixels, each on white or on a light colour, and `SOURCES.csv` with the drawing behind
each. The drawings are in the public domain. Logos are left out. The same seed gives the same set.
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

ART = Path("/usr/share/openclipart/svg")
LEFT_OUT = ("logos", "unsorted")
SECONDS = 10  # for one drawing


def rendered(path: Path, side: int, ground: tuple[int, int, int]) -> Image.Image | None:
    """The drawing with a longer side of `side` pixels on a ground, or None where it cannot be rendered or is empty."""
    command = ["rsvg-convert", "-w", str(side), "-h", str(side), "--keep-aspect-ratio", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
        image = Image.open(io.BytesIO(done.stdout)).convert("RGBA")
    except (subprocess.SubprocessError, OSError):
        return None
    if min(image.size) < 160:
        return None
    whole = Image.new("RGBA", image.size, (*ground, 255))
    whole.alpha_composite(image)
    flat = whole.convert("RGB")
    return flat if np.asarray(flat).std() > 15 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=700)
    parser.add_argument("--seed", type=int, default=10)
    args = parser.parse_args()
    paths = sorted(path for path in ART.rglob("*.svg") if path.relative_to(ART).parts[0] not in LEFT_OUT)
    if not paths:
        parser.error(f"{ART} holds no drawings; install openclipart-svg")
    rng = np.random.default_rng(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in rng.permutation(len(paths)):
        if len(rows) == args.count:
            break
        path, side = paths[number], int(rng.integers(320, 721))
        white = rng.random() < 0.7
        ground = (255, 255, 255) if white else tuple(int(value) for value in rng.integers(128, 256, 3))
        image = rendered(path, side, ground)  # type: ignore[arg-type]
        if image is None:
            continue
        name = f"art{len(rows):04d}.png"
        image.save(args.out / name)
        rows.append((name, path.relative_to(ART), side, "public domain (Openclipart)"))
    with (args.out / "SOURCES.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "drawing", "side", "licence"), *rows])
    print(len(rows), "drawings")


if __name__ == "__main__":
    main()
