"""What a network begins with: the weights of another one, which may be narrower, shallower or of another scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sharpbit.arch.carry import COLOURS, Carry
from sharpbit.model import load
from sharpbit.nn import Constrained


def begun(net: nn.Module, path: str) -> None:
    """Take over the tensors of a file: those that fit, and of a narrower chain its channels, beside new ones."""
    state, own = load(path).net.state_dict(), net.state_dict()
    fitting = {}
    for key, value in own.items():
        old = state.get(key)
        if old is not None and old.shape == value.shape:
            fitting[key] = old
        elif old is not None and isinstance(net, Carry) and _wider(key, old, value):
            fitting[key] = widened(old, value)
    net.load_state_dict(fitting, strict=False)
    if isinstance(net, Carry) and "inner.0.weight" in fitting:
        for number, layer in enumerate(net.hidden()):
            if f"inner.{number}.weight" not in state:  # what a layer more begins with changes nothing
                layer.weight.data[:, :].zero_()
                _bias(layer).data.zero_()
                layer.weight.data[:, : len(layer.weight), 1, 1] = torch.eye(len(layer.weight))
    if isinstance(net, Constrained):  # weights that were stored in 16 bits keep to nothing
        net.project()
    print("begins with", len(fitting), "of", len(own), "tensors of", path, flush=True)


def _wider(key: str, old: Tensor, new: Tensor) -> bool:
    """Whether a tensor of a Carry is that of a narrower one of the same scale."""
    if key.startswith("last."):
        return len(new) == len(old)
    return key.startswith(("first.", "inner.")) and len(new) > len(old)


def widened(old: Tensor, new: Tensor) -> Tensor:
    """`new`, a tensor of a wider Carry, in which the channels of `old` compute what they did before."""
    made = new.clone()
    if old.dim() == 1:
        made[: len(old)] = old
        return made
    made[: len(old)] = 0  # old channels do not read new ones at first
    image = COLOURS if old.shape[1] > COLOURS and old.shape[1] == len(old) + COLOURS else 0
    kept = old.shape[1] - image
    made[: len(old), :kept] = old[:, :kept]
    if image:
        made[: len(old), -image:] = old[:, -image:]
    return made


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
