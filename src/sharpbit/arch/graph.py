"""Graph: whatever network an ONNX file of somebody else holds, as known operators; its nodes are its sizes.

`sharpbit.graph` names the operators and reads the files. A header holds the nodes, a file of weights their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.errors import ModelError, UsageError
from sharpbit.graph import IMAGE, Graph, Node, check
from sharpbit.graph.colours import LUMA
from sharpbit.graph.geometry import BICUBIC_REACH, geometry
from sharpbit.nn import State

CHANNELS = {"Y": 1, "RGB": 3, "RGBA": 4}


@dataclass(frozen=True)
class Config:
    """A graph.

    Attributes:
        scale: Upscaling factor.
        nodes: The operators in order (`sharpbit.graph.Node`), as objects or as JSON has them; without any it is one
            convolution and a pixel shuffle.
        colour: What goes in: `RGB`, `Y` (colours are resized by bicubic then) or `RGBA` (an opaque image goes in).
        multiple: What the sides of an image are padded to multiples of.
    """

    scale: int
    nodes: tuple[Node, ...] = ()
    colour: str = "RGB"
    multiple: int = 1

    def __post_init__(self) -> None:
        nodes = tuple(node if isinstance(node, Node) else Node(**node) for node in self.nodes)
        object.__setattr__(self, "nodes", nodes or _smallest(self.scale))
        check(self.nodes, "the graph")
        if self.colour not in CHANNELS or self.multiple < 1:
            raise UsageError(f"a graph takes {', '.join(CHANNELS)}, not {self.colour!r}, in multiples of at least 1")


def _smallest(scale: int) -> tuple[Node, ...]:
    one = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "bias": True}
    conv = Node("conv_0", "conv", (IMAGE,), {"inputs": 3, "outputs": 3 * scale**2, "kernel": (3, 3), **one})
    return conv, Node("shuffle_1", "shuffle", ("conv_0",), {"factor": scale})


class Network(nn.Module):
    """A graph that runs; modules have the names of nodes."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.nodes = nn.ModuleDict({node.name: _MODULES[node.op](node) for node in config.nodes if node.op in _MODULES})
        last: dict[str, str] = {name: node.name for node in config.nodes for name in node.inputs}
        self._done = {node.name: [name for name in {*node.inputs} if last[name] == node.name] for node in config.nodes}

    @property
    def receptive_field(self) -> int | None:
        """The side of what a pixel sees; None where it sees all."""
        bare = Graph(self.config.nodes, {}, CHANNELS[self.config.colour], self.config.multiple)
        reach = geometry(bare).reach
        if reach is not None and self.config.colour == "Y":
            reach = max(reach, BICUBIC_REACH)
        return None if reach is None else 2 * reach + 1

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        scale, multiple = self.config.scale, self.config.multiple
        if multiple == 1:
            return self._coloured(x)
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        return self._coloured(padded)[:, :, : height * scale, : width * scale]

    def _coloured(self, x: Tensor) -> Tensor:
        if self.config.colour == "RGB":
            return self.run(x)
        if self.config.colour == "RGBA":
            return self.run(torch.cat([x, torch.ones_like(x[:, :1])], 1))[:, :3]
        large = x if self.config.scale == 1 else F.interpolate(x, scale_factor=self.config.scale, mode="bicubic")
        return large + self.run(_luma(x)) - _luma(large)

    def run(self, image: Tensor) -> Tensor:
        """The operators alone, of an image of the channels that the first of them takes."""
        values: dict[str, Tensor] = {IMAGE: image}
        y = image
        for node in self.config.nodes:
            given = [values[name] for name in node.inputs]
            y = self.nodes[node.name](*given) if node.name in self.nodes else _FUNCTIONS[node.op](node, *given)
            for name in self._done[node.name]:
                del values[name]
            values[node.name] = y
        return y


def _luma(x: Tensor) -> Tensor:
    red, green, blue = LUMA
    return red * x[:, :1] + green * x[:, 1:2] + blue * x[:, 2:3]


def _conv(node: Node) -> nn.Module:
    kind: Any = nn.Conv2d if node.op == "conv" else nn.ConvTranspose2d
    more = {"output_padding": tuple(node["more"])} if node.op == "deconv" else {}
    sizes = {key: tuple(node[key]) for key in ("stride", "padding", "dilation")}
    made: nn.Module = kind(
        node["inputs"],
        node["outputs"],
        tuple(node["kernel"]),
        groups=node["groups"],
        bias=node["bias"],
        **sizes,
        **more,
    )
    return made


_MODULES: Mapping[str, Callable[[Node], nn.Module]] = {
    "conv": _conv,
    "deconv": _conv,
    "affine": lambda node: nn.Conv2d(node["channels"], node["channels"], 1, groups=node["channels"]),
    "prelu": lambda node: nn.PReLU(node["channels"]),
    "relu": lambda node: nn.ReLU(),
    "leaky": lambda node: nn.LeakyReLU(node["slope"]),
}
_KINDS: Mapping[str, Callable[[Tensor], Tensor]] = {
    **{kind: getattr(torch, kind) for kind in ("sigmoid", "tanh", "exp", "sqrt", "abs", "log", "erf", "reciprocal")},
    **{kind: getattr(torch, kind) for kind in ("sin", "cos", "floor", "ceil", "round")},
    **{kind: getattr(F, kind) for kind in ("softplus", "softsign", "gelu", "mish", "hardsigmoid", "hardswish", "elu")},
}


def _select(node: Node, x: Tensor) -> Tensor:
    if "index" in node.settings:
        return x[:, list(node["index"])]
    return x[:, node["start"] : node["stop"] : node["step"]]


def _resize(node: Node, x: Tensor, like: Tensor | None = None) -> Tensor:
    options: dict[str, Any] = {"mode": node["mode"]}
    if node["mode"] != "nearest":
        options["align_corners"] = node["aligned"]
    if like is not None:
        return F.interpolate(x, size=like.shape[-2:], **options)
    factor: Any = tuple(node["factor"])
    return F.interpolate(x, scale_factor=factor, **options)


def _pad(node: Node, x: Tensor) -> Tensor:
    top, left, bottom, right = node["sides"]
    return F.pad(x, (left, right, top, bottom), mode=node["mode"])


def _crop(node: Node, x: Tensor) -> Tensor:
    top, left, bottom, right = node["sides"]
    return x[:, :, top : -bottom or None, left : -right or None]


def _pooled(function: Callable[..., Tensor]) -> Callable[[Node, Tensor], Tensor]:
    return lambda node, x: function(x, *(tuple(node[key]) for key in ("kernel", "stride", "padding")))


_FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "clip": lambda node, x: x.clamp(node["low"], node["high"]) if {node["low"], node["high"]} != {None} else x,
    "function": lambda node, x: _KINDS[node["kind"]](x),
    "add": lambda node, a, b: a + b,
    "sub": lambda node, a, b: a - b,
    "mul": lambda node, a, b: a * b,
    "div": lambda node, a, b: a / b,
    "max": lambda node, a, b: torch.maximum(a, b),
    "min": lambda node, a, b: torch.minimum(a, b),
    "concat": lambda node, *given: torch.cat(given, 1),
    "select": _select,
    "shuffle": lambda node, x: F.pixel_shuffle(x, node["factor"]),
    "unshuffle": lambda node, x: F.pixel_unshuffle(x, node["factor"]),
    "resize": _resize,
    "maxpool": _pooled(F.max_pool2d),
    "avgpool": _pooled(F.avg_pool2d),
    "mean": lambda node, x: x.mean((2, 3), keepdim=True),
    "pad": _pad,
    "crop": _crop,
}


def of_graph(graph: Graph, scale: int, multiple: int = 1) -> Network:
    """The network of a graph, which takes and gives values from 0 to 1.

    Raises:
        ModelError: Its numbers do not fit its nodes.
    """
    colour = next(name for name, count in CHANNELS.items() if count == graph.channels)
    with torch.device("meta"):  # weights that are replaced at once need not be made up
        net = Network(Config(scale, graph.nodes, colour, multiple))
    own = net.state_dict()
    state = {f"nodes.{key}": torch.from_numpy(value.copy()) for key, value in graph.weights.items()}
    try:
        net.load_state_dict({key: value.reshape(own[key].shape) for key, value in state.items()}, assign=True)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"the weights of the graph do not fit its operators: {error}") from None
    return net.eval()


def graph_of(net: Network) -> Graph:
    """The graph of a network, with the weights that it has now."""
    weights = {re.sub(r"^nodes\.", "", key): value.detach().cpu().numpy() for key, value in net.state_dict().items()}
    return Graph(net.config.nodes, weights, CHANNELS[net.config.colour], net.config.multiple)


def _infer(state: State) -> Config | None:
    return None  # weights do not tell what is done with them; the header of a file does


ARCH = Architecture(
    name="graph",
    config=Config,
    build=Network,
    infer=_infer,
    sites=("nodes.*",),
    exceptions={"sizes from weights": "the nodes stand in the header"},
)
