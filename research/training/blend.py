"""Weights between two of one kind: a network that was trained further, taken back by a share.

    python research/training/blend.py FAITHFUL.safetensors TAUGHT.safetensors 0.4 OUT.safetensors

Works where the second began with the first, such as a taught network with a faithful one: its sharpness comes with less
of its mistakes. Source: network interpolation, "ESRGAN", Wang et al., ECCV Workshops 2018.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

import sharpbit
from sharpbit.nn import Constrained


def main() -> None:
    first, second, share, out = sys.argv[1:]
    one, two = sharpbit.load(first), sharpbit.load(second)
    with torch.no_grad():
        for name, weight in one.net.state_dict().items():
            if weight.is_floating_point():  # not the counts of normalizations
                weight.lerp_(two.net.state_dict()[name], float(share))
        if isinstance(one.net, Constrained):
            one.net.settle()
    sharpbit.save(
        replace(one, history=two.history, about={**two.about, "name": one.about["name"]}), out, overwrite=True
    )


if __name__ == "__main__":
    main()
