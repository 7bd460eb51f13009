"""A network in PyTorch as an ONNX graph without a trace of the machine it was made on."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from sharpbit.export._qdq import TRANSLATIONS, prepared, with_own_bytes, without_idle_clips

OPSET = 18


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Let loggers pass errors alone; what they warn of is no matter of the user's."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def trace(
    net: nn.Module, args: tuple[Tensor, ...], axes: tuple[Any, ...], inputs: list[str], outputs: list[str]
) -> onnx.ModelProto:
    """The graph of `net`, checked.

    Args:
        net: float or frozen.
        args: what it is traced with.
        axes: for each argument of its `forward`, names of the sizes that may change.
        inputs: names.
        outputs: names.
    """
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            prepared(net.eval()),
            args,
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamic_shapes=axes,
            dynamo=True,
            custom_translation_table=TRANSLATIONS,
            verbose=False,
        )
    assert program is not None
    proto = with_own_bytes(without_idle_clips(_tidied(program.model_proto)))
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
