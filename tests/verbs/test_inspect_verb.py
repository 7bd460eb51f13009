"""What is told of a model file."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import sharpbit
from sharpbit import modelfile, zoo
from sharpbit.app.cli import app
from sharpbit.cost.macs import count
from sharpbit.errors import ModelError, UsageError
from sharpbit.model import Model, build, save


@pytest.fixture
def model():
    fresh = build("etds", scale=3, blocks=2, width=10)
    about = {"name": "x3-tiny", "licence": "CC0-1.0", "data": "noise"}
    return Model(fresh.arch, fresh.config, fresh.net, ({"verb": "start"},), about)


def test_weights(tmp_path, model):
    save(model, tmp_path / "m.safetensors")
    facts = sharpbit.inspect(tmp_path / "m.safetensors")
    assert (facts.architecture, facts.scale, facts.parameters) == ("etds", 3, model.parameters)
    assert facts.config == {**facts.config, "scale": 3, "blocks": 2, "width": 10}
    assert (facts.input_size, facts.output_size, facts.receptive_field) == ((360, 640), (1080, 1920), 9)
    weights = sum(w.numel() for w in model.net.parameters() if w.dim() == 4)
    assert facts.macs == 360 * 640 * weights
    assert (facts.name, facts.licence, facts.data, facts.history) == (
        "x3-tiny",
        "CC0-1.0",
        "noise",
        ({"verb": "start"},),
    )
    assert (facts.uncounted_operators, facts.uncounted_tensors, facts.operators) == ({}, (), {})


def test_rrdb_has_nothing_that_is_not_counted():
    facts = sharpbit.inspect(build("rrdb", scale=4, blocks=1, width=8, growth=4), (64, 64))
    assert {*facts.uncounted_operators} <= {"mul"}
    assert facts.peak_bytes


def test_another_size(tmp_path, model):
    save(model, tmp_path / "m.safetensors")
    facts = sharpbit.inspect(tmp_path / "m.safetensors", (300, 600))
    whole = sharpbit.inspect(tmp_path / "m.safetensors")
    assert facts.input_size == (100, 200)
    assert facts.macs * 360 * 640 == whole.macs * 100 * 200
    with pytest.raises(UsageError, match="x3 network makes no image of 601x300"):
        sharpbit.inspect(tmp_path / "m.safetensors", (300, 601))


def test_onnx_of_ours():
    name = "x2-clean-float"
    header = zoo.models()[name]
    facts = sharpbit.inspect(name)
    model = build(header.architecture, **header.config)
    assert (facts.name, facts.licence, facts.history) == (header.name, header.licence, header.history)
    assert (facts.parameters, facts.receptive_field) == (header.parameters, header.receptive_field)
    weights = [weight for weight in model.net.parameters() if weight.dim() == 4]
    assert facts.macs == 360 * 640 * sum(weight.numel() for weight in weights)
    assert facts.operators["Conv"] == len(weights)


@pytest.mark.parametrize("name", zoo.models())
def test_every_embedded_model(name):
    facts = sharpbit.inspect(name)
    assert (facts.name, facts.precision) == (name, zoo.models()[name].precision)
    sizes = {"fast": (16, 4), "best": (64, 6)}  # and one layer from colours, one to pixels
    width, layers = sizes.get(name.split("-")[-1], (32, 6))
    outputs = 3 * zoo.models()[name].scale ** 2
    assert facts.macs == 360 * 640 * 9 * (3 * width + layers * width**2 + width * outputs)


def test_onnx_of_others(tmp_path):
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, "h", "w")) for name in "xy"]
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:])), tmp_path / "m.onnx")
    facts = sharpbit.inspect(tmp_path / "m.onnx")
    assert (facts.architecture, facts.macs, facts.operators) == ("graph", 0, {"Relu": 2})
    data = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="not a complete onnx file"):
        modelfile.operators(tmp_path / "cut.onnx")


def test_a_graph_of_others_in_words(tmp_path):
    """Operators have names that people know, and what is listed as not counted costs something."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, "h", "w")) for name in "xy"]
    weight = numpy_helper.from_array(np.zeros((3, 3, 3, 3), np.float32), "w")
    pads = numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "p")
    nodes = [
        helper.make_node("Pad", ["x", "p"], ["a"], mode="edge"),
        helper.make_node("Conv", ["a", "w"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["c", "b"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [weight, pads])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "m.onnx")])
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["network"] == "a graph of 4 known operators: pads 1, convolutions 1, max pools 1, products of maps 1"
    assert lines["not"] == "counted   max pools 1, products of maps 1"


def test_what_was_done_begins_with_the_verb(tmp_path, model):
    save(replace(model, history=({"verb": "start"}, {"verb": "train", "steps": 3})), tmp_path / "m.safetensors")
    text = CliRunner().invoke(app, ["inspect", str(tmp_path / "m.safetensors")]).stdout
    assert "history       start\nhistory       train: steps 3\n" in text


@pytest.mark.parametrize(
    "layer", [nn.ReplicationPad2d(1), nn.ReflectionPad2d(1), nn.SiLU(), nn.GELU(), nn.PixelUnshuffle(2)]
)
def test_moving_values_and_activations_cost_nothing(layer):
    found = count(nn.Sequential(layer, nn.Upsample(scale_factor=2)), (8, 8))
    assert (found.macs, found.operators) == (0, {})


def test_mistakes_are_told(tmp_path):
    with pytest.raises(ModelError, match="there is no model file"):
        sharpbit.inspect(tmp_path / "nothing.pth")
    with pytest.raises(ModelError, match="is a folder"):
        sharpbit.inspect(tmp_path)
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(ModelError, match=r"x\.npy"):
        sharpbit.inspect(tmp_path / "x.npy")
