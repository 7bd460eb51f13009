"""The forward of CRAFT against a plain reading of its description (`bench/craft_plain.py`): time and equality.

    python bench/craft.py [--weights craft_x4.pth] [--size 64x64 128x128] [--repeats N] [--threads N]

Without weights the network is a fresh one, which takes the same time. The sides run in turn; medians are compared.
`explicit` is our forward with a hook on every site, as while calibrating, so that no fused kernel runs. All sides get
large pages, as the runtime asks PyTorch for them; `THP_MEM_ALLOC_ENABLE=0` in front shows the times without.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read when PyTorch allocates for the first time

import torch
from craft_plain import craft
from torch import Tensor

from sharpbit import model as models
from sharpbit.nn import Site
from sharpbit.runtime import available_cpus

EQUAL = 1e-5


def timed(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[float, Tensor]:
    started = time.perf_counter()
    out = run(x)
    return time.perf_counter() - started, out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--size", nargs="*", default=["128x128"], help="width x height of the LR image")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cpus())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    model = models.load(given.weights) if given.weights else models.build("craft", scale=4)
    print(f"CRAFT x{model.scale}, PyTorch {torch.__version__}, float32, medians of {given.repeats} in turn\n")
    print("| size | threads | mask | plain reading | ours | ratio | ours, explicit | largest difference |")
    print("|---|---|---|---|---|---|---|---|")
    failed = False
    for size in given.size:
        width, height = map(int, size.split("x"))
        x = torch.rand(1, 3, height, width)
        for mask in (False, True):
            median, apart = compare(model, x, mask, given.repeats)
            failed |= apart > EQUAL
            print(
                f"| {size} | {given.threads} | {'on' if mask else 'off'} | {median['plain']:.3f} s "
                f"| {median['ours']:.3f} s | {median['plain'] / median['ours']:.2f} | {median['explicit']:.3f} s "
                f"| {apart:.1e} |",
                flush=True,
            )
    if failed:
        sys.exit(f"the two differ by more than {EQUAL:g}")


def compare(model: models.Model, x: Tensor, mask: bool, repeats: int) -> tuple[dict[str, float], float]:
    """Median seconds of each side, and by how much they differ."""
    net = model.arch.build(replace(model.config, mask=mask)).eval()
    net.load_state_dict(model.net.state_dict())
    fast = copy.deepcopy(net).to(memory_format=torch.channels_last)  # as the runtime has it

    def plain(x: Tensor) -> Tensor:
        return craft(net, x, mask=mask)

    def explicit(x: Tensor) -> Tensor:
        sites = [module for module in fast.modules() if isinstance(module, Site)]
        hooks = [site.register_forward_hook(lambda *_: None) for site in sites]
        try:
            return fast(x)  # type: ignore[no-any-return]
        finally:
            for hook in hooks:
                hook.remove()

    sides = {"plain": plain, "ours": fast, "explicit": explicit}
    times: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, Tensor] = {}
    with torch.inference_mode():
        for run in sides.values():
            run(x)
        for _ in range(repeats):
            for name, run in sides.items():
                seconds, results[name] = timed(run, x)
                times[name].append(seconds)
    apart = max(float((results["plain"] - results[name]).abs().max()) for name in ("ours", "explicit"))
    return {name: statistics.median(values) for name, values in times.items()}, apart


if __name__ == "__main__":
    main()
