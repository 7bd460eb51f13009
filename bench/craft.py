"""The forward of CRAFT against a plain reading of its description (`bench/craft_plain.py`): time and equality.

    python bench/craft.py [--weights craft_x4.pth] [--size 128x128] [--repeats N] [--threads N]

Without weights the network is a fresh one, which takes the same time. The two sides run in turn; medians are compared.
`explicit` is our forward with a hook on every site, as while calibrating, so that no fused kernel runs.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

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
    parser.add_argument("--size", default="128x128", help="width x height of the small picture")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cpus())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    width, height = map(int, given.size.split("x"))
    torch.manual_seed(0)
    model = models.load(given.weights) if given.weights else models.build("craft", scale=4)
    x = torch.rand(1, 3, height, width)
    print(
        f"CRAFT x{model.scale}, {given.size}, {given.threads} threads, PyTorch {torch.__version__}, float32, medians of"
    )
    print(
        f"{given.repeats}, run in turn\n\n| mask | plain reading | ours | ratio | ours, explicit | largest difference |"
    )
    print("|---|---|---|---|---|---|")
    failed = False
    for mask in (False, True):
        net = model.arch.build(replace(model.config, mask=mask)).eval()
        net.load_state_dict(model.net.state_dict())
        fast = copy.deepcopy(net).to(memory_format=torch.channels_last)  # as the runtime has it

        def plain(x: Tensor, net: torch.nn.Module = net, mask: bool = mask) -> Tensor:
            return craft(net, x, mask=mask)

        def explicit(x: Tensor, net: torch.nn.Module = fast) -> Tensor:
            sites = [module for module in net.modules() if isinstance(module, Site)]
            hooks = [site.register_forward_hook(lambda *_: None) for site in sites]
            try:
                return net(x)  # type: ignore[no-any-return]
            finally:
                for hook in hooks:
                    hook.remove()

        sides = {"plain": plain, "ours": fast, "explicit": explicit}
        times: dict[str, list[float]] = {name: [] for name in sides}
        results: dict[str, Tensor] = {}
        with torch.inference_mode():
            for run in sides.values():
                run(x)
            for _ in range(given.repeats):
                for name, run in sides.items():
                    seconds, results[name] = timed(run, x)
                    times[name].append(seconds)
        median = {name: statistics.median(values) for name, values in times.items()}
        apart = max(float((results["plain"] - results[name]).abs().max()) for name in ("ours", "explicit"))
        failed |= apart > EQUAL
        print(
            f"| {'on' if mask else 'off'} | {median['plain']:.3f} s | {median['ours']:.3f} s "
            f"| {median['plain'] / median['ours']:.2f} | {median['explicit']:.3f} s | {apart:.1e} |"
        )
    if failed:
        sys.exit(f"the two differ by more than {EQUAL:g}")


if __name__ == "__main__":
    main()
