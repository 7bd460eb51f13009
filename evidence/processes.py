"""Why several processes end with other weights than one: rounding, made large by Adam where gradients are nearly zero.

    python evidence/processes.py [--networks etds craft] [--parts 4] [--steps 2] [--batch 16] [--patch 24] [--rate 5e-4]
        [--data PHOTOS]

A small network is trained by one process, and with each batch divided among `--parts` as `torchrun` does it (the same
crops, the mean of the gradients of all parts), in float32 and in float64; on the images of a folder, or on noise. If
data, order or the mean were wrong, both would differ alike; rounding alone is 2**29 times smaller in float64. The table
has the largest difference of the gradients of the first step, that of the weights after all steps, and for the weights
that differ by more than a tenth of the learning rate how many there are and their largest gradient in the first step.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import sharpbit
from sharpbit.data.pairs import Pairs

BETAS = (0.9, 0.99)
NEAR = 0.1  # of the learning rate
NETWORKS: dict[str, dict[str, Any]] = {
    "etds": {"blocks": 5, "width": 16},
    "ecbsr": {"blocks": 2, "width": 8},
    "craft": {"width": 24, "depths": (1,), "heads": 2},
}


def gradients(net: nn.Module, small: Tensor, large: Tensor, parts: int) -> list[Tensor]:
    """The mean over all parts of the gradients of the mean absolute difference."""
    found = []
    for part in range(parts):
        net.zero_grad()
        (net(small[part::parts]) - large[part::parts]).abs().mean().backward()
        found.append([torch.zeros_like(own) if own.grad is None else own.grad.clone() for own in net.parameters()])
    return [torch.stack(own).mean(0) for own in zip(*found, strict=True)]


def trained(net: nn.Module, pairs: Pairs, parts: int, given: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """The gradients of the first step, and the weights after all steps, flat."""
    net = copy.deepcopy(net)
    weights = list(net.parameters())
    adam = torch.optim.Adam(weights, lr=given.rate, betas=BETAS)
    first = torch.empty(0)
    for step in range(given.steps):
        small, large = pairs.batch(given.batch, given.patch, torch.Generator().manual_seed(step))
        own = gradients(net, small.to(weights[0].dtype), large.to(weights[0].dtype), parts)
        for weight, grad in zip(weights, own, strict=True):
            weight.grad = grad
        adam.step()
        first = torch.cat([grad.flatten() for grad in own]) if step == 0 else first
    return first, torch.cat([weight.detach().flatten() for weight in weights])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (96, 96, 3), np.uint8) for _ in range(4)]
    pairs = Pairs.from_folder(given.data, 2) if given.data else Pairs.from_images(noise, 2)
    print("| network | precision | gradients apart | weights apart | weights that differ | largest gradient of these |")
    print("|---|---|---|---|---|---|")
    for name in given.networks:
        torch.manual_seed(0)
        net = sharpbit.build(name, scale=2, **NETWORKS[name]).net
        for kind in (torch.float32, torch.float64):
            print(f"| {name} | {row(net.to(kind), pairs, given)} |", flush=True)


def row(net: nn.Module, pairs: Pairs, given: argparse.Namespace) -> str:
    """The row of one network in one precision."""
    (grad, one), (other, several) = (trained(net, pairs, parts, given) for parts in (1, given.parts))
    apart = (one - several).abs()
    far = apart > NEAR * given.rate
    largest = f"{float(grad[far].abs().max()):.1e}" if bool(far.any()) else "none"
    kind = str(grad.dtype).removeprefix("torch.")
    return (
        f"{kind} | {float((grad - other).abs().max()):.1e} | {float(apart.max()):.1e} |"
        f" {int(far.sum())} of {far.numel()} | {largest}"
    )


if __name__ == "__main__":
    main()
