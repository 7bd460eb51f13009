"""Integer models in files: ONNX QDQ in an engine, the native format, and back."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from sharpbit import model as models
from sharpbit import modelfile
from sharpbit.arch.integer import chain_of
from sharpbit.errors import ModelError, OutputExists, UsageError
from sharpbit.export import EXPORTS, SUFFIXES
from sharpbit.modelfile import integer_chain as integer


def integers(scale=3):
    torch.manual_seed(scale)
    model = models.build("integer", scale=scale, hidden=(16, 16))
    with torch.no_grad():
        for number, layer in enumerate(model.net.layers):
            layer.weight.add_(torch.randint(-20, 21, layer.weight.shape, dtype=torch.int8))
            layer.bias.copy_(torch.randint(-900, 2000, layer.bias.shape))
            layer.multiplier.copy_(0.01 + 0.01 * torch.rand(layer.multiplier.shape) + (number == 0) * 0.02)
    return model


@pytest.fixture(params=["native", "onnx"])  # the formats that are read back
def written(request, tmp_path):
    model = integers()
    path = tmp_path / f"model{SUFFIXES[request.param]}"
    return model, path, EXPORTS[request.param](model, path)


def test_files_hold_the_chain(written):
    model, path, header = written
    chain, again = integer.read(path)
    assert chain.payload() == chain_of(model.net).payload()
    assert again == header == modelfile.read(path, verify=True)
    assert (header.range, header.architecture) == ((0.0, 255.0), "integer")
    back = models.load(path)
    assert chain_of(back.net).payload() == chain.payload()
    assert back.config == model.config


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_onnx_runtime_gives_the_same_image(scale, tmp_path):
    model = integers(scale)
    EXPORTS["onnx"](model, tmp_path / "model.onnx")
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    chain = chain_of(model.net)
    for height, width in ((1, 1), (5, 1), (48, 37)):
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        (out,) = session.run(None, {"picture": image[None]})
        apart = np.abs(out[0].astype(int) - chain.run(image))
        assert out.dtype == np.uint8
        assert (apart <= 1).mean() >= 0.999
    assert chain.run(image).std() > 20


def test_engines_find_integers_in_the_graph(tmp_path):
    """Every convolution reads dequantized bytes, so that an engine may run it in integers."""
    EXPORTS["onnx"](integers(), tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    made = {name: node.op_type for node in proto.graph.node for name in node.output}
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 3
    assert all(made[name] == "DequantizeLinear" for node in convolutions for name in node.input)


def test_a_flipped_bit_is_noticed(written):
    _, path, _ = written
    data = bytearray(path.read_bytes())
    data[-5] ^= 4
    path.write_bytes(data)
    with pytest.raises(ModelError):
        integer.read(path)


def test_wrong_files_and_names(tmp_path):
    plain = models.build("plain", scale=2, blocks=1, width=8)
    EXPORTS["onnx"](plain, tmp_path / "float.onnx")
    with pytest.raises(ModelError, match="float32, not an integer chain"):
        integer.read(tmp_path / "float.onnx")
    models.save(integers(), tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="sharpbit export"):
        integer.read(tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="sharpbit quantize makes one"):
        EXPORTS["native"](plain, tmp_path / "a.sharpbit")
    with pytest.raises(UsageError, match=r"\.sharpbit"):
        EXPORTS["native"](integers(), tmp_path / "a.onnx")
    EXPORTS["native"](integers(), tmp_path / "a.sharpbit")
    with pytest.raises(OutputExists):
        EXPORTS["native"](integers(), tmp_path / "a.sharpbit")


def test_float_onnx_files_of_ours_are_read_back(tmp_path):
    model = models.reparameterize(models.build("etds", scale=2, blocks=1, width=8))
    EXPORTS["onnx"](model, tmp_path / "a.onnx")
    again = models.load(tmp_path / "a.onnx")
    x = torch.rand(1, 3, 9, 8)
    assert torch.equal(again.net(x), model.net(x))


def test_hostile_files_give_a_sentence_or_a_valid_chain(written, monkeypatch):
    """Bits flipped, cut, doubled; with the checksums taken out of the way, so that what follows it is tried too."""
    _, path, header = written
    whole = path.read_bytes()
    monkeypatch.setattr("sharpbit.modelfile.file.digest", lambda payload: header.sha256)
    monkeypatch.setattr("sharpbit.modelfile.header._matches", lambda text, seal: True)
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(1500):
        data = bytearray(whole)
        start = rng.integers(len(data))
        match rng.integers(4):
            case 0:
                for place in rng.integers(0, len(data), rng.integers(1, 5)):
                    data[place] = rng.integers(256)
            case 1:
                del data[start:]
            case 2:
                del data[start : start + rng.integers(1, 40)]
            case 3:
                data[start:start] = data[start : start + rng.integers(1, 40)]
        path.write_bytes(data)
        try:
            chain, _ = integer.read(path)
        except ModelError:
            continue
        read += 1
        if read % 50 == 1:
            assert chain.run(np.zeros((2, 3, 3), np.uint8)).shape == (2 * chain.scale, 3 * chain.scale, 3)
    assert read > 0
