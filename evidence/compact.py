"""How far Compact networks in integers are from float: 20 crops of photos, drawings and text, half of them JPEG.

python evidence/compact.py WEIGHTS [WEIGHTS ..] --calibrate FOLDER --data FOLDER [FOLDER ..] [--wide 0 16 ..]

Each of WEIGHTS is calibrated on the images of `--calibrate` as `sharpbit quantize` does it, with the numbers of wide
channels that are named, or with those that it chooses. 10 crops come from the images of `--data`, which should be
others; 10 are drawn. dB are between the bytes of both results: mean of the crops, and the least. `--keep FOLDER` writes
the integer files, and the crops in float and in integers beside each other, to be looked at.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from sharpbit import model as models
from sharpbit.arch.integer import of_chain
from sharpbit.data import calibration
from sharpbit.data.degrade import jpeg
from sharpbit.data.varied import drawing, varied
from sharpbit.export import EXPORTS
from sharpbit.image import is_image_name, read
from sharpbit.measure.psnr import of_values
from sharpbit.quant.history import QuantizeSloped
from sharpbit.quant.sloped import SlopedSettings, quantize_sloped
from sharpbit.reparam.chain import chain
from sharpbit.verbs.quantize import SLOPED_CROPS, integer_model
from sharpbit.verbs.receipt import upscaled

SIDE, COUNT = 96, 10  # of photos, and as many drawings
QUALITY = (50, 75, 90)  # of JPEG, in turn


def crops(folders: list[Path]) -> list[np.ndarray]:
    """The 20 crops, `(96, 96, 3)` bytes: of images spread over each folder, then drawings."""
    paths = [sorted(path for path in folder.rglob("*") if is_image_name(path)) for folder in folders]
    photos = []
    for number in range(COUNT):
        own = paths[number % len(paths)]
        image = read(own[(2 * number + 1) * len(own) // (2 * COUNT)]).rgb8()
        top, left = ((size - SIDE) // 2 for size in image.shape[:2])
        photos.append(Image.fromarray(image[top : top + SIDE, left : left + SIDE]))
    rng = np.random.default_rng(7)
    drawn = [drawing((SIDE, SIDE), rng) for _ in range(COUNT)]
    found = []
    for number, image in enumerate([*photos, *drawn]):
        lossy = jpeg(image, QUALITY[number // 2 % len(QUALITY)]) if number % 2 else image
        found.append(np.array(lossy))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--calibrate", required=True)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--wide", type=int, nargs="+", default=[None])
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    images = crops(given.data)
    print(
        "| network | wide channels | seconds | mean | photos | drawings | least |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for path in given.weights:
        model = models.load(path)
        wanted = [upscaled(model.net, image) for image in images]
        found = calibration.from_folder(given.calibrate, model.scale)[0]
        shown = varied(found[:: max(1, len(found) // SLOPED_CROPS)][:SLOPED_CROPS])
        for wide in given.wide:
            started = time.monotonic()
            integers = quantize_sloped(chain(model.net, "plain"), shown, SlopedSettings(wide=wide))
            seconds = time.monotonic() - started
            entry = QuantizeSloped(model.arch.name, bits=8, crops=len(shown))
            after = integer_model(model, of_chain(integers), entry)
            got = [upscaled(after.net, image) for image in images]
            values = [of_values(a.astype(float), b.astype(float)) for a, b in zip(wanted, got, strict=True)]
            means = [f"{np.mean(part):.2f}" for part in (values, values[:COUNT], values[COUNT:])]
            count = max(integers.wide, default=0)
            print(f"| {path.stem} | {count} | {seconds:.0f} | {' | '.join(means)} | {min(values):.2f} |", flush=True)
            if given.keep:
                given.keep.mkdir(parents=True, exist_ok=True)
                EXPORTS["native"](after, given.keep / f"{path.stem}-{count}.sharpbit", overwrite=True)
                pairs = [np.concatenate(pair, 1) for pair in zip(wanted, got, strict=True)]
                for number, pair in enumerate(pairs):
                    Image.fromarray(pair).save(given.keep / f"{path.stem}-{count}-{number:02}.png")


if __name__ == "__main__":
    main()
