"""PSNR and SSIM of models, measured from the installed command on PNG files.

Each benchmark image is cropped at the top left to multiples of 12, made small by the MATLAB-compatible bicubic of
`sharpbit.image.resize`, written as PNG, upscaled by `sharpbit upscale`, read again and compared on the Y channel
without a border of `scale` pixels.

    python evidence/psnr.py [MODEL ...] --data FOLDER      FOLDER/NAME/HR/*.png are the benchmarks
    python evidence/psnr.py MODEL.onnx --data FOLDER --embed   also writes the numbers into its header and the file into
                                                            the folder of embedded models
    python evidence/psnr.py --restamp                       writes the headers of embedded models again, in the newest
                                                            format; their weights stay
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sharpbit import modelfile, zoo
from sharpbit.image.resize import resize, shrink
from sharpbit.measure.psnr import psnr
from sharpbit.measure.ssim import ssim
from sharpbit.modelfile import Metric
from sharpbit.modelfile.header import FORMAT
from sharpbit.system.atomic import open_atomic

PROTOCOL = (
    "Y channel, border = scale, 8 bits; HR cropped to multiples of 12, LR by MATLAB-style bicubic; "
    "sharpbit upscale on PNG files"
)
Pair = tuple[Path, np.ndarray]


def prepare(folder: Path, scale: int, small: Path) -> dict[str, np.ndarray]:
    """Write the low-resolution images of a benchmark to `small`; returns the true ones by name."""
    small.mkdir(parents=True)
    truth = {}
    for path in sorted((folder / "HR").glob("*.png")):
        image = np.array(Image.open(path).convert("RGB"))
        image = image[: image.shape[0] // 12 * 12, : image.shape[1] // 12 * 12]
        Image.fromarray(shrink(image, scale)).save(small / path.name)
        truth[path.name] = image
    if not truth:
        sys.exit(f"{folder / 'HR'} holds no PNG files")
    return truth


def measure(model: str, scale: int, folder: Path) -> tuple[float, float]:
    """Mean PSNR and SSIM of a model (or `bicubic`) on a benchmark."""
    with tempfile.TemporaryDirectory() as temporary:
        small, large = Path(temporary) / "small", Path(temporary) / "large"
        truth = prepare(folder, scale, small)
        if model == "bicubic":
            large.mkdir()
            for name in truth:
                image = np.array(Image.open(small / name)).astype(np.float64)
                out = resize(image, image.shape[0] * scale, image.shape[1] * scale, scale=scale)
                Image.fromarray(np.rint(np.clip(out, 0, 255)).astype(np.uint8)).save(large / name)
        else:
            command = Path(sys.executable).with_name("sharpbit")
            options = ["-n", model, "-o", os.fspath(large), "--quiet"]
            subprocess.run([command, "upscale", os.fspath(small), *options], check=True)
        results = {name: np.array(Image.open(large / name)) for name in truth}
    pairs = [(results[name], truth[name]) for name in truth]
    psnrs = [psnr(result, true, border=scale) for result, true in pairs]
    ssims = [ssim(result, true, border=scale) for result, true in pairs]
    return float(np.mean(psnrs)), float(np.mean(ssims))


def embed(path: Path, metrics: list[Metric]) -> Path:
    """Write `metrics` into the header of an ONNX file and put the result among the embedded models."""
    import onnx

    header = modelfile.read(path, verify=True)
    if header is None:
        sys.exit(f"{path} has no sharpbit header")
    proto = onnx.load(os.fspath(path))
    entry = next(item for item in proto.metadata_props if item.key == modelfile.KEY)
    entry.value = replace(header, metrics=tuple(metrics), format=FORMAT).to_json()
    target = zoo.FOLDER / path.name
    with open_atomic(target, overwrite=True) as file:
        file.write(proto.SerializeToString())
    modelfile.read(target, verify=True)
    return target


def restamp(names: list[str]) -> None:
    """Write the headers of models again among the embedded ones, in the newest format, with their metrics."""
    for name in names:
        path = zoo.path_of(name)
        header = modelfile.read(path)
        print(embed(path, list(header.metrics if header else ())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(zoo.models()), help="embedded names or ONNX files")
    parser.add_argument("--data", type=Path, help="folder of the benchmarks")
    parser.add_argument("--sets", nargs="*", default=["Set5", "Set14", "BSD100"])
    parser.add_argument("--embed", action="store_true")
    parser.add_argument(
        "--restamp", action="store_true", help="write headers again in the newest format, measure nothing"
    )
    given = parser.parse_args()
    if given.restamp:
        restamp(given.models)
        return
    if given.data is None:
        parser.error("--data is missing")
    print(f"PSNR (dB) / SSIM; {PROTOCOL}\n")
    print(f"| model | {' | '.join(given.sets)} |\n|---|{'---|' * len(given.sets)}")
    for name in given.models:
        path = zoo.path_of(name)
        header = modelfile.read(path)
        scale = header.scale if header else 1
        metrics = []
        for label, model in ((f"bicubic x{scale}", "bicubic"), (Path(name).stem, os.fspath(path))):
            found = [measure(model, scale, given.data / data) for data in given.sets]
            print(f"| {label} | {' | '.join(f'{p:.2f} / {s:.4f}' for p, s in found)} |", flush=True)
        for data, (p, s) in zip(given.sets, found, strict=True):
            metrics += [Metric("psnr", round(p, 3), data, PROTOCOL), Metric("ssim", round(s, 4), data, PROTOCOL)]
        if given.embed:
            print(f"written to {embed(path, metrics)}", file=sys.stderr)


if __name__ == "__main__":
    main()
