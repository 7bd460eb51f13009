"""An integer chain as the float network `carry`, which keeps constant images constant and can be trained further."""

from __future__ import annotations

from dataclasses import replace

import torch

from sharpbit.arch import ARCHITECTURES
from sharpbit.arch.carry import Carry, Config
from sharpbit.arch.integer import Integer, chain_of
from sharpbit.errors import UsageError
from sharpbit.model import Model
from sharpbit.modelfile.history import Carry as Made
from sharpbit.modelfile.integer_chain import Layer

GREY = 0.45  # the mean of photos, where projecting the kernels changes nothing


def carry(model: Model) -> Model:
    """The float network that an integer chain was rounded from, made to keep constant images constant.

    The kernels that read the image are projected, and biases make up for it at middle grey. What that changes elsewhere
    is repaired by training.

    Args:
        model: an integer chain, three channels of every hidden layer of which hold the image (`lossless`).

    Raises:
        UsageError: another network.
    """
    net = model.net
    if not isinstance(net, Integer):
        raise UsageError(f"a carry is made of an integer chain, and the model is {model.arch.name}; quantize it first")
    chain = chain_of(net)
    config = Config(chain.scale, len(chain.layers) - 2, chain.layers[0].outputs)
    made = Carry(config)
    image: list[int] = [0, 1, 2]
    features: list[int] = []
    for number, layer in enumerate(chain.layers):
        last = number == len(chain.layers) - 1
        copies = [] if last else _copies(layer, image)
        others = [row for row in range(layer.outputs) if row not in copies]
        _fill(made, number, layer, others, features, image)
        image, features = copies, others
    made.project()
    entry = Made(model.arch.name)
    about = {key: value for key, value in model.about.items() if key not in ("precision", "metrics")}
    return replace(
        model, arch=ARCHITECTURES["carry"], config=config, net=made, history=(*model.history, entry), about=about
    )


def _copies(layer: Layer, image: list[int]) -> list[int]:
    """The rows of a layer that copy the image, by colour."""
    found = []
    for channel in image:
        rows = [
            row
            for row, weight in enumerate(layer.weight)
            if weight[channel, 1, 1] == 1 and abs(weight).sum() == 1 and layer.multiplier[row] == 1
        ]
        if len(rows) != 1:
            raise UsageError("a layer of this integer chain does not copy the image, which a carry needs")
        found += rows
    return found


@torch.no_grad()
def _fill(made: Carry, number: int, layer: Layer, rows: list[int], features: list[int], image: list[int]) -> None:
    """Put the rows of an integer layer that do not copy the image into the layer of that number."""
    scale = torch.from_numpy(layer.multiplier)
    weight = (torch.from_numpy(layer.weight).float() * scale[:, None, None, None])[rows]
    bias = (torch.from_numpy(layer.bias).float() * scale / 255)[rows]
    last = number > len(made.inner)
    kept = 1.0 if last else 0.0
    bias += GREY * (weight[:, image].sum((1, 2, 3)) - kept)
    part = [made.first, *made.hidden(), made.last][number]
    if last:
        made.interpolation.weight.copy_(weight[:, image])
    part.weight.copy_(weight[:, features] if last else weight[:, [*features, *image]])
    if part.bias is not None:
        part.bias.copy_(bias)
