"""A graph of brightness alone, or of RGBA, as one of RGB: what `sharpbit.arch.graph` does around it, as nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sharpbit.graph import IMAGE, Floats, Graph, Node
from sharpbit.graph.channels import conv_settings
from sharpbit.graph.onnx import renamed

LUMA = (0.299, 0.587, 0.114)


def of_rgb(graph: Graph, scale: int) -> Graph:
    """The graph that takes and gives RGB.

    Of Y, colours are resized by bicubic, and an opaque image goes into a graph of RGBA.

    Args:
        graph: The graph, for values from 0 to 1.
        scale: Its upscaling factor.
    """
    if graph.channels == 3:
        return graph
    inner = renamed(graph)
    made = _Made(inner)
    if graph.channels == 4:
        opaque = made.mixed("opaque", IMAGE, np.eye(4, 3), np.eye(4)[3])
        made.inner(inner, opaque)
        made.add("rgb", "select", inner.output, start=0, stop=3, step=1)
    else:
        luma = np.array([LUMA])
        made.inner(inner, made.mixed("luma", IMAGE, luma))
        made.add("grey", "select", inner.output, index=(0, 0, 0))
        # Of what lies between pixels the colour is resized, which is what is left without its brightness.
        colour = made.mixed("colour", IMAGE, np.eye(3) - luma)
        if scale > 1:
            colour = made.add("large", "resize", colour, factor=(scale, scale), mode="bicubic", aligned=False)
        made.add("result", "add", "grey", colour)
    return renamed(replace(graph, nodes=tuple(made.nodes), weights=made.weights, channels=3))


class _Made:
    """Nodes and weights that are added one by one."""

    def __init__(self, inner: Graph) -> None:
        self.nodes: list[Node] = []
        self.weights: dict[str, Floats] = dict(inner.weights)

    def add(self, name: str, op: str, *inputs: str, **settings: object) -> str:
        self.nodes.append(Node(name, op, inputs, settings))
        return name

    def inner(self, graph: Graph, image: str) -> None:
        """All nodes of a graph, of another image."""
        for node in graph.nodes:
            self.nodes.append(replace(node, inputs=tuple(image if name == IMAGE else name for name in node.inputs)))

    def mixed(self, name: str, value: str, weight: np.ndarray, bias: np.ndarray | None = None) -> str:
        """A 1x1 convolution."""
        outputs, inputs = weight.shape
        self.weights[f"{name}.weight"] = weight[:, :, None, None].astype(np.float32)
        if bias is not None:
            self.weights[f"{name}.bias"] = bias.astype(np.float32)
        return self.add(name, "conv", value, **conv_settings(inputs, outputs, bias=bias is not None))
