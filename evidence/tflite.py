"""The networks of ETDS as TensorFlow Lite files: sizes and latencies here, beside those that were published.

    python evidence/tflite.py --weights ETDS --calibrate PHOTOS [--scale 2 3 4] [--networks ETDS-T ...]
        [--crops 300] [--size 640x360] [--runs 20] [--threads 1] [--sizes SIZES.csv] [--out tflite.md]

ETDS holds the published weights. Each network is written in float32 and, quantized without loss, in int8, and run by
LiteRT with XNNPACK on one image of `--size`; the median of `--runs` runs is shown. Published latencies are of phones:
columns of the paper's ablation, on the CPU and by NNAPI. SIZES.csv has the published sizes of files (network,
precision, config_scale, bytes).
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

import sharpbit
from sharpbit.data.calibration import Cut
from sharpbit.errors import QuantizeError
from sharpbit.model import Model

FILES = {  # name in the tables, to the file of weights and the name in the table of sizes
    "ETDS-T": ("ETDS/ETDS_M5C16", "ETDS"),
    "ETDS-S": ("ETDS/ETDS_M4C32", "ETDS"),
    "ETDS-M": ("ETDS/ETDS_M6C32", "ETDS"),
    "ETDS-L": ("ETDS/ETDS_M7C48", "ETDS"),
    "ECBSR+ET-M4C16": ("ECBSR/ECBSR_ET_M4C16", "ECBSR-ET"),
    "ECBSR+ET-M4C32": ("ECBSR/ECBSR_ET_M4C32", "ECBSR-ET"),
    "ECBSR+ET-M6C40": ("ECBSR/ECBSR_ET_M6C40", "ECBSR-ET"),
    "ABPN+ET-M4C28": ("ABPN/ABPN_ET_M4C28", "ABPN-ET"),
    "ABPN+ET-M6C40": ("ABPN/ABPN_ET_M6C40", "ABPN-ET"),
}
PUBLISHED = {  # ms on phones: int8 and float32 on the CPU, int8 and float32 by NNAPI; the ablations of the paper
    ("ETDS-T", 2): (106, 187, 4.85, 40.1),
    ("ETDS-S", 2): (112, 391, 8.06, 62.2),
    ("ETDS-M", 2): (161, 511, 10.2, 83.6),
    ("ETDS-L", 2): (342, 1003, 20.6, 175),
    ("ETDS-T", 3): (97.9, 204, 8.64, 63.8),
    ("ETDS-S", 3): (114, 390, 12.2, 86.8),
    ("ETDS-M", 3): (164, 514, 14.4, 86.5),
    ("ETDS-L", 3): (377, 989, 25.4, 202),
    ("ETDS-T", 4): (116, 235, 10.9, 67.5),
    ("ETDS-S", 4): (125, 413, 14.6, 90.7),
    ("ETDS-M", 4): (175, 558, 16.6, 112),
    ("ETDS-L", 4): (373, 1069, 27.6, 205),
    ("ECBSR+ET-M4C16", 2): (197, None, 5.51, None),
    ("ECBSR+ET-M4C32", 2): (354, None, 8.67, None),
    ("ECBSR+ET-M6C40", 2): (597, None, 17, None),
    ("ABPN+ET-M4C28", 2): (182, None, 8.6, None),
    ("ABPN+ET-M6C40", 2): (339, None, 17.2, None),
    ("ECBSR+ET-M4C16", 3): (215, None, 9.35, None),
    ("ECBSR+ET-M4C32", 3): (354, None, 13.1, None),
    ("ECBSR+ET-M6C40", 3): (621, None, 21.5, None),
    ("ABPN+ET-M4C28", 3): (188, None, 13.7, None),
    ("ABPN+ET-M6C40", 3): (373, None, 22.4, None),
    ("ECBSR+ET-M4C16", 4): (202, None, 11.7, None),
    ("ECBSR+ET-M4C32", 4): (360, None, 15.7, None),
    ("ECBSR+ET-M6C40", 4): (627, None, 23.5, None),
    ("ABPN+ET-M4C28", 4): (263, None, 17.8, None),
    ("ABPN+ET-M6C40", 4): (392, None, 26.6, None),
}
HEAD = (
    "network",
    "scale",
    "int8 bytes",
    "published",
    "float32 bytes",
    "published",
    "int8 ms",
    "float32 ms",
    "apart",
    "phone CPU int8",
    "phone CPU float32",
    "NNAPI int8",
    "NNAPI float32",
)


def timed(path: Path, image: np.ndarray, runs: int, threads: int) -> tuple[float, np.ndarray]:
    """Median milliseconds of LiteRT, and the result."""
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], [1, *image.shape])
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], image[None])
    interpreter.invoke()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds), interpreter.get_tensor(result["index"])[0]


def ours(model: Model, image: np.ndarray) -> np.ndarray:
    """The bytes that the integer model gives here."""
    with torch.no_grad():
        y = model.net(torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255)
    return np.round(255 * y[0].permute(1, 2, 0).numpy()).astype(int)


def sizes(path: Path | None) -> dict[tuple[str, str, str], int]:
    """Published sizes by network, precision, and the rest of its name."""
    if path is None:
        return {}
    with path.open() as file:
        return {
            (row["network"], row["precision"], row["config_scale"]): int(row["bytes"]) for row in csv.DictReader(file)
        }


def row(name: str, scale: int, given: argparse.Namespace, published: dict[tuple[str, str, str], int]) -> list[str]:
    """The row of one network at one scale."""
    stem, kind = FILES[name]
    model = sharpbit.load(given.weights / f"{stem}_x{scale}.pth")
    small = sharpbit.quantize(model, given.calibrate, method="lossless", cut=Cut(given.crops))
    image = np.random.default_rng(0).integers(0, 256, (*given.size, 3), np.uint8)
    config = f"{stem.rsplit('_', 1)[1]}_X{scale}"
    with tempfile.TemporaryDirectory() as folder:
        paths = {precision: Path(folder) / f"{precision}.tflite" for precision in ("int8", "float32")}
        sharpbit.export(small, paths["int8"])
        sharpbit.export(model, paths["float32"])
        quick, bytes_ = timed(paths["int8"], (image.astype(int) - 128).astype(np.int8), given.runs, given.threads)
        slow, _ = timed(paths["float32"], image.astype(np.float32) / 255, given.runs, given.threads)
        apart = int(np.abs(bytes_.astype(int) + 128 - ours(small, image)).max())
        held = {precision: path.stat().st_size for precision, path in paths.items()}
    known = {precision: published.get((kind, precision, config)) for precision in paths}
    phones = PUBLISHED.get((name, scale), (None,) * 4)
    numbers = [held["int8"], known["int8"], held["float32"], known["float32"]]
    counts = ["" if number is None else f"{number:,}" for number in numbers]
    phone = ["" if number is None else f"{number:g}" for number in phones]
    return [name, f"x{scale}", *counts, f"{quick:.1f}", f"{slow:.1f}", str(apart), *phone]


def size(text: str) -> tuple[int, int]:
    """`640x360` to height and width."""
    width, height = map(int, text.split("x"))
    return height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--scale", type=int, nargs="*", default=[2, 3, 4])
    parser.add_argument("--networks", nargs="*", default=list(FILES), choices=list(FILES))
    parser.add_argument("--crops", type=int, default=300)
    parser.add_argument("--size", type=size, default=(360, 640))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sizes", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    published = sizes(given.sizes)
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    print("\n".join(lines), flush=True)
    for scale in given.scale:
        for name in given.networks:
            try:
                lines.append(f"| {' | '.join(row(name, scale, given, published))} |")
            except QuantizeError as error:
                lines.append(f"| {name} | x{scale} | {error} |")
            print(lines[-1], flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
