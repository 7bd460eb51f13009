"""ONNX: float32, `(1, 3, H, W)` RGB in `[0, 1]` in and out, any height and width; frozen networks in QDQ form.

A network in integers takes and gives bytes instead (`_integer.py`).
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path

import onnx
import torch

from sharpbit import modelfile
from sharpbit.arch.integer import Integer, chain_of
from sharpbit.atomic import open_atomic
from sharpbit.errors import UsageError
from sharpbit.export import _integer
from sharpbit.export._qdq import TRANSLATIONS, prepared, without_idle_clips
from sharpbit.model import Model
from sharpbit.modelfile import Header

OPSET = 18


def export(model: Model, path: Path, *, overwrite: bool = False) -> Header:
    """Write `model` as ONNX with the header of `docs/format.md`, after checking the graph.

    Raises:
        UsageError: `path` does not end in `.onnx`.
        OutputExists: `path` exists and `overwrite` is false.
    """
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"an ONNX model is saved as .onnx, not {path.name!r}")
    header = model.header()
    if isinstance(model.net, Integer):
        proto, header = _integer.graph(chain_of(model.net)), replace(header, range=(0.0, 255.0))
    else:
        proto = _trace(model)
    header = modelfile.stamp(header, proto.SerializeToString(), path)
    entry = proto.metadata_props.add()
    entry.key, entry.value = modelfile.KEY, header.to_json()
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(proto.SerializeToString())
    return header


def _trace(model: Model) -> onnx.ModelProto:
    axes = {2: torch.export.Dim("height", min=1), 3: torch.export.Dim("width", min=1)}
    level = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            prepared(model.net.eval()),
            (torch.zeros(1, 3, 24, 20),),
            input_names=["picture"],
            output_names=["result"],
            opset_version=OPSET,
            dynamic_shapes=(axes,),
            dynamo=True,
            custom_translation_table=TRANSLATIONS,
            verbose=False,
        )
        logging.getLogger("torch.onnx").setLevel(level)
    assert program is not None
    proto = without_idle_clips(_tidied(program.model_proto))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _tidied(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without what the tracer notes about its source code, which would tell paths of the machine."""
    proto.producer_name, proto.producer_version, proto.doc_string = "sharpbit", "", ""
    del proto.metadata_props[:]
    graph = proto.graph
    graph.name, graph.doc_string = "network", ""
    del graph.value_info[:]
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    return proto


EXPORT = export
