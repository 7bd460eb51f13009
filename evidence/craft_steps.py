"""Boundary refinement step by step beside the authors' run: from their clipping ranges, on their crops, in their order.

    python evidence/craft_steps.py --weights craft_x4.pth --crops FOLDER --before craft_ptq_adc_4bit.safetensors
        --after craft_ptq_br_4bit.safetensors [--bits 4] [--data Set5] [--threads 1]

`--before` has their clipping ranges after the first stage, `--after` those after the second, and the loss of each step
(`state/` and `output/loss_per_step`). FOLDER holds their eight crops, of which the middle 64x64 pixels are taken.
Printed are both losses of each step, how alike the ways are that all clipping ranges went, and the PSNR that ours end
with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit import model as models
from sharpbit.arch import Clipped
from sharpbit.data.calibration import Cut, from_folder
from sharpbit.measure.benchmarks import find
from sharpbit.measure.evaluate import evaluate
from sharpbit.quant import recorded
from sharpbit.quant.core import METHODS, quantizers
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq import published_clipping
from sharpbit.quant.ptq.boundary_refinement import Refinement, refine
from sharpbit.verbs.receipt import upscaled

CROPS = Cut(8, 64, "prepared")
STATE, LOSSES = "state/", "output/loss_per_step"


def state(file: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network in such a file."""
    return {key.removeprefix(STATE): value for key, value in file.items() if key.startswith(STATE)}


def ends(net: nn.Module, kind: str) -> Tensor:
    """All ends of the clipping ranges of one kind, one after the other."""
    found = [fixed.range for name, fixed in quantizers(net) if name.endswith(kind)]
    return torch.cat([end.detach().flatten() for own in found for end in (own.lo, own.hi)])  # type: ignore[attr-defined]


def theirs(net: nn.Module, file: dict[str, Tensor], known: Clipped, kind: str) -> Tensor:
    """The same of the authors' file; `net` has their clipping ranges afterwards."""
    published_clipping.fill(net, state(file), known)
    return ends(net, kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--after", type=Path, required=True)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = models.load(given.weights)
    known = model.arch.clipped
    assert known is not None, "an architecture whose authors quantized it"
    before, after = (load_file(path) for path in (given.before, given.after))
    plan = Plan.after_training(model.arch.rounding, given.bits, METHODS["adc"].maps)
    net = recorded.insert_quantizers(model, plan, "adc").net
    starts, goals = ({kind: theirs(net, file, known, kind) for kind in (".act", ".kernel")} for file in (before, after))
    published_clipping.fill(net, state(before), known)
    crops = from_folder(given.crops, model.scale, CROPS)[0].float() / 255
    wanted = after[LOSSES].tolist()
    own = refine(net, models.reconfigured(model, mask=True).net, crops, Refinement(len(wanted)))
    print("| step | authors' loss | ours |\n|---|---|---|")
    for step, (one, other) in enumerate(zip(wanted, own, strict=True), 1):
        print(f"| {step} | {one:.5f} | {other:.5f} |")
    for kind, start in starts.items():
        ways = goals[kind] - start, ends(net, kind) - start
        lengths = " and ".join(f"{float(way.norm()):.4f}" for way in ways)
        print(f"{kind}: cosine {float(F.cosine_similarity(*ways, 0)):.3f}, lengths {lengths}, {len(start)} ends")
    if given.data:
        score = evaluate(lambda small: upscaled(net, small), find(given.data)[0], model.scale)
        print(f"{given.data.name}: {score.psnr:.2f} / {score.ssim:.4f}")


if __name__ == "__main__":
    main()
