"""CRAFT quantized after training, or another network: all methods in one table, beside the run of the authors' code.

    python evidence/craft_ptq.py --weights craft_x4.pth --crops FOLDER --data FOLDER [--bits 8 6 4] [--sets Set5]
        [--count 100] [--batch 16] [--side 64] [--steps 500] [--methods ...] [--threads N] [--compile] [--out ptq.json]

FOLDER of crops holds low-resolution PNG files of at least `--side` pixels, of which the middle is taken; `--cut PHOTOS
--cut-count N` makes N of them first. `--count` of them are taken, spread over all. Every row is measured on the same
crops; methods that learn take `--steps` steps of two crops. What a row made is kept beside `--out`: rows that are there
are not made again, and sets may be added later. The table has all rows that lie there. With `--compile` the
rounding is compiled while a row learns.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from sharpbit import model as models
from sharpbit.cost.bitops import count
from sharpbit.image import is_image_name
from sharpbit.image.resize import shrink
from sharpbit.measure.benchmarks import find
from sharpbit.measure.evaluate import evaluate
from sharpbit.model import Model
from sharpbit.quant import recorded
from sharpbit.quant.core import METHODS
from sharpbit.quant.kernels import compiled
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.system.atomic import open_atomic
from sharpbit.verbs.quantize import INTEGER, joint_refinement
from sharpbit.verbs.receipt import upscaled

SIZE = (64, 64)  # of the image that costs are counted for
FEW = 12  # crops on which weights are rounded together
CROP = 64
PLACES = 4  # of which the most contrasted is taken
ROWS = (
    "minmax",
    "percentile",
    "ptq4sr",
    "adc",
    "adc+br",
    "search",
    "tuned",
    "tuned+last",
    "tuned+learned",
    "tuned+learned+last",
)
AUTHORS = {  # golden files: the authors' code on eight crops of 128x128, Set5; ADC in one batch, BR of 12 steps
    ("minmax", 8): 32.30, ("minmax", 6): 31.27, ("minmax", 4): 23.49,
    ("adc", 8): 32.29, ("adc", 6): 31.35, ("adc", 4): 24.05,
    ("adc+br", 8): 32.31, ("adc+br", 6): 31.51, ("adc+br", 4): 25.46,
}  # fmt: skip


def cut(photos: Path, folder: Path, number: int, scale: int) -> None:
    """Write that many crops, as many of each photo: each time the most contrasted of some at random places."""
    paths = sorted(path for path in photos.rglob("*") if is_image_name(path))
    each = -(-number // len(paths))
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for k in tqdm(range(number), desc="cutting"):
        path = paths[k // each]
        image = np.asarray(Image.open(path).convert("RGB"))
        height, width = (side // scale * scale for side in image.shape[:2])
        small = shrink(np.ascontiguousarray(image[:height, :width]), scale)
        places = [[random.integers(0, side - CROP + 1) for side in small.shape[:2]] for _ in range(PLACES)]
        crops = [small[y : y + CROP, x : x + CROP] for y, x in places]
        Image.fromarray(max(crops, key=np.std)).save(folder / f"{k:03}_{path.stem}.png")


def read(folder: Path, count: int, side: int) -> Tensor:
    """That many of the crops, spread over all, as neighbours are of one photo."""
    crops, paths = [], sorted(folder.glob("*.png"))
    for path in paths[:: max(1, len(paths) // count)][:count]:
        image = np.asarray(Image.open(path).convert("RGB"))
        top, left = ((size - side) // 2 for size in image.shape[:2])
        crops.append(image[top : top + side, left : left + side].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(crops)).float() / 255


def made(model: Model, row: str, bits: int, crops: Tensor, given: argparse.Namespace) -> Model:
    """The quantized model of one row of the table; what a row begins with is another row, made once."""
    start, _, learns = row.rpartition("+")
    path = given.out.parent / f"{given.out.stem}_{row}_{bits}.safetensors"
    if path.exists():
        return models.load(path)
    tuned = row.startswith("tuned")
    if start:
        before = padded(made(model, start, bits, crops, given), "reflect")
        teacher = changed(model, padding="reflect", mask=True).net.eval()
    if learns == "last":
        after = recorded.reconstruct_last_layer(before, teacher, crops)
    elif start:
        how = joint_refinement(given.steps, bits) if tuned else Refinement(given.steps)
        with compiled(given.compile), tqdm(total=given.steps, desc=f"{row} {bits} bit") as bar:
            after = recorded.refine(before, teacher, crops, how, bar.update)
    else:
        method = "search" if tuned else row
        few = crops[:: max(1, len(crops) // FEW)][:FEW]  # neighbours are of one photo
        # ours as `sharpbit quantize` has it, for engines; what is published has zero points at all widths
        symmetric = method == "search" and bits == INTEGER
        plan = Plan.after_training(model.arch.rounding, bits, METHODS[method].maps, symmetric=symmetric)
        after = recorded.insert_quantizers(padded(model, "reflect"), plan, method)
        if tuned:
            after = recorded.equalize(after, crops)
        after = recorded.calibrate(after, tqdm(torch.split(crops, given.batch), desc=f"{row} {bits} bit"))
        if tuned:
            after = recorded.compensate_rounding(after, few)
    after = padded(after, getattr(model.config, "padding", ""))
    models.save(after, path)
    return after


def changed(model: Model, **options: Any) -> Model:
    """The float model with other options, those that it has."""
    known = {name: value for name, value in options.items() if hasattr(model.config, name)}
    config = replace(model.config, **known)  # type: ignore[type-var]
    net = model.arch.build(config)
    net.load_state_dict(model.net.state_dict())
    return replace(model, config=config, net=net)


def padded(model: Model, rule: str) -> Model:
    """The model with another rule for borders; by `reflect`, as in the authors' training, crops that fit have none."""
    if not hasattr(model.config, "padding"):
        return model
    net = copy.deepcopy(model.net)
    net.config = replace(model.config, padding=rule)  # type: ignore[type-var]
    return replace(model, config=net.config, net=net)


def measured(model: Model, given: argparse.Namespace, scores: dict[str, list[float]]) -> None:
    """Fill in the sets that are missing."""
    for name in given.sets:
        if name not in scores:
            score = evaluate(lambda small: upscaled(model.net, small), find(given.data / name)[0], model.scale)
            scores[name] = [round(score.psnr, 3), round(score.ssim, 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--cut", type=Path)
    parser.add_argument("--cut-count", type=int, default=100)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["Set5"])
    parser.add_argument("--bits", nargs="*", type=int, default=[8, 6, 4])
    parser.add_argument("--methods", nargs="*", default=list(ROWS), choices=ROWS)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("scratch/craft_ptq.json"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = models.load(given.weights)
    if given.cut:
        cut(given.cut, given.crops, given.cut_count, model.scale)
    crops = read(given.crops, given.count, given.side)
    done: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    wanted = [("float", 32), *((row, bits) for bits in given.bits for row in given.methods)]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for row, bits in wanted:
        item = done.setdefault(f"{row} {bits}", {"scores": {}, "parameters": model.parameters})
        if all(name in item["scores"] for name in given.sets):
            continue
        started = time.monotonic()
        after = model if row == "float" else made(model, row, bits, crops, given)
        item.setdefault("seconds", round(time.monotonic() - started, 1))
        if "macs" not in item:
            cost = count(after.net, SIZE)
            item["macs"] = sum(layer.macs for layer in cost.layers)
            item["bitops"] = sum(layer.bitops for layer in cost.layers)
        measured(after, given, item["scores"])
        with open_atomic(given.out, overwrite=True) as file:
            file.write(json.dumps(done, indent=1).encode())
    print(
        f"{model.arch.name} x{model.scale}, {len(crops)} crops of {given.side}x{given.side} in batches of"
        f" {given.batch};"
        f" {given.steps} steps where learned; costs for {SIZE[1]}x{SIZE[0]};"
        f" {given.threads} threads, PyTorch {torch.__version__}\n"
    )
    sets = list(dict.fromkeys(name for item in done.values() for name in item["scores"]))
    print(f"| method | bits | {' | '.join(sets)} | authors | parameters | GMACs | GBitOPs | seconds |")
    print(f"|---|---|{'---|' * len(sets)}---|---|---|---|---|")
    order = ("float", *ROWS)
    for row, bits in sorted(map(split, done), key=lambda key: (-key[1], order.index(key[0]))):
        item = done[f"{row} {bits}"]
        scores = " | ".join(shown(item["scores"].get(name)) for name in sets)
        authors = AUTHORS.get((row, bits), "") if model.arch.name == "craft" else ""
        costs = (
            f"{item['parameters']:,} | {item['macs'] / 1e9:.2f} | {item['bitops'] / 1e9:.0f} | {item['seconds']:.0f}"
        )
        print(f"| {row} | {bits} | {scores} | {authors} | {costs} |")


def split(key: str) -> tuple[str, int]:
    """A row's method and bits."""
    row, _, bits = key.rpartition(" ")
    return row, int(bits)


def shown(score: list[float] | None) -> str:
    """PSNR and SSIM; nothing where a set was not run."""
    return f"{score[0]:.2f} / {score[1]:.4f}" if score else ""


if __name__ == "__main__":
    main()
