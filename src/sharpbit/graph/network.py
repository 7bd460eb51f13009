"""A graph of a file of others as a network of this house: RGB from 0 to 1, nothing lost at the edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sharpbit.graph import IMAGE, Graph, Node
from sharpbit.graph.geometry import channels
from sharpbit.graph.onnx import renamed
from sharpbit.graph.simplify import simplified


def network(graph: Graph, cut: int, white: tuple[float, float]) -> Graph:
    """The same network for values from 0 to 1, which gives back what convolutions without padding take away.

    Args:
        graph: The graph as it was read.
        cut: How many pixels it loses on each side of the image; they are put there again as copies of the edge.
        white: What means white in the image and in the result.
    """
    if white[0] != 1:
        graph = _first(graph, "affine", {"channels": graph.channels}, np.full(graph.channels, white[0]))
    if cut:
        graph = _first(graph, "pad", {"sides": (cut,) * 4, "mode": "replicate"})
    if white[1] != 1:
        count = channels(graph)[graph.output]
        node = Node(f"affine_{len(graph.nodes)}", "affine", (graph.output,), {"channels": count})
        graph = _with_affine(replace(graph, nodes=(*graph.nodes, node)), node.name, np.full(count, 1 / white[1]))
    return renamed(simplified(graph))


def _first(graph: Graph, op: str, settings: dict[str, object], factor: np.ndarray | None = None) -> Graph:
    """The graph with another node between the image and all that look at it."""
    graph = renamed(graph)
    name = f"{op}_{len(graph.nodes)}"
    later = (replace(node, inputs=tuple(name if x == IMAGE else x for x in node.inputs)) for node in graph.nodes)
    graph = replace(graph, nodes=(Node(name, op, (IMAGE,), settings), *later))
    return graph if factor is None else _with_affine(graph, name, factor)


def _with_affine(graph: Graph, name: str, factor: np.ndarray) -> Graph:
    numbers = {f"{name}.weight": factor.astype(np.float32), f"{name}.bias": np.zeros(len(factor), np.float32)}
    return replace(graph, weights={**graph.weights, **numbers})
