"""No two layers of an exported file share signed bytes; files that do are opened on processors without VNNI as well."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from quant_nets import images
from sharpbit import model as models
from sharpbit.export._qdq import with_own_bytes
from sharpbit.export.onnx import export
from sharpbit.modelfile import ModelFile
from sharpbit.quant import recorded
from sharpbit.quant.plan import Plan
from sharpbit.runtime import onnx as runtime
from sharpbit.runtime.onnx import open_onnx


class Twice(nn.Module):
    """A layer that is run twice, and two of one size, whose zero points are equal."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.up = nn.Sequential(nn.Conv2d(8, 12, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, x):
        y = torch.relu(self.b(torch.relu(self.a(x))))
        return self.up(torch.relu(self.c(torch.relu(self.b(y)))))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    start = replace(models.build("plain", scale=2, blocks=1, width=4), net=Twice())
    return recorded.freeze(recorded.calibrate(recorded.insert_quantizers(start, Plan.uniform(8)), images()))


def readers(proto):
    """How often each tensor of signed bytes is read."""
    bytes_ = {item.name for item in proto.graph.initializer if item.data_type == onnx.TensorProto.INT8}
    return Counter(name for node in proto.graph.node for name in node.input if name in bytes_)


def merged(proto):
    """The same graph with equal signed bytes merged, as other exporters leave it."""
    first, renamed = {}, {}
    for item in list(proto.graph.initializer):
        if item.data_type == onnx.TensorProto.INT8:
            renamed[item.name] = first.setdefault((tuple(item.dims), item.raw_data), item.name)
            if renamed[item.name] != item.name:
                proto.graph.initializer.remove(item)
    for node in proto.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    return proto


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "twice.onnx"
    export(model, path)
    return path


def test_each_layer_has_bytes_of_its_own(file):
    proto = onnx.load(file)
    assert set(readers(proto).values()) == {1}
    together = merged(onnx.load(file))
    assert max(readers(together).values()) > 1
    again = with_own_bytes(together)
    assert readers(again).total() == readers(proto).total()
    assert set(readers(again).values()) == {1}
    onnx.checker.check_model(again, full_check=True)


def result(path, folder):
    x = np.random.default_rng(0).random((1, 3, 24, 20), np.float32)
    return runtime._session(ModelFile.of(path), 1, "cpu", folder / "plan.onnx").run(None, {"picture": x})[0]


def test_files_that_share_them_give_the_same_image(file, tmp_path):
    """On a processor without VNNI this needs the second way to open a file."""
    shared = tmp_path / "shared.onnx"
    proto = merged(onnx.load(file))
    del proto.metadata_props[:]  # as a file of others; ours are checked
    onnx.save(proto, shared)
    apart = 255 * np.abs(result(shared, tmp_path) - result(file, tmp_path))
    assert (apart > 0.01).mean() < 0.01  # a value between two steps may fall to either


def test_a_file_that_the_exact_way_cannot_open_runs_in_float(file, monkeypatch):
    opened = ort.InferenceSession

    def session(source, options, **given):
        if options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL:
            raise RuntimeError("Attempt to replace the existing tensor")
        return opened(source, options, **given)

    monkeypatch.setattr(runtime, "_saturates", lambda: True)
    monkeypatch.setattr(runtime.ort, "InferenceSession", session)
    assert any("none of the" in note for note in open_onnx(file).notes)
