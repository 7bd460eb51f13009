"""Networks in files of ncnn as graphs of known operators; `sharpbit.modelfile.ncnn` reads the files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from sharpbit.errors import ModelError
from sharpbit.graph import Graph
from sharpbit.graph.ncnn_layers import RULES, Builder
from sharpbit.graph.simplify import simplified
from sharpbit.modelfile.container import contents
from sharpbit.modelfile.ncnn import Layer, Weights, layers, pair


def read(path: str | PathLike[str]) -> Graph:
    """A network in files of ncnn.

    Args:
        path: Either of its two files.

    Raises:
        ModelError: One of the two is missing or damaged, or a layer is none that is understood; it is named.
    """
    table, weights = pair(Path(path))
    builder = Builder(Weights(contents(weights), weights))
    last = ""
    for layer in layers(table):
        parts = _parts(builder, layer)
        if parts is None or len(parts) != len(layer.outputs):
            known = ", ".join(RULES)
            raise ModelError(f"{table}: {layer.where} is not understood where it is; sharpbit reads {known}")
        builder.tensors |= dict(zip(layer.outputs, parts, strict=True))
        last = parts[-1] if parts else last
    source = builder.source
    if source.at != len(source.data):
        raise ModelError(f"{source.path} has {len(source.data) - source.at} bytes more than {table.name} has weights")
    if not builder.nodes or builder.nodes[-1].name != last:
        raise ModelError(f"{table}: its layers end before an upscaled image is made")
    return simplified(Graph(tuple(builder.nodes), builder.weights))


def _parts(builder: Builder, layer: Layer) -> list[str] | None:
    """What comes out of a layer; None where it is not understood."""
    given = [builder.tensors.get(name, "") for name in layer.inputs]
    rule = RULES.get(layer.kind)
    if rule is None or not all(given):
        return None
    try:
        made = rule(builder, layer, *given)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        return None
    return made if made is None or isinstance(made, list) else [made] * len(layer.outputs)
