"""Make an embedded model of averaged weights: the float file and the integer file, with receipts.

    python research/training/embed.py AVERAGE.safetensors POOL NAME OUT

Writes `OUT/NAME-balanced.onnx` (8-bit integers, calibrated on LR crops of the pool) and `OUT/NAME-float.onnx`, prints
their flatness errors and how far apart they are. With `--size best`, only `OUT/NAME-best.onnx`, in integers.
`--keep FILE` writes the averaged weights in float16, to commit. Then `python evidence/psnr.py OUT/NAME-balanced.onnx
--data BENCHMARKS --embed` measures one and puts it among the embedded models.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from train import Pool

import sharpbit
from sharpbit import modelfile
from sharpbit.export import EXPORTS
from sharpbit.measure.flatness import flatness
from sharpbit.measure.psnr import of_values
from sharpbit.verbs.quantize import QuantizationSettings, lossless

CROPS, KEPT, SIDE = 300, 40, 64


def keep(weights: Path, out: Path) -> None:
    """Write a file of weights again, its kernels in float16."""
    with safe_open(weights, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        small = {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in tensors.items()}
        facts = file.metadata()
    save_file(small, out, facts)
    stored, header = out.read_bytes(), modelfile.read(weights)
    assert header is not None
    save_file(small, out, {**facts, modelfile.KEY: modelfile.stamp(header, stored, out).to_json()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("pool", type=Path)
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=("fast", "balanced", "best", "sharp"), default="balanced")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.keep:
        keep(args.weights, args.keep)
    trained = sharpbit.load(args.weights)
    model = sharpbit.reparameterize(trained)
    rng, pool = np.random.default_rng(0), Pool(args.pool, model.scale, SIDE)
    crops = torch.from_numpy(np.stack([pool.crop(rng)[0] for _ in range(CROPS)])).permute(0, 3, 1, 2).contiguous()
    whole = lossless(model, crops, QuantizationSettings(), None)
    made = {}
    files = {"float": model, args.size: whole} if args.size == "balanced" else {args.size: whole}
    for kind, one in files.items():
        name = f"{args.name}-{kind}"
        path = args.out / f"{name}.onnx"
        about = {**one.about, "name": name}
        EXPORTS["onnx"](replace(one, about=about), path, overwrite=True)
        upscaler = sharpbit.Upscaler(str(path), threads=1)
        made[kind] = lambda image, upscaler=upscaler: np.asarray(
            sharpbit.upscale(np.ascontiguousarray(image), upscaler=upscaler)
        )
        print(name, path.stat().st_size, "bytes", flatness(made[kind]))
    errors = {kind: [] for kind in made}
    for low, high in (pool.crop(rng) for _ in range(KEPT)):
        for kind, upscale in made.items():
            errors[kind].append((upscale(low).astype(float) - high) ** 2)
    psnr = {kind: of_values(np.sqrt(np.stack(found)), np.zeros(1)) for kind, found in errors.items()}
    print("on", KEPT, "other crops of the pool:", {kind: round(value, 3) for kind, value in psnr.items()})


if __name__ == "__main__":
    main()
