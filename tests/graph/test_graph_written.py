"""Graphs written as ONNX without the package for it: ONNX Runtime computes what PyTorch does."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from test_graph_ncnn import computed, residual

from ncnn_files import chain, write
from sharpbit import model as models
from sharpbit.arch.graph import of_graph
from sharpbit.errors import ModelError
from sharpbit.graph import FUNCTIONS, IMAGE, Graph, Node
from sharpbit.graph.written import onnx_of
from sharpbit.runtime import EngineOptions, open_engine
from sharpbit.verbs.evaluate import open_model

CONV = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "bias": True, "kernel": (3, 3)}
ONES = [
    ("conv", {**CONV, "inputs": 3, "outputs": 3, "padding": (2, 2), "dilation": (2, 2)}),
    ("conv", {**CONV, "inputs": 3, "outputs": 6, "groups": 3, "bias": False, "stride": (2, 2)}),
    ("deconv", {**CONV, "inputs": 3, "outputs": 5, "stride": (2, 2), "more": (1, 1)}),
    ("affine", {"channels": 3}),
    ("prelu", {"channels": 3}),
    ("leaky", {"slope": 0.2}),
    ("relu", {}),
    *(("clip", {"low": low, "high": high}) for low, high in ((0.2, 0.7), (None, 0.5), (0.3, None))),
    *(("select", chosen) for chosen in ({"index": [2, 0, 0]}, {"start": 0, "stop": 3, "step": 2})),
    ("unshuffle", {"factor": 2}),
    *(
        ("resize", {"factor": [2.0, 2.0], "mode": mode, "aligned": aligned})
        for mode, aligned in (("nearest", False), ("bilinear", False), ("bilinear", True), ("bicubic", False))
    ),
    *((op, {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1)}) for op in ("maxpool", "avgpool")),
    ("mean", {}),
    *(("pad", {"sides": (1, 2, 3, 4), "mode": mode}) for mode in ("constant", "reflect", "replicate")),
    ("crop", {"sides": (1, 0, 2, 3)}),
    *(("function", {"kind": kind}) for kind in FUNCTIONS),
]


def graph(*nodes):
    """A graph of these nodes, with random weights."""
    rng, weights = np.random.default_rng(0), {}
    for node in nodes:
        if node.op in ("conv", "deconv"):
            shape = [node["outputs"], node["inputs"] // node["groups"], *node["kernel"]]
            shape = [shape[1], shape[0], *shape[2:]] if node.op == "deconv" else shape
            weights[f"{node.name}.weight"] = rng.standard_normal(shape).astype(np.float32)
            if node["bias"]:
                weights[f"{node.name}.bias"] = rng.standard_normal(node["outputs"]).astype(np.float32)
        elif node.op in ("affine", "prelu"):
            for key in ("weight", "bias")[: 2 if node.op == "affine" else 1]:
                weights[f"{node.name}.{key}"] = rng.standard_normal(node["channels"]).astype(np.float32)
    return Graph(nodes, weights)


def results(found, image):
    """What ONNX Runtime makes of an image, and what PyTorch does."""
    proto = onnx_of(found)
    onnx.checker.check_model(onnx.load_from_string(proto), full_check=True)
    session = ort.InferenceSession(proto, providers=["CPUExecutionProvider"])
    net = of_graph(found, 1)
    with torch.no_grad():
        return session.run(None, {"image": image})[0], net.run(torch.from_numpy(image)).numpy()


@pytest.mark.parametrize(("op", "settings"), ONES, ids=[f"{op}-{n}" for n, (op, _) in enumerate(ONES)])
def test_each_operator(op, settings):
    image = np.random.default_rng(1).uniform(0.1, 0.9, (1, 3, 8, 12)).astype(np.float32)
    if op == "function" and settings["kind"] in ("gelu", "mish", "round"):
        image = image * 4 - 2
    ours, theirs = results(graph(Node("n", op, (IMAGE,), settings)), image)
    np.testing.assert_allclose(ours, theirs, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "max", "min", "concat"])
def test_two_maps(op):
    conv = Node("c", "conv", (IMAGE,), {**CONV, "inputs": 3, "outputs": 3})
    image = np.random.default_rng(1).uniform(0.1, 0.9, (1, 3, 8, 12)).astype(np.float32)
    ours, theirs = results(graph(conv, Node("n", op, ("c", IMAGE))), image)
    np.testing.assert_allclose(ours, theirs, atol=2e-6, rtol=1e-5)


def test_the_size_of_another_map():
    down = Node("d", "avgpool", (IMAGE,), {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0)})
    back = Node("n", "resize", ("d", IMAGE), {"mode": "bilinear", "aligned": False})
    image = np.random.default_rng(1).random((1, 3, 10, 14)).astype(np.float32)
    ours, theirs = results(graph(down, back), image)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_an_operator_that_has_no_form():
    with pytest.raises(ModelError, match=r"n \(window\) has no form in ONNX"):
        onnx_of(Graph((Node("n", "window", (IMAGE,)),), {}))


def test_files_of_ncnn_run_without_pytorch(tmp_path):
    table, data, arrays = residual(True)
    path = write(tmp_path, table, data, form="text")
    options = EngineOptions(white=(1.0, 1.0), threads=1)  # its weights are random
    found = open_engine(path, options)
    assert "ONNX Runtime" in found.engine
    assert (found.scale, found.multiple) == (2, 2)
    image = np.random.default_rng(0).random((10, 14, 3)).astype(np.float32)
    (result,) = found([image])
    wanted = computed(torch.from_numpy(image).permute(2, 0, 1)[None], arrays)[0].permute(1, 2, 0)
    np.testing.assert_allclose(result, wanted, atol=1e-5)
    code = (
        "import sys\nfrom sharpbit.runtime import EngineOptions, open_engine\n"
        f"open_engine({str(path)!r}, EngineOptions(white=(1.0, 1.0)))\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_engine_can_be_named(tmp_path):
    path = write(tmp_path, *residual(False)[:2], form="binary")
    assert "ONNX Runtime" in open_engine(path, EngineOptions("onnx", white=(1.0, 1.0))).engine


def test_every_engine_takes_the_range_that_is_stated(tmp_path):
    net = models.build("compact", scale=2, blocks=1, width=5).net
    with torch.no_grad():
        net.body[-1].bias.fill_(0.3)  # without it the result would be the same for every range
    path = write(tmp_path, *chain(net.state_dict(), 2, half=False))
    image = np.random.default_rng(0).random((8, 10, 3)).astype(np.float32)
    options = [EngineOptions(name, white=(white, white), threads=1) for name in ("torch", "onnx") for white in (1, 255)]
    torch_1, torch_255, onnx_1, onnx_255 = (next(iter(open_engine(path, one)([image]))) for one in options)
    np.testing.assert_allclose(torch_1, onnx_1, atol=1e-5)
    np.testing.assert_allclose(torch_255, onnx_255, atol=1e-5)
    assert (torch_1 - torch_255).mean() > 0.2
    measured = open_model(str(path), overrides={"range": "255"})
    assert "ONNX Runtime" in measured.engine
    np.testing.assert_array_equal(next(iter(measured([image]))), onnx_255)
