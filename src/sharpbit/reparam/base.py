"""What a module says that has a plain equivalent, and how all such modules of a network are replaced."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

from torch import nn


class Reparameterizable(ABC):
    """A module that equals a plainer one exactly, borders included."""

    @abstractmethod
    def reparameterize(self) -> nn.Module:
        """The plain module, with weights of its own."""


def fused(net: nn.Module) -> nn.Module:
    """A copy of `net`, for evaluation, in which the plain module stands for each one that has such a form."""
    if isinstance(net, Reparameterizable):
        return net.reparameterize().eval()
    net = copy.deepcopy(net).eval()
    for path, module in list(net.named_modules()):
        if isinstance(module, Reparameterizable):
            net.set_submodule(path, module.reparameterize().eval())
    return net
