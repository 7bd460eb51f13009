"""The ONNX export: what the file holds besides the network."""

import logging

import onnx
import pytest
import torch
from torch import nn

from sharpbit import model as models
from sharpbit import modelfile
from sharpbit.errors import OutputExists, UsageError
from sharpbit.export._trace import trace
from sharpbit.export.onnx import export


@pytest.fixture(scope="module")
def model():
    return models.reparameterize(models.build("etds", scale=3, blocks=1, width=8))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "a.onnx"
    return export(model, path), path


def test_the_graph_is_what_engines_run_well(exported):
    header, path = exported
    proto = onnx.load(path)
    assert [node.op_type for node in proto.graph.node] == ["Conv", "Relu"] * 2 + ["Conv", "Clip", "DepthToSpace"]
    sides = [dimension.dim_param for dimension in proto.graph.input[0].type.tensor_type.shape.dim[2:]]
    assert sides == ["height", "width"]
    assert header.parameters == sum(onnx.numpy_helper.to_array(t).size for t in proto.graph.initializer if t.dims)


def test_nothing_of_the_machine_is_in_the_file(exported):
    data = exported[1].read_bytes()
    assert b".py" not in data
    assert b"torch" not in data


def test_the_same_model_gives_the_same_bytes(model, exported, tmp_path):
    export(model, tmp_path / "b.onnx")
    assert exported[1].read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_header_is_the_same_as_in_safetensors(model, exported, tmp_path):
    one, path = exported
    two = models.save(model, tmp_path / "a.safetensors")
    assert {**vars(one), "sha256": ""} == {**vars(two), "sha256": ""}
    assert modelfile.read(path, verify=True) == one


def test_wrong_name_and_existing_file(model, tmp_path):
    with pytest.raises(UsageError, match=r"\.onnx"):
        export(model, tmp_path / "a.pt")
    (tmp_path / "a.onnx").write_text("mine")
    with pytest.raises(OutputExists):
        export(model, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_text() == "mine"


def test_the_exporter_warns_of_nothing_that_is_no_matter_of_the_user(caplog):
    class Biased(nn.Module):
        """Adds a constant that is normalized, as HiT-SR does with biases of positions."""

        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(4)

        def forward(self, x):
            return x + self.norm(torch.ones(3, 4))

    before = logging.getLogger("onnxscript").level
    trace(Biased(), (torch.zeros(2, 3, 4),), ({0: torch.export.Dim("batch")},), ["x"], ["y"])
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert logging.getLogger("onnxscript").level == before
