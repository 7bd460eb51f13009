"""A network in two passes in one ONNX file: classifier, references and queries, of which `task` says what is wanted.

The three are branches of `If` with the same inputs and outputs, so any engine that knows the operator opens the file:

- `task`: int64, one of `sharpbit.twopass.schedule.TASKS`;
- `picture`: `(N, 3, H, W)` RGB in `[0, 1]`, patches of 15 pixels at least each way;
- `features_k`, one a RefER: `(N, C, h, w)` of the reference of each patch; only read for queries.

`result` is `(N, 3, H * scale, W * scale)`, or `(N, classes, 1, 1)` of the classifier; `kept_k` are the features that
queries want of a reference.
"""

from __future__ import annotations

from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from sharpbit.export._pair import asked, branch, choice
from sharpbit.export._trace import trace
from sharpbit.quant.freeze import freeze
from sharpbit.quant.refqsr import QueryPass, ReferencePass
from sharpbit.quant.refqsr.clustblock import VectorsPass
from sharpbit.twopass.classifier import SMALLEST, embedded
from sharpbit.twopass.schedule import QUERY, TASKS, VECTORS

SIDE = 24  # of patches for the trace


def graph(net: nn.Module) -> onnx.ModelProto:
    """The file of a network in two passes, without its header.

    Raises:
        UsageError: it has no two passes.
    """
    passes = ReferencePass(net), QueryPass(net)
    for part in passes:
        part.net = freeze(part.net)
    with torch.no_grad():
        kept = [tuple(feature.shape[1:2]) for feature in passes[0](torch.zeros(1, 3, SIDE, SIDE))[1:]]
    places = range(len(kept))
    patch = torch.zeros(2, 3, SIDE, SIDE + 3)
    features = [torch.zeros(2, *channels, SIDE + 6, SIDE) for channels in kept]
    own, other = _axes("height", "width"), _axes("reference_height", "reference_width")
    results = ["result", *(f"kept_{place}" for place in places)]
    parts = [
        trace(VectorsPass(embedded()), (patch,), (own,), ["picture"], ["result"]),
        trace(passes[0], (patch,), (own,), ["picture"], results),
        trace(passes[1], (patch, *features), (own, tuple(other for _ in places)), _inputs(places), ["result"]),
    ]
    branches = [branch(part, name, results) for part, name in zip(parts, TASKS, strict=True)]
    nodes = [
        *asked(VECTORS, "is_vectors"),
        choice("is_vectors", branches[0], _nested(branches[1], branches[2], results), results),
    ]
    pixels = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    inputs = [helper.make_tensor_value_info("task", TensorProto.INT64, []), pixels]
    for place, channels in zip(places, kept, strict=True):
        shape = ["references", *channels, "reference_height", "reference_width"]
        inputs.append(helper.make_tensor_value_info(f"features_{place}", TensorProto.FLOAT, shape))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in results]
    whole = helper.make_graph(nodes, "two_passes", inputs, outputs)
    proto = helper.make_model(whole, opset_imports=parts[0].opset_import, producer_name="sharpbit")
    proto.ir_version = parts[0].ir_version
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _axes(height: str, width: str) -> dict[int, Any]:
    sizes = {2: torch.export.Dim(height, min=SMALLEST), 3: torch.export.Dim(width, min=SMALLEST)}
    return {0: torch.export.Dim("batch", min=1), **sizes}


def _inputs(places: range) -> list[str]:
    return ["picture", *(f"features_{place}" for place in places)]


def _nested(reference: onnx.GraphProto, query: onnx.GraphProto, results: list[str]) -> onnx.GraphProto:
    own = [f"other_{name}" for name in results]
    nodes = [*asked(QUERY, "is_query"), choice("is_query", query, reference, own)]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in own]
    return helper.make_graph(nodes, "pictures", [], outputs)
