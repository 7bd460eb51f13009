"""ONNX: float32, `(1, 3, H, W)` RGB in `[0, 1]` in and out, any height and width; frozen networks in QDQ form.

A network in integers takes and gives bytes instead (`_integer.py`); one in two passes is three graphs (`_twopass.py`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import torch

from sharpbit.arch.integer import Integer, chain_of
from sharpbit.errors import UsageError
from sharpbit.export import _integer, _twopass
from sharpbit.export._file import save
from sharpbit.export._trace import trace
from sharpbit.model import Model
from sharpbit.modelfile import Header
from sharpbit.quant.refqsr import TwoPass


def export(model: Model, path: Path, *, overwrite: bool = False) -> Header:
    """Write `model` as ONNX with the header of `docs/format.md`, after checking the graph.

    Raises:
        UsageError: `path` does not end in `.onnx`, or the model is an integer chain with slopes.
        OutputExists: `path` exists and `overwrite` is false.
    """
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"an ONNX model is saved as .onnx, not {path.name!r}")
    header = model.header()
    if isinstance(model.net, Integer):
        if model.net.config.more:
            raise UsageError(
                f"an integer chain with slopes runs on the native engine alone; write it as .sharpbit, not {path.name}"
            )
        proto, header = _integer.graph(chain_of(model.net)), replace(header, range=(0.0, 255.0))
    else:
        proto = _graph(model)
    return save(proto, header, path, overwrite=overwrite)


def _graph(model: Model) -> onnx.ModelProto:
    if TwoPass.of(model.history) is not None:
        return _twopass.graph(model.net)
    axes = {2: torch.export.Dim("height", min=1), 3: torch.export.Dim("width", min=1)}
    return trace(model.net, (torch.zeros(1, 3, 24, 20),), (axes,), ["picture"], ["result"])


EXPORT = export
