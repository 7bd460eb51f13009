"""What eight bits cost: every published ETDS, float against integer, on benchmark sets; and what each idea buys.

python evidence/lossless.py --weights FOLDER --calibrate FOLDER --data SET [SET ..] [--only M6C32_x2] [--ablation]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from sharpbit import model as models
from sharpbit.arch.integer import of_chain
from sharpbit.data import calibration
from sharpbit.measure.benchmarks import find
from sharpbit.measure.evaluate import evaluate
from sharpbit.quant.lossless import LosslessSettings, quantize_chain
from sharpbit.reparam.chain import relu_chain
from sharpbit.verbs.receipt import upscaled

SIZES = {"T": "M5C16", "S": "M4C32", "M": "M6C32", "L": "M7C48"}
ABLATION = {
    "a scale per channel, weights to the nearest": LosslessSettings(carry=False, fit=False, compensate=False, steps=0),
    "+ fitted, compensated rounding": LosslessSettings(carry=False, steps=0),
    "+ the image carried": LosslessSettings(steps=0),
    "+ tuned (the method)": LosslessSettings(),
    "tuned, the image not carried": LosslessSettings(carry=False),
    "tuned, weights to the nearest": LosslessSettings(compensate=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--calibrate", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument(
        "--only", nargs="*", default=[f"{size}_x{scale}" for scale in (2, 3, 4) for size in SIZES.values()]
    )
    parser.add_argument("--ablation", action="store_true")
    given = parser.parse_args()
    sets = [item for folder in given.data for item in find(folder)]
    names = " | ".join(item.name for item in sets)
    print(f"| network | settings | seconds | {names} |\n|---|---|---|{'---|' * len(sets)}", flush=True)
    for name in given.only:
        scale = int(name[-1])
        model = models.load(next(given.weights.rglob(f"ETDS_{name}.pth")))
        crops = calibration.from_folder(given.calibrate, scale)[0]
        before = scores(model.net, sets, scale)
        for words, settings in (ABLATION if given.ablation else {"the method": LosslessSettings()}).items():
            started = time.monotonic()
            net = of_chain(quantize_chain(relu_chain(model.net), crops, settings))
            seconds = time.monotonic() - started
            pairs = zip(before, scores(net, sets, scale), strict=True)
            cells = " | ".join(f"{a:.3f} -> {b:.3f} ({b - a:+.3f})" for a, b in pairs)
            print(f"| {name} | {words} | {seconds:.0f} | {cells} |", flush=True)


def scores(net: torch.nn.Module, sets: list, scale: int) -> list[float]:
    return [evaluate(lambda small: upscaled(net.eval(), small), item, scale).psnr for item in sets]


if __name__ == "__main__":
    main()
