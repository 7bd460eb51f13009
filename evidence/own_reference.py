"""What a RefER finds in a patch that is its own reference: how many places, and how large the difference is.

    python evidence/own_reference.py research/small-ddtb8-x2.safetensors --data Set14

The network of 8 bits is put into two passes as published; ranges begin with the first patches. Whatever is found less
than the whole is the doing of the comparison, for the true place of each pixel is its own.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sharpbit import model as models
from sharpbit.measure.benchmarks import find
from sharpbit.quant.refqsr import TwoPass, published, query
from sharpbit.quant.refqsr.refer import POOL, matched, prepared, upscaled, warped
from sharpbit.twopass.patches import grid
from sharpbit.verbs import qat

SIDE, STEP, COUNT = 48, 42, 48


def found(places: Tensor) -> float:
    """The share of the places `(N, 2, h, w)` that are those of the patch itself."""
    home = [torch.arange(size) * POOL + (POOL - 1) / 2 for size in places.shape[2:]]
    across, down = (places[:, 0] - home[1]).abs(), (places[:, 1] - home[0][:, None]).abs()
    return float(((across < 0.5) & (down < 0.5)).float().mean())


def patches(folder: Path, scale: int) -> Tensor:
    """Square patches of the LR images of a folder, `(N, 3, 48, 48)`."""
    smalls = [item.pair(path, scale)[0] for item in find(folder) for path in item.large]
    cuts = [one.cut(small)[:SIDE, :SIDE] for small in smalls for one in grid(*small.shape[:2], SIDE, STEP)]
    cuts = [cut for cut in cuts if cut.shape[:2] == (SIDE, SIDE)]
    chosen = np.stack(cuts[:: max(1, len(cuts) // COUNT)][:COUNT])
    return torch.from_numpy(chosen.astype(np.float32)).permute(0, 3, 1, 2) / 255


def begun(path: Path, x: Tensor) -> torch.nn.Module:
    """The network of 8 bits in two passes, each query its own reference."""
    source = models.load(path)
    base = next(entry for entry in source.header().history if entry["verb"] == "quantize")
    plain = replace(source, net=source.arch.build(source.config), history=(), about={})
    options = dict(base["plan"][0].get("act_options", {}))
    how: TwoPass = published(source.arch.name, source.config, base["method"], 8, 4, options=options, form="self")
    return qat.two_pass(plain, how, [x[:8]], source=source).net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    x = patches(given.data, models.load(given.model).scale)
    net = begun(given.model, x)
    (name,) = [name for name, _ in net.named_modules() if name.endswith(".refer")]
    refer, seen = net.get_submodule(name), []
    refer.register_forward_pre_hook(lambda part, args: seen.append(args[0]))
    with torch.no_grad():
        query(net, x, ())
        feature = seen[0]
        places = refer.places(feature, feature)  # type: ignore[operator]
        exact = matched(prepared(feature), prepared(feature), feature.shape, soft=False)
        difference = feature - warped(feature, upscaled(places, feature))
    size = [float(one.square().mean().sqrt()) for one in (difference, feature)]
    print(f"{len(x)} patches of {SIDE}: {found(places):.2f} of the places found, {found(exact):.2f} without rounding;")
    print(f"the difference is {size[0] / size[1]:.2f} of the feature (root of the mean of squares)")


if __name__ == "__main__":
    main()
