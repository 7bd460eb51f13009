"""Integer networks and their files, made for tests: they repeat each pixel, with something of its surroundings."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sharpbit import modelfile
from sharpbit.modelfile import Header
from sharpbit.modelfile.integer_chain import IntegerChain, Layer


def chain(*, scale: int = 2, depth: int = 4, channels: int = 16, seed: int = 0) -> IntegerChain:
    """Three channels carry the image through, the others carry noise of it, of which a little is added at the end."""
    rng = np.random.default_rng(seed)
    widths = [3, *[channels] * (depth - 1), 3 * scale**2]
    layers = []
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        weight = rng.integers(-40, 41, (outputs, inputs, 3, 3)).astype(np.int8)
        bias = rng.integers(-3000, 3000, outputs).astype(np.int32)
        copies = {k: k // scale**2 for k in range(outputs)} if number == depth - 1 else {k: k for k in range(3)}
        for k, source in copies.items():
            weight[k] = rng.integers(-1, 2, weight[k].shape) if number == depth - 1 else 0
            weight[k, source, 1, 1] = 120
            bias[k] = 0
        gain = rng.uniform(0.002, 0.004, outputs)
        gain[list(copies)] = 1 / 120
        layers.append(Layer(weight, bias, gain.astype(np.float32)))
    return IntegerChain(tuple(layers), scale)


def write(network: IntegerChain, path: Path, **facts: object) -> Path:
    """An ONNX file with the operators of quantized networks, which every engine may run in integers."""
    values: list[onnx.TensorProto] = []
    nodes = [helper.make_node("Transpose", ["picture"], ["q0"], perm=[0, 3, 1, 2])]

    def const(name: str, value: np.ndarray | np.generic) -> str:
        values.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    one, zero, current = const("one", np.float32(1)), const("zero", np.uint8(0)), "q0"
    for k, layer in enumerate(network.layers):
        step = const(f"layers.{k}.multiplier", layer.multiplier)
        weight, bias = const(f"layers.{k}.weight", layer.weight), const(f"layers.{k}.bias", layer.bias)
        nodes += [
            helper.make_node("DequantizeLinear", [current, one, zero], [f"x{k}"]),
            helper.make_node(
                "DequantizeLinear",
                [weight, step, const(f"layers.{k}.zero", np.zeros(layer.outputs, np.int8))],
                [f"w{k}"],
                axis=0,
            ),
            helper.make_node("DequantizeLinear", [bias, step], [f"b{k}"], axis=0),
            helper.make_node("Conv", [f"x{k}", f"w{k}", f"b{k}"], [f"c{k}"], pads=[1] * 4, kernel_shape=[3, 3]),
            helper.make_node("Relu", [f"c{k}"], [f"r{k}"]),
            helper.make_node("QuantizeLinear", [f"r{k}", one, zero], [f"q{k + 1}"]),
        ]
        current = f"q{k + 1}"
    nodes += [
        helper.make_node("DepthToSpace", [current], ["planes"], blocksize=network.scale, mode="CRD"),
        helper.make_node("Transpose", ["planes"], ["result"], perm=[0, 2, 3, 1]),
    ]
    kind = onnx.TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        "integer",
        [helper.make_tensor_value_info("picture", kind, [1, "height", "width", 3])],
        [helper.make_tensor_value_info("result", kind, [1, "large_height", "large_width", 3])],
        values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    header: dict[str, object] = {
        "name": "integer",
        "architecture": "integer",
        "config": {"scale": network.scale, "hidden": [layer.outputs for layer in network.layers[:-1]]},
        "scale": network.scale,
        "receptive_field": 2 * len(network.layers) + 1,
        "parameters": network.macs,
        "precision": "int8",
        "range": (0, 255),
    }
    told = modelfile.stamp(Header(**(header | facts)), model.SerializeToString(), path)  # type: ignore[arg-type]
    entry = model.metadata_props.add()
    entry.key, entry.value = modelfile.KEY, told.to_json()
    path.write_bytes(model.SerializeToString())
    return path
