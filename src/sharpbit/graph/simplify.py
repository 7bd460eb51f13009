"""The same graph with fewer nodes: factors and summands go into the convolutions beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sharpbit.graph import Floats, Graph, Node

Doubles = NDArray[np.float64]


def simplified(graph: Graph) -> Graph:
    """The graph without nodes that others can do as well."""
    graph = _alive(graph)
    for step in (_before_shuffles, _into_the_one_before, _into_the_one_after, _without_idle):
        work = _Work(graph)
        step(work)
        graph = work.graph()
    return graph


def _alive(graph: Graph) -> Graph:
    """Without nodes on which the result does not depend."""
    wanted = {graph.output}
    for node in reversed(graph.nodes):
        if node.name in wanted:
            wanted |= set(node.inputs)
    weights = {key: value for key, value in graph.weights.items() if key.partition(".")[0] in wanted}
    return replace(graph, nodes=tuple(node for node in graph.nodes if node.name in wanted), weights=weights)


@dataclass
class _Work:
    """A graph that is being changed."""

    source: Graph

    def __post_init__(self) -> None:
        self.nodes = {node.name: node for node in self.source.nodes}
        self.weights = dict(self.source.weights)
        self.users = self.source.users()
        self.taken: dict[str, str] = {}

    def through(self, name: str) -> str:
        """What stands for a value now."""
        while name in self.taken:
            name = self.taken[name]
        return name

    def graph(self) -> Graph:
        """What it has become; nodes that were taken out are gone."""
        kept = [node for name, node in self.nodes.items() if name not in self.taken]
        nodes = tuple(replace(node, inputs=tuple(map(self.through, node.inputs))) for node in kept)
        names = {node.name for node in nodes}
        weights: dict[str, Floats] = {k: v for k, v in self.weights.items() if k.partition(".")[0] in names}
        return replace(self.source, nodes=nodes, weights=weights)

    def numbers(self, name: str) -> tuple[Doubles, Doubles]:
        """Factor and summand of an `affine`."""
        weight, bias = (self.weights[f"{name}.{key}"].astype(np.float64) for key in ("weight", "bias"))
        return weight, bias

    def set_conv(self, node: Node, weight: Doubles, bias: Doubles) -> None:
        """Other numbers for a convolution, which has a bias now."""
        self.nodes[node.name] = replace(node, settings={**node.settings, "bias": True})
        self.weights[f"{node.name}.weight"] = weight.astype(np.float32)
        self.weights[f"{node.name}.bias"] = bias.astype(np.float32)

    def bias_of(self, node: Node) -> Doubles:
        """The bias of a convolution; zeros where it has none."""
        found = self.weights.get(f"{node.name}.bias", np.zeros(node["outputs"], np.float32))
        return found.astype(np.float64)


def _before_shuffles(work: _Work) -> None:
    """An `affine` of a shuffled map is one of the map before it."""
    for node in list(work.nodes.values()):
        before = work.nodes.get(node.inputs[0]) if node.op == "affine" else None
        if before is None or before.op != "shuffle" or work.users[before.name] > 1:
            continue
        times = before["factor"] ** 2
        first = replace(node, name=before.name, inputs=before.inputs, settings={"channels": node["channels"] * times})
        work.nodes[before.name] = first
        for key in ("weight", "bias"):
            work.weights[f"{first.name}.{key}"] = np.repeat(work.weights.pop(f"{node.name}.{key}"), times)
        work.nodes[node.name] = Node(node.name, "shuffle", (first.name,), before.settings)


def _into_the_one_before(work: _Work) -> None:
    """An `affine` after a convolution (or another one) that nobody else looks at goes into it."""
    for node in list(work.nodes.values()):
        before = work.nodes.get(work.through(node.inputs[0])) if node.op == "affine" else None
        if before is None or before.op not in ("conv", "affine") or work.users[node.inputs[0]] > 1:
            continue
        factor, summand = work.numbers(node.name)
        if before.op == "conv":
            weight = work.weights[f"{before.name}.weight"].astype(np.float64) * factor[:, None, None, None]
            work.set_conv(before, weight, work.bias_of(before) * factor + summand)
        else:
            first, second = work.numbers(before.name)
            work.weights[f"{before.name}.weight"] = (first * factor).astype(np.float32)
            work.weights[f"{before.name}.bias"] = (second * factor + summand).astype(np.float32)
        work.taken[node.name] = before.name
        work.users[before.name] = work.users[node.name]


def _into_the_one_after(work: _Work) -> None:
    """An `affine` before a convolution alone goes into it, where no summand would be missing around the image."""
    after = {name: node for node in work.nodes.values() for name in node.inputs}
    for node in list(work.nodes.values()):
        user = after.get(node.name)
        if node.op != "affine" or user is None or user.op != "conv" or user["groups"] != 1:
            continue
        factor, summand = work.numbers(node.name)
        if work.users[node.name] > 1 or (summand.any() and any(user["padding"])):
            continue
        user = work.nodes[user.name]
        weight = work.weights[f"{user.name}.weight"].astype(np.float64)
        bias = work.bias_of(user) + weight.sum((2, 3)) @ summand
        work.set_conv(user, weight * factor[:, None, None], bias)
        work.taken[node.name] = node.inputs[0]


def _without_idle(work: _Work) -> None:
    """Clips without bounds, factors of one, and crops of nothing are taken out."""
    for node in work.nodes.values():
        if node.name != work.source.output and len(work.nodes) > 1 and _idle(work, node):
            work.taken[node.name] = node.inputs[0]


def _idle(work: _Work, node: Node) -> bool:
    if node.op == "affine":
        weight, bias = work.numbers(node.name)
        return bool((weight == 1).all() and not bias.any())
    return node.op == "clip" and node["low"] is None and node["high"] is None
