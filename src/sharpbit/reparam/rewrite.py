"""The same network for engines that lack an operator: PReLU and the pixel shuffle written with others, exactly."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F

from sharpbit.errors import UsageError
from sharpbit.reparam import kernels
from sharpbit.reparam.base import traced

SHUFFLES = ("transposed", "reshape")


class ReluPair(nn.Module):
    """A PReLU as two ReLUs: what is positive, and the slope times what is negative; equal to the last bit."""

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(slope.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        return F.relu(x) - self.weight.reshape(-1, 1, 1) * F.relu(-x)


class Transposed(nn.Module):
    """A pixel shuffle as a transposed convolution whose kernels each hold a single one."""

    weight: Tensor

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale, self.channels = scale, channels
        self.register_buffer("weight", kernels.shuffling(channels, scale))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C * scale**2, H, W)` to `(N, C, H * scale, W * scale)`."""
        return F.conv_transpose2d(x, self.weight, stride=self.scale, groups=self.channels)


class Reshaped(nn.Module):
    """A pixel shuffle as a change of shape, a transposition and a change of shape."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale, self.channels = scale, channels

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C * scale**2, H, W)` to `(N, C, H * scale, W * scale)`."""
        scale, (batch, _, height, width) = self.scale, x.shape
        parts = x.reshape(batch, self.channels, scale, scale, height, width).permute(0, 1, 4, 2, 5, 3)
        return parts.reshape(batch, self.channels, height * scale, width * scale)


def rewritten(net: nn.Module, *, prelu: bool = True, shuffle: str | None = "transposed") -> fx.GraphModule:
    """A copy of `net`, for evaluation, without some operators and with the very same results.

    Args:
        net: network from `(N, 3, H, W)` to an image; its forward must be traceable.
        prelu: whether each PReLU is written as a pair of ReLUs.
        shuffle: form of each pixel shuffle, written as a `transposed` convolution or as `reshape`; None leaves it.

    Raises:
        UsageError: no such way to write a pixel shuffle.
        ReparameterizeError: its forward cannot be traced.
    """
    if shuffle not in (*SHUFFLES, None):
        raise UsageError(f"a pixel shuffle can be written as {' or '.join(SHUFFLES)}, not {shuffle!r}")
    graph = traced(net)
    ShapeProp(graph).propagate(torch.zeros(1, 3, 8, 8))
    for number, node in enumerate(list(graph.graph.nodes)):
        module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        name = module or getattr(node.target, "__name__", node.target)
        new: nn.Module | None = None
        if prelu and isinstance(module, nn.PReLU):
            new = ReluPair(module.weight)
        elif shuffle and (isinstance(module, nn.PixelShuffle) or name == "pixel_shuffle"):
            scale = module.upscale_factor if isinstance(module, nn.PixelShuffle) else int(node.args[1])
            channels = node.args[0].meta["tensor_meta"].shape[1] // scale**2
            new = (Transposed if shuffle == "transposed" else Reshaped)(channels, scale)
        if new is not None:
            graph.add_submodule(f"rewritten_{number}", new)
            with graph.graph.inserting_after(node):
                call = graph.graph.call_module(f"rewritten_{number}", node.args[:1])
            call.meta = node.meta
            node.replace_all_uses_with(call)
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph
