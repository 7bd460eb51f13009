"""TensorFlow Lite, for phones: plain chains of convolutions, in float32 or in 8-bit integers.

An integer chain is written as it is: bytes become signed ones 128 below, multipliers become the scales of weights, and
all activations have the scale 1/255. LiteRT then adds in 32 bits and rounds once, as our engines do.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sharpbit import modelfile
from sharpbit.arch.integer import Integer, chain_of
from sharpbit.arch.plain import Plain
from sharpbit.errors import UsageError
from sharpbit.model import Model
from sharpbit.modelfile import Header
from sharpbit.modelfile.integer_chain import IntegerChain
from sharpbit.system.atomic import open_atomic
from sharpbit.system.extras import loaded

if TYPE_CHECKING:
    from sharpbit.export._flatbuffer import Graph

SUFFIX = ".tflite"
WHITE = 255
ZERO = -128  # the signed byte of black
LEAST = 2.0**-30  # of a scale: what is smaller rounds every sum to 0
RELU = 1  # numbers of the schema
SAME = 0


def export(model: Model, path: Path, *, overwrite: bool = False) -> Header:
    """Write a plain chain, or an integer chain without slopes, as `.tflite`.

    Input and output are `(1, height, width, 3)` RGB, in float32 from 0 to 1 or in int8 from -128 to 127. The file names
    640x360 pixels; interpreters may set any other size (`resize_tensor_input`).

    Raises:
        UsageError: `path` does not end in `.tflite`, or the model is no such chain.
        MissingExtra: the extra `tflite` is not installed.
        OutputExists: `path` exists and `overwrite` is false.
    """
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"a TensorFlow Lite model is saved as {SUFFIX}, not {path.name!r}")
    header = model.header()
    if isinstance(model.net, Integer):
        chain = chain_of(model.net)
        if chain.sloped:
            raise UsageError(
                "an integer chain with slopes has zero points of its own for each channel, which TensorFlow Lite does"
                " not know; quantize with --method lossless, or write it as .sharpbit"
            )
        header = replace(header, range=(float(ZERO), float(WHITE + ZERO)))
        graph, ends = _integer(_started(), chain)
    elif isinstance(model.net, Plain):
        graph, ends = _float(_started(), model.net)
    else:
        raise UsageError(
            f"TensorFlow Lite files are written of plain chains, and {model.called} is none; sharpbit reparameterize"
            " makes one of a network that is a chain of convolutions, and sharpbit quantize an integer one"
        )
    header = replace(header, sha256=hashlib.sha256(graph.packed(*ends, {})).hexdigest())
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(graph.packed(*ends, {modelfile.KEY: header.to_json()}))
    return header


def _started() -> Graph:
    loaded("ai_edge_litert", "writing TensorFlow Lite files", "tflite")
    schema = loaded("ai_edge_litert.schema_py_generated", "writing TensorFlow Lite files", "tflite")
    from sharpbit.export._flatbuffer import Graph  # which needs a package that the extra brings

    return Graph(schema)


def _integer(graph: Graph, chain: IntegerChain) -> tuple[Graph, tuple[int, int]]:
    grey = graph.grid(np.array([1 / WHITE], np.float32), ZERO)
    image = value = graph.image("image", 3, "INT8", grid=grey)
    last = len(chain.layers) - 1
    for number, layer in enumerate(chain.layers):
        dead = layer.multiplier < LEAST
        weight = np.where(dead[:, None, None, None], 0, layer.weight).astype(np.int8)
        bias, scale = np.where(dead, 0, layer.bias).astype(np.int32), np.maximum(layer.multiplier, np.float32(LEAST))
        if number == last:
            weight, bias, scale = (_interleaved(part, chain.scale) for part in (weight, bias, scale))
        kernel = graph.constant(f"layers.{number}.weight", _channels_last(weight), graph.grid(scale))
        offset = graph.constant(f"layers.{number}.bias", bias, graph.grid((scale / WHITE).astype(np.float32)))
        output = graph.image(f"layers.{number}", len(bias), "INT8", grid=grey)
        value = _convolution(graph, 3, [value, kernel, offset], output, rectified=number < last)
    result = graph.image("result", 3, "INT8", chain.scale, grey)
    return graph, (image, _shuffled(graph, value, result, chain.scale))


def _float(graph: Graph, net: Plain) -> tuple[Graph, tuple[int, int]]:
    scale, rows = net.config.scale, 3 * net.config.scale**2
    image = value = graph.image("image", 3, "FLOAT32")
    last = len(net.layers) - 1
    for number, (layer, act) in enumerate(zip(net.layers, net.acts, strict=True)):
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        weight, bias = (part.detach().cpu().numpy().astype(np.float32) for part in (layer.weight, layer.bias))
        slope = act.weight.detach().cpu().numpy() if isinstance(act, nn.PReLU) else None
        if number == last:
            weight, bias = (_interleaved(part[:rows], scale) for part in (weight, bias))
            slope = None if slope is None else _interleaved(slope[:rows], scale)
        kernel = graph.constant(f"layers.{number}.weight", _channels_last(weight))
        offset = graph.constant(f"layers.{number}.bias", bias)
        output = graph.image(f"layers.{number}", len(bias), "FLOAT32")
        value = _convolution(graph, 1, [value, kernel, offset], output, rectified=isinstance(act, nn.ReLU))
        if slope is not None:
            alpha = graph.constant(f"acts.{number}.weight", slope.reshape(1, 1, -1).astype(np.float32))
            output = graph.image(f"acts.{number}", len(bias), "FLOAT32")
            value = graph.operator("PRELU", 1, [value, alpha], output)
    if net.config.skip:
        repeated = graph.image("image repeated", rows, "FLOAT32")
        repeated = graph.operator("CONCATENATION", 1, [image] * scale**2, repeated, "ConcatenationOptions", axis=3)
        value = graph.operator("ADD", 1, [value, repeated], graph.image("sum", rows, "FLOAT32"), "AddOptions")
    if net.config.clip == "clamp":
        for name, bound in (("MAXIMUM", 0), ("MINIMUM", 1)):
            limit = graph.constant(name.lower(), np.full(1, bound, np.float32))
            output = graph.image(f"{name.lower()} {bound}", rows, "FLOAT32")
            value = graph.operator(name, 1, [value, limit], output, "MaximumMinimumOptions")
    result = graph.image("result", 3, "FLOAT32", scale)
    return graph, (image, _shuffled(graph, value, result, scale))


def _convolution(graph: Graph, version: int, inputs: list[int], output: int, *, rectified: bool) -> int:
    activation = RELU if rectified else 0
    options = {"padding": SAME, "strideH": 1, "strideW": 1, "fusedActivationFunction": activation}
    return graph.operator("CONV_2D", version, inputs, output, "Conv2DOptions", **options)


def _shuffled(graph: Graph, value: int, result: int, scale: int) -> int:
    if scale == 1:
        return value
    return graph.operator("DEPTH_TO_SPACE", 1, [value], result, "DepthToSpaceOptions", blockSize=scale)


def _channels_last(weight: NDArray[Any]) -> NDArray[Any]:
    """`(outputs, inputs, rows, columns)` to `(outputs, rows, columns, inputs)`."""
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1))


def _interleaved(rows: NDArray[Any], scale: int) -> NDArray[Any]:
    """Channels in the order (row, column, colour), in which pixels are shuffled there, instead of colour first."""
    order = np.arange(3 * scale**2).reshape(3, scale**2).T.ravel()
    return np.ascontiguousarray(rows[order])


EXPORT = export
