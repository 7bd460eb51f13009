"""TensorFlow Lite files: opened and run by LiteRT, in float and in integers."""

import json
import struct

import numpy as np
import pytest
import torch

import sharpbit
from sharpbit import model as models
from sharpbit.arch.integer import Integer
from sharpbit.data.calibration import Cut
from sharpbit.errors import MissingExtra, UsageError
from sharpbit.quant.history import QuantizeLossless
from sharpbit.verbs.integer_methods import integer_model

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="the extra tflite is not installed")
SIZES = [(1, 1), (13, 8), (24, 31)]


def absent(name):
    raise ModuleNotFoundError(name, name=name)


def run(path, image, **how):
    """What LiteRT makes of `(H, W, 3)`."""
    interpreter = litert.Interpreter(model_path=str(path), num_threads=1, **how)
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], [1, *image.shape])
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], image[None])
    interpreter.invoke()
    return interpreter.get_tensor(result["index"])[0]


def float_result(net, image):
    with torch.no_grad():
        y = net(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])
    return y[0].permute(1, 2, 0).numpy()


def chain(scale, hidden=(8, 5)):
    """An integer chain of random bytes, whose results are spread over all levels."""
    rng = np.random.default_rng(scale)
    torch.manual_seed(scale)
    net = Integer(models.ARCHITECTURES["integer"].config(scale, hidden))
    for layer in net.layers:
        layer.weight.copy_(torch.from_numpy(rng.integers(-127, 128, tuple(layer.weight.shape))))
        layer.bias.copy_(torch.from_numpy(rng.integers(-3000, 90000, len(layer.bias))))
        layer.multiplier.copy_(torch.from_numpy(rng.uniform(0.0005, 0.003, len(layer.multiplier))))
    net.layers[0].multiplier[2] = 0.0
    return integer_model(models.build("plain", scale=scale), net, QuantizeLossless("plain"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    "config",
    [
        {"act": "relu", "clip": "relu"},
        {"act": "prelu", "clip": "clamp", "skip": True},
        {"act": "prelu", "clip": "relu"},
    ],
    ids=["et", "skip", "prelu"],
)
def test_float_chains(tmp_path, config, scale, size):
    torch.manual_seed(scale)
    model = models.build("plain", scale=scale, blocks=2, width=7, **config)
    sharpbit.export(model, tmp_path / "model.tflite")
    image = np.random.default_rng(1).random((*size, 3), np.float32)
    ours, theirs = float_result(model.net, image), run(tmp_path / "model.tflite", image)
    assert ours.shape == theirs.shape == (size[0] * scale, size[1] * scale, 3)
    assert np.abs(ours - theirs).max() < 1e-5
    assert ours.std() > 0.01


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_integer_chains_are_within_one_level(tmp_path, scale, size):
    model = chain(scale)
    header = sharpbit.export(model, tmp_path / "model.tflite")
    assert header.range == (-128.0, 127.0)
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    ours = np.round(float_result(model.net, image.astype(np.float32) / 255) * 255).astype(int)
    theirs = run(tmp_path / "model.tflite", (image.astype(int) - 128).astype(np.int8)).astype(int) + 128
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1
    assert size == (1, 1) or np.unique(ours).size > 50


def test_the_reference_kernels_agree_too(tmp_path):
    model = chain(3)
    sharpbit.export(model, tmp_path / "model.tflite")
    image = np.random.default_rng(2).integers(0, 256, (20, 30, 3), np.uint8)
    plain = {"experimental_op_resolver_type": litert.OpResolverType.BUILTIN_REF}
    given = (image.astype(int) - 128).astype(np.int8)
    ours, theirs = (run(tmp_path / "model.tflite", given, **how).astype(int) for how in ({}, plain))
    assert np.abs(ours - theirs).max() <= 1


def test_a_released_network_in_eight_bits(shared, tmp_path):
    model = models.load(shared / "weights" / "etds" / "ETDS" / "ETDS_M5C16_x3.pth")
    photos = [np.random.default_rng(k).integers(0, 256, (192, 192, 3), np.uint8) for k in range(2)]
    small = sharpbit.quantize(model, photos, cut=Cut(16, 24))
    for name, one in (("float", model), ("int8", small)):
        sharpbit.export(one, tmp_path / f"{name}.tflite")
    image = np.kron(np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
    ours = np.round(float_result(small.net, image.astype(np.float32) / 255) * 255).astype(int)
    theirs = run(tmp_path / "int8.tflite", (image.astype(int) - 128).astype(np.int8)).astype(int) + 128
    assert np.abs(ours - theirs).max() <= 1
    whole = run(tmp_path / "float.tflite", image.astype(np.float32) / 255)
    assert np.abs(whole - float_result(model.net, image.astype(np.float32) / 255)).max() < 1e-5
    assert (tmp_path / "int8.tflite").stat().st_size < 0.5 * (tmp_path / "float.tflite").stat().st_size


def test_constants_are_aligned_and_the_header_is_inside(tmp_path):
    header = sharpbit.export(chain(2), tmp_path / "model.tflite")
    data = (tmp_path / "model.tflite").read_bytes()
    assert data[4:8] == b"TFL3"
    weight = chain(2).net.layers[1].weight.permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    at = data.index(weight)
    assert at % 16 == 0
    assert struct.unpack("<I", data[at - 4 : at])[0] == len(weight)
    text = data[data.index(b'{"') :].split(b"\0")[0].decode()
    assert json.loads(text[: text.rindex("}") + 1])["sha256"] == header.sha256


def test_what_is_not_written(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="reparameterize"):
        sharpbit.export(models.build("etds", scale=2, blocks=1, width=8), tmp_path / "model.tflite")
    sloped = Integer(models.ARCHITECTURES["integer"].config(2, (4,), ("slopes",)))
    with pytest.raises(UsageError, match="slopes"):
        sharpbit.export(
            integer_model(models.build("plain", scale=2), sloped, QuantizeLossless("plain")), tmp_path / "m.tflite"
        )
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert", None)
    with pytest.raises(MissingExtra, match="tflite"):
        sharpbit.export(chain(2), tmp_path / "model.tflite")
