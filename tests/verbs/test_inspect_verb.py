"""What is told of a model file."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import sharpbit
from sharpbit import modelfile, zoo
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


def test_mistakes_are_told(tmp_path):
    with pytest.raises(ModelError, match="there is no model file"):
        sharpbit.inspect(tmp_path / "nothing.pth")
    with pytest.raises(ModelError, match="is a folder"):
        sharpbit.inspect(tmp_path)
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(ModelError, match=r"x\.npy"):
        sharpbit.inspect(tmp_path / "x.npy")
