"""Turn an integer chain that carries the image into float weights of a Carry, to train it further.

    python research/training/dequantize.py x2-clean-balanced OUT.safetensors

The kernels that read the image are projected, so that constant images stay constant, and biases make up for it at
middle grey; what that changes elsewhere, training repairs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import sharpbit
from sharpbit import zoo
from sharpbit.model import build
from sharpbit.modelfile.integer_chain import read

GREY = 0.45


def main() -> None:
    chain, _ = read(zoo.path_of(sys.argv[1]))
    model = build("carry", scale=chain.scale, blocks=len(chain.layers) - 2, width=chain.layers[0].outputs)
    parts = [model.net.first, *model.net.inner, model.net.last]
    before = list(range(3))
    features: list[int] = []
    with torch.no_grad():
        for layer, part in zip(chain.layers, parts, strict=True):
            weight = torch.from_numpy(layer.weight.astype("float32") * layer.multiplier[:, None, None, None])
            bias = torch.from_numpy(layer.bias.astype("float32") * layer.multiplier) / 255
            copies = [row for row in range(len(weight)) if int((layer.weight[row] != 0).sum()) == 1]
            carried = sorted(copies, key=lambda row: before.index(int(layer.weight[row].nonzero()[0][0])))
            if part is model.net.last:
                carried = []
            others = [row for row in range(len(weight)) if row not in carried]
            if part is model.net.first:
                part.weight.copy_(weight[others])
            elif part is model.net.last:
                part.weight.copy_(weight[:, features])
                model.net.interpolation.weight.copy_(weight[:, before])
            else:
                part.weight.copy_(weight[others][:, [*features, *before]])
            read_by = weight[others][:, before].sum((1, 2, 3)) - float(part is model.net.last)
            part.bias.copy_(bias[others] + GREY * read_by)
            before, features = carried or before, others
        model.net.project()
    sharpbit.save(model, Path(sys.argv[2]), overwrite=True)


if __name__ == "__main__":
    main()
