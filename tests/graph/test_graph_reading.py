"""ONNX files of others as graphs: the same results as ONNX Runtime, whatever operators a file is made of."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from sharpbit.arch.graph import of_graph
from sharpbit.errors import ModelError
from sharpbit.graph.geometry import geometry, macs
from sharpbit.graph.onnx import UnknownOperator, read

RNG = np.random.default_rng(0)


def array(*shape):
    return (RNG.standard_normal(shape) * 0.3).astype(np.float32)


class File:
    """An ONNX file that is being written."""

    def __init__(self, opset=18, shape=("n", 3, "h", "w"), kind=np.float32):
        self.nodes, self.tensors, self.opset, self.shape, self.kind = [], [], opset, shape, np.dtype(kind)

    def tensor(self, values):
        name = f"t{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, kind, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
        given = [value if isinstance(value, str) else self.tensor(value) for value in inputs]
        self.nodes.append(helper.make_node(kind, given, names, name=f"n{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, outputs, inputs, side=3, **more):
        pads = more.pop("pads", [side // 2] * 4)
        weight = array(outputs, inputs // more.get("group", 1), side, side)
        return self.add("Conv", x, weight, array(outputs), pads=pads, **more)

    def write(self, path):
        last = self.nodes[-1].output[0]
        element = helper.np_dtype_to_tensor_dtype(self.kind)
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", element, list(self.shape))],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
            self.tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        onnx.save(model, path)
        return path


def agree(path, *, shape=(1, 3, 24, 40), scale=2):
    """The graph of a file gives what ONNX Runtime gives; the graph."""
    reading = read(path)
    net = of_graph(reading.graph, scale)
    x = RNG.random(shape, np.float32)
    (wanted,) = ort.InferenceSession(path).run(None, {"x": x})
    with torch.no_grad():
        own = net.run(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-4)
    return reading.graph


def residual(file, activation):
    first = file.conv("x", 8, 3)
    y = activation(file, first)
    y = file.add("Add", file.conv(y, 8, 8), first)
    y = file.add("Concat", y, first, axis=1)
    return file.add("DepthToSpace", file.conv(y, 12, 16), blocksize=2, mode="CRD")


ACTIVATIONS = {
    "relu": lambda f, x: f.add("Relu", x),
    "prelu": lambda f, x: f.add("PRelu", x, array(8, 1, 1)),
    "one slope": lambda f, x: f.add("PRelu", x, array(1)),
    "leaky": lambda f, x: f.add("LeakyRelu", x, alpha=0.2),
    "silu": lambda f, x: f.add("Mul", x, f.add("Sigmoid", x)),
    "clip": lambda f, x: f.add("Clip", x, np.float32(0), np.float32(6)),
    "hard": lambda f, x: f.add("HardSigmoid", x),
    "square": lambda f, x: f.add("Pow", x, np.float32(2)),
    "norm": lambda f, x: f.add("BatchNormalization", x, array(8), array(8), array(8), np.abs(array(8)) + 0.5),
    "scaled": lambda f, x: f.add("Add", f.add("Mul", x, array(1, 8, 1, 1)), np.float32(0.3)),
    "grouped": lambda f, x: f.conv(x, 8, 8, 5, group=4),
    "depthwise": lambda f, x: f.conv(x, 8, 8, group=8),
    "uneven": lambda f, x: f.conv(x, 8, 8, 2, pads=[0, 0, 1, 1]),
    "gate": lambda f, x: f.add("Mul", x, f.add("Sigmoid", f.conv(f.add("GlobalAveragePool", x), 8, 8, 1))),
    "mean": lambda f, x: f.add("Mul", x, f.add("ReduceMean", x, np.array([2, 3]), keepdims=1)),
    "half": lambda f, x: f.add("Concat", *f.add("Split", x, np.array([3, 5]), axis=1, outputs=2)[::-1], axis=1),
    "sliced": lambda f, x: f.add("Mul", x, f.add("Slice", x, np.array([2]), np.array([3]), np.array([1]))),
    "pixels": lambda f, x: f.add("SpaceToDepth", f.add("DepthToSpace", x, blocksize=2), blocksize=2),
    "linear": lambda f, x: f.add(
        "Transpose", f.add("MatMul", f.add("Transpose", x, perm=[0, 2, 3, 1]), array(8, 8)), perm=[0, 3, 1, 2]
    ),
    "shuffled channels": lambda f, x: f.add(
        "Reshape",
        f.add("Transpose", f.add("Reshape", x, np.array([1, 2, 4, 24, 40])), perm=[0, 2, 1, 3, 4]),
        np.array([1, 8, 24, 40]),
    ),
    "resized": lambda f, x: f.add(
        "Resize", f.conv(x, 8, 8, 3, strides=[2, 2]), "", np.array([1, 1, 2, 2], np.float32), mode="linear"
    ),
    "pooled": lambda f, x: f.add(
        "Resize", f.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), "", np.array([1, 1, 2, 2], np.float32)
    ),
    "transposed": lambda f, x: f.conv(
        f.add("ConvTranspose", x, array(8, 8, 4, 4), array(8), strides=[2, 2], pads=[1, 1, 1, 1]),
        8,
        8,
        strides=[2, 2],
    ),
    "reflected": lambda f, x: f.conv(
        f.add("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect"), 8, 8, pads=[0] * 4
    ),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_block_with_each_operator_gives_what_onnx_runtime_gives(name, tmp_path):
    fixed = name == "shuffled channels"
    file = File(shape=(1, 3, 24, 40) if fixed else ("n", 3, "h", "w"))
    residual(file, ACTIVATIONS[name])
    agree(file.write(tmp_path / "net.onnx"))


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 21])
def test_opsets(opset, tmp_path):
    """A skip of the image by nearest neighbours, sizes that are computed, bounds that moved from attribute to input."""
    file = File(opset)
    y = (
        file.add("DepthToSpace", file.conv("x", 12, 3), blocksize=2)
        if opset < 11
        else residual(file, ACTIVATIONS["relu"])
    )
    scales = np.array([1, 1, 2, 2], np.float32)
    up = file.add("Upsample", "x", scales) if opset == 9 else file.add("Resize", "x", np.empty(0, np.float32), scales)
    y = file.add("Add", y, up)
    if opset < 11:
        file.add("Clip", y, min=0.0, max=1.0)
    else:
        file.add("Clip", y, np.float32(0), np.float32(1))
    agree(file.write(tmp_path / "net.onnx"))


def test_a_pixel_shuffle_out_of_reshapes_with_computed_sizes(tmp_path):
    file = File()
    y = file.conv("x", 12, 3)
    shape = file.add("Shape", y)
    high, wide = (file.add("Gather", shape, np.array([k])) for k in (2, 3))
    six = file.add("Concat", np.array([-1, 3, 2, 2]), high, wide, axis=0)
    y = file.add("Transpose", file.add("Reshape", y, six), perm=[0, 1, 4, 2, 5, 3])
    two = np.array([2])
    last = file.add("Concat", np.array([-1, 3]), file.add("Mul", high, two), file.add("Mul", wide, two), axis=0)
    file.add("Reshape", y, last)
    graph = agree(file.write(tmp_path / "net.onnx"))
    assert [node.op for node in graph.nodes] == ["conv", "shuffle"]
    assert macs(graph, 10, 20) == 200 * 3 * 12 * 9


def test_every_second_pixel_is_an_unshuffle(tmp_path):
    file = File()
    axes, ends, steps = np.array([2, 3]), np.array([1 << 30] * 2), np.array([2, 2])
    parts = [file.add("Slice", "x", np.array(at), ends, axes, steps) for at in ((0, 0), (1, 0), (0, 1), (1, 1))]
    y = file.conv(file.add("Concat", *parts, axis=1), 48, 12)
    file.add("DepthToSpace", y, blocksize=4, mode="CRD")
    found = geometry(agree(file.write(tmp_path / "net.onnx")))
    assert (found.scale, found.multiple) == (2, 2)


def test_factors_and_summands_go_into_convolutions(tmp_path):
    file = File()
    y = file.add("Sub", file.add("Mul", "x", np.float32(255)), array(1, 3, 1, 1))
    y = file.conv(y, 12, 3, 1)
    y = file.add("DepthToSpace", y, blocksize=2, mode="CRD")
    file.add("Div", y, np.float32(255))
    graph = agree(file.write(tmp_path / "net.onnx"))
    assert [node.op for node in graph.nodes] == ["conv", "shuffle"]


def test_half_precision_weights_and_operators_that_nobody_needs(tmp_path):
    file = File()
    weight = file.add("Cast", array(12, 3, 3, 3).astype(np.float16), to=TensorProto.FLOAT)
    file.add("Softmax", "x")
    y = file.add("Conv", "x", weight, pads=[1] * 4)
    file.add("DepthToSpace", file.add("Dropout", y), blocksize=2, mode="CRD")
    assert [node.op for node in agree(file.write(tmp_path / "net.onnx")).nodes] == ["conv", "shuffle"]


def test_an_unknown_operator_is_named_with_the_way_out(tmp_path):
    file = File()
    y = file.add("Hardmax", file.conv("x", 12, 3), axis=1)
    file.add("DepthToSpace", y, blocksize=2, mode="CRD")
    with pytest.raises(UnknownOperator, match=r"Hardmax \(node n1\).*--engine onnx"):
        read(file.write(tmp_path / "net.onnx"))


@pytest.mark.parametrize("cut", [7, 150, 400])
def test_a_file_that_is_cut_off_is_one_sentence(cut, tmp_path):
    file = File()
    residual(file, ACTIVATIONS["relu"])
    path = file.write(tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelError, match="not a complete onnx file"):
        read(path)


@pytest.mark.parametrize("plain", [True, False])
def test_channels_are_normalized(plain, tmp_path):
    """As one operator, and as exporters wrote it before there was one."""
    file = File()
    y = file.add("Transpose", file.conv("x", 8, 3), perm=[0, 2, 3, 1])
    if plain:
        y = file.add("LayerNormalization", y, array(8), array(8), axis=-1, epsilon=1e-4)
    else:
        apart = file.add("Sub", y, file.add("ReduceMean", y, np.array([-1])))
        variance = file.add("ReduceMean", file.add("Pow", apart, np.float32(2)), np.array([-1]))
        deviation = file.add("Sqrt", file.add("Add", variance, np.float32(1e-4)))
        y = file.add("Add", file.add("Mul", file.add("Div", apart, deviation), array(8)), array(8))
    y = file.conv(file.add("Transpose", y, perm=[0, 3, 1, 2]), 12, 8)
    file.add("DepthToSpace", y, blocksize=2, mode="CRD")
    graph = agree(file.write(tmp_path / "net.onnx"))
    assert geometry(graph).reach == 2
    assert {node.op for node in graph.nodes} == {"conv", "sub", "mul", "affine", "function", "div", "shuffle"}


def test_what_is_normalized_otherwise_is_refused(tmp_path):
    file = File()
    file.add("LayerNormalization", file.conv("x", 8, 3), array(8, 24, 40), axis=1)
    with pytest.raises(UnknownOperator, match="something else than the channels"):
        read(file.write(tmp_path / "net.onnx"))


@pytest.mark.parametrize("channels", [1, 3])
def test_each_channel_is_repeated(channels, tmp_path):
    """As `repeat_interleave` is exported, and as `Tile` alone."""
    file = File(shape=(1, channels, 24, 40))
    five = file.add("Unsqueeze", "x", np.array([2]))
    four = file.add("Tile", five, np.array([1, 1, 4, 1, 1]))
    each = file.add("Reshape", four, np.array([0, 4 * channels, 24, 40]))
    whole = file.add("Tile", "x", np.array([1, 4, 1, 1]))
    y = file.conv(file.add("Add", each, whole), 4 * channels, 4 * channels)
    file.add("DepthToSpace", y, blocksize=2, mode="CRD")
    agree(file.write(tmp_path / "net.onnx"), shape=(1, channels, 24, 40))
