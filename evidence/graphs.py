"""How far networks in integers are from float, and how fast: 20 crops of photos, drawings and text, half of them JPEG.

python evidence/graphs.py NETWORK [NETWORK ..] --calibrate FOLDER --data FOLDER [FOLDER ..] [--gate 45] [--keep FOLDER]
    [--texture IMAGE] [--work FOLDER]

Each NETWORK is a file, or `edsr` or `dense`: shapes with random weights (16 blocks of 64 channels; a small one with
concatenation, a gate and pools). All are quantized as `sharpbit quantize` does it by itself. The crops are those of
`evidence/compact.py`; dB are between the bytes of both results. Times are medians of all crops in turn, one thread,
native against ONNX Runtime in float32. `--keep` writes the files, and both results of each crop beside each other.
`--texture` compares the upper left 192x192 pixels of an image as well, and `--work` keeps long work, for a killed run.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from compact import COUNT, crops
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit import model as models
from sharpbit.export import EXPORTS
from sharpbit.measure.psnr import of_values
from sharpbit.model import Model
from sharpbit.model.foreign import of_module
from sharpbit.runtime import open_engine
from sharpbit.verbs.quantize import QuantizationSettings, with_receipt
from sharpbit.verbs.receipt import upscaled

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))


SIDE = 192  # of a texture
COLUMNS = "network", "method", "in 16 bits", "seconds", "mean", "photos", "drawings", "least", "texture"
TIMES = "native ms", "float32 ms"


class Dense(nn.Module):
    """A small network of what people write: concatenation, a gate from a coarse grid, a transposed convolution."""

    scale = 2

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(k, 24, 3, padding=1) for k in (3, 24, 48))
        self.coarse, self.gate = nn.Conv2d(24, 24, 3, 2), nn.Conv2d(24, 24, 1)
        self.up = nn.ConvTranspose2d(24, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """RGB to RGB."""
        y = F.leaky_relu(self.a(x), 0.1)
        z = F.silu(self.c(torch.cat([y, F.relu(self.b(y))], 1))) + y
        wide = F.interpolate(F.max_pool2d(self.coarse(z), 3, 2), size=z.shape[2:], mode="bilinear")
        result: Tensor = self.up(z * torch.sigmoid(self.gate(wide))) * 0.2
        return result + F.interpolate(x, scale_factor=2, mode="bilinear")


def network(name: str) -> Model:
    """The float model."""
    if name not in ("edsr", "dense"):
        return models.load(name)
    torch.manual_seed(0)
    if name == "dense":
        return of_module(Dense().eval(), scale=2, white=1.0)
    from graph import Edsr

    return of_module(Edsr().eval(), scale=Edsr.scale, white=1.0)


def timed(call: Callable[[np.ndarray], object], image: np.ndarray) -> float:
    """Milliseconds."""
    begin = time.perf_counter()
    call(image)
    return 1e3 * (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--calibrate", required=True)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--gate", type=float, default=45.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--texture", type=Path)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    images = crops(given.data)
    whole = [*images]
    if given.texture:
        whole.append(np.asarray(Image.open(given.texture).convert("RGB"))[:SIDE, :SIDE])
    print(f"| {' | '.join(COLUMNS + TIMES)} |\n{'|---' * len(COLUMNS + TIMES)}|", flush=True)
    for name in given.networks:
        model, stem = network(name), Path(name).stem
        settings = QuantizationSettings(gate=given.gate, work=given.work and given.work / stem)
        after, receipt = with_receipt(model, given.calibrate, settings)
        with tempfile.TemporaryDirectory() as place:
            folder = given.keep or Path(place)
            folder.mkdir(parents=True, exist_ok=True)
            EXPORTS["native"](after, folder / f"{stem}.sharpbit", overwrite=True)
            EXPORTS["onnx"](model, folder / f"{stem}.onnx", overwrite=True)
            native, real = (open_engine(folder / f"{stem}{end}", threads=1) for end in (".sharpbit", ".onnx"))
            wanted = [upscaled(model.net, image) for image in whole]
            got = [np.asarray(next(iter(native([image])))) for image in whole]
            times = [(timed(native.run, image), timed(real.run, image / np.float32(255))) for image in images]
        values = [of_values(a.astype(float), b.astype(float)) for a, b in zip(wanted, got, strict=True)]
        values, texture = values[: len(images)], values[len(images) :]
        means = [f"{np.mean(part):.2f}" for part in (values, values[:COUNT], values[COUNT:])]
        both = (
            "{} of {} convolutions".format(*receipt.both)
            if receipt.both
            else f"{max(receipt.wide, default=0)} channels"
        )
        speed = [f"{median(part):.0f}" for part in zip(*times, strict=True)]
        print(
            f"| {stem} | {receipt.method} | {both} | {receipt.seconds:.0f} | {' | '.join(means)} | {min(values):.2f} |"
            f" {texture[0] if texture else math.nan:.2f} | {' | '.join(speed)} |",
            flush=True,
        )
        if given.keep:
            for number, pair in enumerate(zip(wanted, got, strict=True)):
                Image.fromarray(np.concatenate(pair, 1)).save(given.keep / f"{stem}-{number:02}.png")


if __name__ == "__main__":
    main()
