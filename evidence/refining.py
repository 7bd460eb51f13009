"""How long a step of boundary refinement takes: rounding in blocks of two sizes, and compiled.

    python evidence/refining.py --weights craft_x4.pth --crops FOLDER [--side 64] [--steps 6] [--bits 4] [--threads 2]
        [--ways blocks-32768 blocks-131072 compiled]

FOLDER holds prepared LR crops. Two are taken, of each the middle, without borders. Clipping ranges are those of MinMax:
where they lie has no influence on the time. Printed are the seconds of each step but the first two, in which the memory
is taken, and the loss of the first step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from sharpbit import model as models
from sharpbit.data.calibration import Cut, from_folder
from sharpbit.quant import kernels, recorded
from sharpbit.quant.core import METHODS
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq.boundary_refinement import Refinement

COMPILED, BLOCKS = "compiled", "blocks-"
FIRST = 2  # steps in which the memory is taken


def timed(before: models.Model, teacher: models.Model, crops: Tensor, way: str, steps: int) -> str:
    """The row of one way."""
    kernels.BLOCK = int(way.removeprefix(BLOCKS)) if way != COMPILED else kernels.BLOCK
    moments: list[float] = []
    with kernels.compiled(way == COMPILED):
        started = time.monotonic()
        after = recorded.refine(
            before, teacher.net, crops, Refinement(steps), lambda _: moments.append(time.monotonic())
        )
    spans = [b - a for a, b in zip([started, *moments], moments, strict=False)][FIRST:]
    loss = after.history[-1].losses[0]  # type: ignore[attr-defined]
    seconds = " ".join(f"{span:.2f}" for span in spans)
    return f"| {way} | {statistics.median(spans):.2f} | {seconds} | {loss:.6g} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", nargs="*", default=["blocks-32768", "blocks-131072", COMPILED])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = models.load(given.weights)
    fitting = {"padding": "reflect"} if hasattr(model.config, "padding") else {}
    model = models.reconfigured(model, **fitting)
    teacher = models.reconfigured(model, **({"mask": True} if hasattr(model.config, "mask") else {}))
    crops = from_folder(given.crops, model.scale, Cut(2, given.side, "prepared"))[0].float() / 255
    plan = Plan.after_training(model.arch.rounding, given.bits, METHODS["minmax"].maps)
    before = recorded.calibrate(recorded.insert_quantizers(model, plan, "minmax"), [crops])
    print(f"{model.arch.name} x{model.scale}, {given.bits} bits, two crops of {given.side}x{given.side},")
    print(f"{given.threads} threads, PyTorch {torch.__version__}\n")
    print("| rounding | median s | s of each step | first loss |\n|---|---|---|---|")
    for way in given.ways:
        print(timed(before, teacher, crops, way, given.steps), flush=True)


if __name__ == "__main__":
    main()
