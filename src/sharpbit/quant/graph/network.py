"""An integer graph as a network, so that it can be compared with the float one that it was made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sharpbit.arch import Architecture
from sharpbit.errors import UsageError
from sharpbit.modelfile.integer_graph import ARCHITECTURE, Bytes, IntegerGraph
from sharpbit.modelfile.integer_graph_arithmetic import run as reference
from sharpbit.modelfile.integer_graph_payload import payload


@dataclass(frozen=True)
class Config:
    """What the header of a file says of a graph.

    Attributes:
        scale: Upscaling factor.
        nodes: The number of operators.
        multiple: What sides of the image are filled up to multiples of.
    """

    scale: int
    nodes: int
    multiple: int


class IntegerGraphNetwork(nn.Module):
    """The graph. The image is rounded to bytes first.

    Args:
        graph: What it computes.
        run: What runs it, `(h, w, 3)` uint8 to `(h * scale, w * scale, 3)`; None: the reference, exact and slow.
    """

    payload: Tensor

    def __init__(self, graph: IntegerGraph, run: Callable[[Bytes], Bytes] | None = None) -> None:
        super().__init__()
        self.graph = graph
        self.run = run or (lambda image: reference(graph, image))
        stored = np.frombuffer(payload(graph), np.uint8).copy()
        self.register_buffer("payload", torch.from_numpy(stored))

    @property
    def receptive_field(self) -> int | None:
        """The side of what a pixel sees."""
        return None if self.graph.halo is None else 2 * self.graph.halo + 1

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, in `[0, 1]`."""
        images = torch.round(x.detach() * 255).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        results = np.stack([self.run(np.ascontiguousarray(image)) for image in images])
        return torch.from_numpy(results).permute(0, 3, 1, 2).to(x.dtype) / 255


def _build(config: Config) -> nn.Module:
    raise UsageError("an integer graph is made by 'sharpbit quantize' and has no fresh weights")


ARCH = Architecture(name=ARCHITECTURE, config=Config, build=_build, infer=lambda state: None)
