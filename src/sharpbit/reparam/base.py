"""What a module says that has a plain equivalent, and how all such modules of a network are replaced."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

from torch import fx, nn

from sharpbit.errors import ReparameterizeError


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
    done = ["none"]
    for path, module in list(net.named_modules(remove_duplicate=False)):
        if isinstance(module, Reparameterizable) and not path.startswith(f"{done[-1]}."):
            net.set_submodule(path, module.reparameterize().eval())
            done.append(path)
    return net


def traced(net: nn.Module) -> fx.GraphModule:
    """The graph of what `net`, fused, does for an image; each layer of torch.nn is one node.

    Raises:
        ReparameterizeError: its forward decides by values, or otherwise cannot be traced.
    """
    net = fused(net)
    # A network that is a single layer has no parts, so a folder is put around it.
    net = net if list(net.children()) or type(net).__module__.partition(".")[0] != "torch" else nn.Sequential(net)
    try:
        graph = fx.GraphModule(net, fx.Tracer().trace(net), type(net).__name__)
    except Exception as error:  # the tracer runs the network's own code, which may raise anything
        reason = " ".join(str(error).split())[:120]
        raise ReparameterizeError(f"the forward of {type(net).__name__} cannot be followed: {reason}") from None
    graph.graph.eliminate_dead_code()
    return graph
