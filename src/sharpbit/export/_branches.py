"""Several graphs in one ONNX file: branches of `If`, of which the input `task` says which runs."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper


def asked(task: int, name: str) -> list[onnx.NodeProto]:
    """Nodes that make `name` true where the input `task` is this number."""
    number = helper.make_tensor(f"{name}_number", TensorProto.INT64, [], [task])
    constant = helper.make_node("Constant", [], [f"{name}_number"], value=number)
    return [constant, helper.make_node("Equal", ["task", f"{name}_number"], [name])]


def choice(condition: str, yes: onnx.GraphProto, no: onnx.GraphProto, results: list[str]) -> onnx.NodeProto:
    """An `If` of two branches that make the same results."""
    return helper.make_node("If", [condition], results, then_branch=yes, else_branch=no)


def branch(part: onnx.ModelProto, name: str, results: list[str]) -> onnx.GraphProto:
    """The graph of a part without inputs, its names its own but for those of the whole; what it lacks is handed on."""
    inner = part.graph
    outside = {item.name for item in inner.input}

    def own(text: str) -> str:
        return text if not text or text in outside else f"{name}/{text}"

    for node in inner.node:
        for field in (node.input, node.output):
            for place, text in enumerate(field):
                field[place] = own(text)
        node.name = own(node.name)
    for item in inner.initializer:
        item.name = own(item.name)
    made = [item.name for item in inner.output]
    outputs = []
    for result in results:
        if result not in made:  # of the classifier and of queries: something of the right kind, which nobody reads
            feature = result.replace("kept", "features")
            inner.node.append(helper.make_node("Identity", [feature], [own(result)], name=own(f"no_{result}")))
        outputs.append(helper.make_tensor_value_info(own(result), TensorProto.FLOAT, [None] * 4))
    return helper.make_graph(inner.node, name, [], outputs, inner.initializer)
