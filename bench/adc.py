"""Adaptive Dual Clipping by prefix sums against the plain way, which rounds the whole tensor for every candidate.

    python bench/adc.py [--weights craft_x4.pth] [--crops N] [--bits 8 6 4] [--threads N]

The activations are those of a CRAFT (fresh without weights) for random crops of 128x128, one site of each kind. Both
ways are timed on the same tensors, one batch each, and their steps and zero points compared.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from sharpbit import model as models
from sharpbit.quant.core import METHODS, observing, quantizers
from sharpbit.quant.method.adc import DualClip
from sharpbit.quant.plan import Plan
from sharpbit.quant.prefix_sums import grid_of
from sharpbit.quant.recorded import insert_quantizers

GROUP = "layers.0.residual_group."
SITES = {
    "input of qkv": f"{GROUP}srwa_blocks.0.qkv",
    "softmax": f"{GROUP}srwa_blocks.0.attns.0.attention",
    "input of fc2": f"{GROUP}srwa_blocks.0.mlp.fc2",
    "input of dwconv": f"{GROUP}hf_blocks.0.ffn.dwconv",
    "input of last_fc (frequency)": f"{GROUP}hfer_blocks.0.last_fc",
}


def plain(x: Tensor, bits: int, objective: str) -> tuple[float, float]:
    """The clipped range of one batch, as published."""
    most, low, high = 2**bits - 1, float(x.min()), float(x.max())
    edges = torch.linspace(low, high, 2**bits + 1).tolist()
    spectrum = torch.fft.fft(x.mean(1)).abs().sum(0) if objective == "frequency" else None

    def error(lo: float, hi: float) -> float:
        step = max((hi - lo) / most, 2.0**-23)
        zero = min(max(-round(lo / step), 0), most)
        y = (torch.clamp(torch.round(x / step + zero), 0, most) - zero) * step
        if spectrum is not None:
            return float((torch.fft.fft(y.mean(1)).abs().sum(0) - spectrum).abs().mean())
        return float((y - x).abs().mean())

    left, right, best, found = 0, 2**bits, float("inf"), (low, high)
    while right - left > 1:
        errors = error(edges[left + 1], edges[right]), error(edges[left], edges[right - 1])
        if min(errors) > best:
            break
        best = min(errors)
        left, right = (left + 1, right) if errors[0] < errors[1] else (left, right - 1)
        found = edges[left], edges[right]
    return found


class Caught(Exception):
    """All tensors are there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--crops", type=int, default=8)
    parser.add_argument("--bits", nargs="*", type=int, default=[8, 6, 4])
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    model = models.load(given.weights) if given.weights else models.build("craft", scale=4)
    net = insert_quantizers(model, Plan.after_training(model.arch.rounding, 8, METHODS["minmax"].maps), "minmax").net
    found = dict(quantizers(net))
    tensors: dict[str, Tensor] = {}

    def catch(name: str) -> None:
        def hook(part: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
            tensors[name] = args[0].detach().clone()
            if len(tensors) == len(SITES):
                raise Caught

        found[f"{SITES[name]}.act"].register_forward_pre_hook(hook)

    for name in SITES:
        catch(name)
    try:
        with torch.no_grad(), observing(net):
            net(torch.nn.functional.interpolate(torch.rand(given.crops, 3, 32, 32), size=128, mode="bicubic"))
    except Caught:
        pass
    print(f"{given.crops} crops of 128x128, {given.threads} threads, PyTorch {torch.__version__}\n")
    print("| site | values | bits | plain | ours | ratio | same grid |\n|---|---|---|---|---|---|---|")
    for name, x in tensors.items():
        objective = "frequency" if "frequency" in name else "absolute"
        for bits in given.bits:
            started = time.perf_counter()
            lo, hi = plain(x, bits, objective)
            middle = time.perf_counter()
            clip = DualClip(objective=objective, rate=1.0)
            clip.observe(x, bits)
            seconds = middle - started, time.perf_counter() - middle
            pairs = [torch.tensor(pair, dtype=torch.float64) for pair in ((lo, hi), (clip.lo.item(), clip.hi.item()))]
            (step, zero), (other, point) = (grid_of(*pair, bits) for pair in pairs)
            same = "yes" if abs(float(step / other) - 1) < 1e-4 and zero == point else "no"
            print(
                f"| {name} | {x.numel() / 1e6:.1f} M | {bits} | {seconds[0]:.2f} s | {seconds[1]:.2f} s"
                f" | {seconds[0] / seconds[1]:.1f} | {same} |"
            )


if __name__ == "__main__":
    main()
