"""An integer chain as ONNX QDQ: bytes in and out, and every activation has the scale one.

Scales of channels are in the weights already, so engines multiply bytes with bytes and add in 32 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sharpbit.modelfile.integer_chain import IntegerChain

OPSET = 17
IR = 8  # the oldest that has this opset, so that older engines open the file too


def graph(chain: IntegerChain) -> onnx.ModelProto:
    """Input `image` `(1, height, width, 3)`, output `result` `(1, height * scale, width * scale, 3)`, both uint8."""
    nodes = [helper.make_node("Transpose", ["picture"], ["bytes.0"], perm=[0, 3, 1, 2])]
    tensors = []

    def tensor(name: str, values: NDArray[np.generic]) -> str:
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    one, zero = tensor("one", np.float32(1)), tensor("zero", np.uint8(0))  # type: ignore[arg-type]
    value = "bytes.0"
    for number, layer in enumerate(chain.layers):
        own = f"layers.{number}"
        multiplier = tensor(f"{own}.multiplier", layer.multiplier)
        parts = [node("DequantizeLinear", [value, one, zero], f"{own}.real")]
        for key, values in (("weight", layer.weight), ("bias", layer.bias)):
            inputs = [tensor(f"{own}.{key}", values), multiplier]
            parts.append(node("DequantizeLinear", inputs, f"{own}.{key}.real", axis=0))
        value = node("Conv", parts, f"{own}.sum", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        if number < len(chain.layers) - 1:
            value = node("Relu", [value], f"{own}.relu")
        value = node("QuantizeLinear", [value, one, zero], f"bytes.{number + 1}")
    value = node("DepthToSpace", [value], "pixels", blocksize=chain.scale, mode="CRD")
    node("Transpose", [value], "result", perm=[0, 2, 3, 1])
    whole = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info("result", TensorProto.UINT8, [1, None, None, 3])],
        tensors,
    )
    proto = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    proto.producer_name = "sharpbit"
    onnx.checker.check_model(proto, full_check=True)
    return proto
