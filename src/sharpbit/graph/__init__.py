"""A float network as a directed graph of known operators: what files of others become, so that they can be worked on.

Every value is a map of features `(N, C, H, W)`; the first is the image. Nothing here needs torch: engines ask the graph
of a file how far it sees and which sizes it takes. `sharpbit.arch.graph` runs it in PyTorch, as any other network.

Operators, with their settings; numbers that are learned lie in `Graph.weights` under `NAME.weight` and so on:

- `conv`: `inputs`, `outputs`, `kernel`, `stride`, `padding`, `dilation` (each height and width), `groups`, `bias`;
- `deconv`: the same, transposed, and `more` (`output_padding`);
- `affine`: a factor `weight` and a summand `bias` for each of `channels`;
- `prelu` (`channels` slopes), `leaky` (`slope`), `relu`, `clip` (`low`, `high`), and `function` (`kind`, one of
  `FUNCTIONS`);
- `add`, `sub`, `mul`, `div`, `max`, `min` of two values, of which one may have one pixel or one channel;
- `concat`, and `select` (`start`, `stop`, `step`, or `index`) of channels;
- `shuffle` and `unshuffle` (`factor`) of pixels;
- `resize` (`factor`, `mode`, `aligned`); with a second input it takes the size of that one;
- `maxpool` and `avgpool` (`kernel`, `stride`, `padding`), and `mean` of all pixels;
- `pad` and `crop` (`sides`: top, left, bottom, right; `mode`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError

IMAGE = "image"
Floats = NDArray[np.float32]

FUNCTIONS = (
    *("sigmoid", "tanh", "exp", "sqrt", "abs", "log", "erf", "softplus", "softsign", "reciprocal", "sin", "cos"),
    *("gelu", "mish", "hardsigmoid", "hardswish", "elu", "floor", "ceil", "round"),
)
PAIRS = ("add", "sub", "mul", "div", "max", "min")
OPERATORS = {
    *("conv", "deconv", "affine", "prelu", "leaky", "relu", "clip", "function", *PAIRS, "concat", "select", "shuffle"),
    *("unshuffle", "resize", "maxpool", "avgpool", "mean", "pad", "crop"),
}
MAX_NODES = 8192


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        name: Its name, and that of what comes out; letters, digits and underscores.
        op: The operator, one of `OPERATORS`.
        inputs: The names of the values that go in.
        settings: Its settings, as JSON has them.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in self.settings.items()}
        object.__setattr__(self, "settings", plain)

    def __getitem__(self, key: str) -> Any:
        return self.settings[key]


@dataclass(frozen=True)
class Graph:
    """Operators, each after those that it needs; the last one gives the result.

    Attributes:
        nodes: The operators.
        weights: What is learned, by the names of nodes, such as `conv_0.weight`.
        channels: The number of channels of the image that goes in.
        multiple: What the sides of the image must be multiples of, for other reasons than those that nodes show.
    """

    nodes: tuple[Node, ...]
    weights: Mapping[str, Floats]
    channels: int = 3
    multiple: int = 1

    @property
    def output(self) -> str:
        """The name of the result."""
        return self.nodes[-1].name if self.nodes else IMAGE

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(value.size for value in self.weights.values())

    def users(self) -> Counter[str]:
        """How often each value is used; the result once more."""
        return Counter([*(name for node in self.nodes for name in node.inputs), self.output])


def check(nodes: tuple[Node, ...], source: str) -> None:
    """Look at nodes that came from a file.

    Raises:
        ModelError: They are no graph of known operators in order.
    """
    seen = {IMAGE}
    if len(nodes) > MAX_NODES:
        raise ModelError(f"{source} has {len(nodes)} operators; at most {MAX_NODES} are read")
    for node in nodes:
        if node.op not in OPERATORS:
            raise ModelError(
                f"{source} has an operator {node.op!r} in {node.name!r}, which this sharpbit does not know"
            )
        missing = [name for name in node.inputs if name not in seen]
        if missing or node.name in seen or not node.name.isidentifier():
            raise ModelError(f"{source} is no graph in order: {node.name!r} is there twice, or needs {missing}")
        seen.add(node.name)
