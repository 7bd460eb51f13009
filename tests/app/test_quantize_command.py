"""`sharpbit quantize` and `sharpbit export` as commands."""

import json

import pytest
from click.testing import CliRunner
from PIL import Image

from noise_images import put, put_photos, soft_noise
from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.modelfile import integer_chain as integer
from sharpbit.quant import lossless
from sharpbit.quant.lossless import quantize_chain
from sharpbit.runtime import native, open_engine


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    settings = lossless.LosslessSettings(steps=3, samples=2000)
    monkeypatch.setattr(
        "sharpbit.verbs.integer_methods.quantize_chain", lambda *given, **more: quantize_chain(*given, settings, **more)
    )


@pytest.fixture
def photos(tmp_path):
    return put_photos(tmp_path / "photos", 4, 200, 170)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    models.save(models.reparameterize(models.build("etds", scale=2, blocks=1, width=8)), path)
    return path


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("suffix", [".onnx", ".sharpbit", ".safetensors"])
def test_the_receipt_and_the_file(model, photos, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    test = tmp_path / "Test"
    test.mkdir()
    put(test / "a.png", soft_noise(9, 60, 48))
    done = call("quantize", model, "--calibrate", photos, "-o", out, "--data", test, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["psnr"] > 35
    assert told["bytes"][1] < told["bytes"][0] / 2
    assert abs(told["measured"]["Test"]["before"] - told["measured"]["Test"]["after"]) < 2
    again = models.load(out)
    assert again.arch.name == "integer"
    assert again.history[-1].method == "lossless"


def test_words(model, photos, tmp_path):
    done = call("quantize", model, "--calibrate", photos, "-o", tmp_path / "a.onnx")
    assert done.exit_code == 0, done.output
    assert "lossless, 8 bits" in done.stdout
    assert "against float" in done.stdout


def test_an_embedded_name(photos, tmp_path):
    done = call("quantize", "x2-clean-float", "--calibrate", photos, "-o", tmp_path / "a.sharpbit")
    assert done.exit_code == 0, done.output
    assert integer.read(tmp_path / "a.sharpbit")[1].name == "x2-clean-float"


@pytest.mark.skipif(not native.available(), reason=native.why_not())
def test_a_network_with_skips_becomes_an_integer_graph(photos, tmp_path):
    path, out = tmp_path / "edsr.safetensors", tmp_path / "fast.sharpbit"
    models.save(models.build("edsr", scale=2, blocks=2, width=12), path)
    done = call("quantize", path, "--calibrate", photos, "-o", out)
    assert done.exit_code == 0, done.output
    assert "graph, 8 bits" in done.output
    told = json.loads(call("inspect", out, "--json").stdout)
    assert (told["architecture"], told["precision"], told["scale"]) == ("integer_graph", "int8", 2)
    assert told["operators"]["convolution"] == 9  # two of them shift the colours
    assert open_engine(out).engine == "sharpbit native"
    facts = call("inspect", out).output
    assert " operators in integers, for the native engine" in facts and "convolution" in facts
    again = call("quantize", out, "--calibrate", photos, "-o", tmp_path / "b.sharpbit")
    assert again.exit_code == 1
    assert again.output.count("\n") == 1


def test_a_general_method_keeps_the_network(photos, tmp_path):
    """Any network takes it: here one with residual connections, which is no chain."""
    path, out = tmp_path / "edsr.safetensors", tmp_path / "out.safetensors"
    models.save(models.build("edsr", scale=2, blocks=1, width=4), path)
    refused = call("quantize", path, "--calibrate", photos, "-o", out)
    assert refused.exit_code == 2
    assert "or take --method tuned" in refused.output
    done = call("quantize", path, "--calibrate", photos, "-o", out, "--method", "minmax", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["psnr"] > 25
    again = models.load(out)
    assert again.arch.name == "edsr"
    assert [entry.verb for entry in again.history] == ["quantize", "calibrate", "freeze"]
    assert again.header().precision == "W8A8"


def test_export_of_integers_both_ways(model, photos, tmp_path):
    call("quantize", model, "--calibrate", photos, "-o", tmp_path / "a.onnx")
    assert call("export", tmp_path / "a.onnx", "--format", "native", "-o", tmp_path / "b.sharpbit").exit_code == 0
    done = call("export", tmp_path / "b.sharpbit", "-o", tmp_path / "c.onnx", "--json")
    assert json.loads(done.stdout)["precision"] == "int8"
    chains = [integer.read(tmp_path / name)[0].payload() for name in ("a.onnx", "b.sharpbit", "c.onnx")]
    assert chains[0] == chains[1] == chains[2]


def test_the_ending_of_the_file_is_the_format(model, photos, tmp_path):
    call("quantize", model, "--calibrate", photos, "-o", tmp_path / "a.sharpbit")
    done = call("export", tmp_path / "a.sharpbit", "-o", tmp_path / "b.tflite", "--json")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "b.tflite").read_bytes()[4:8] == b"TFL3"
    refused = call("export", tmp_path / "a.sharpbit", "-o", tmp_path / "c.tflite", "--format", "onnx")
    assert refused.exit_code == 2
    assert "saved as .onnx, not 'c.tflite'" in refused.output
    assert "saved as .onnx, not 'c.bin'" in call("export", tmp_path / "a.sharpbit", "-o", tmp_path / "c.bin").output


def broken(folder):
    (folder / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")


def flat(folder):
    for path in folder.iterdir():
        Image.new("RGB", (200, 200), (90, 90, 90)).save(path)


def small(folder):
    for path in folder.iterdir():
        put(path, soft_noise(0, 50, 50))


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [(broken, "0.png"), (flat, "flat"), (small, "64 pixels"), (empty, "holds no images"), (None, "no folder")],
)
def test_images_that_cannot_be_used(model, photos, tmp_path, change, sentence):
    if change:
        change(photos)
    out = tmp_path / "a.onnx"
    done = call("quantize", model, "--calibrate", photos if change else tmp_path / "none", "-o", out)
    assert done.exit_code in (1, 2)
    assert sentence in done.output
    assert done.output.count("\n") == 1
    assert not out.exists()


def test_models_and_outputs_that_cannot_be(model, photos, tmp_path):
    (tmp_path / "there.onnx").write_text("mine")
    assert "exists" in call("quantize", model, "--calibrate", photos, "-o", tmp_path / "there.onnx").output
    assert ".sharpbit" in call("quantize", model, "--calibrate", photos, "-o", tmp_path / "a.gif").output
    assert (
        "8 bits, not 4" in call("quantize", model, "--calibrate", photos, "-o", tmp_path / "a.onnx", "--bits", 4).output
    )
    models.save(models.build("espcn", scale=2), tmp_path / "espcn.safetensors")
    done = call("quantize", tmp_path / "espcn.safetensors", "--calibrate", photos, "-o", tmp_path / "a.onnx")
    assert "becomes an integer graph, which runs on the native engine alone; write it as .sharpbit" in done.output
    given = ["--calibrate", photos, "-o", tmp_path / "a.sharpbit", "--method", "tuned"]
    done = call("quantize", tmp_path / "espcn.safetensors", *given)
    assert (
        "tuned makes no integers for the native engine, whose files end in .sharpbit; write it as a.onnx" in done.output
    )
    assert (
        "sharpbit quantize makes one"
        in call("export", model, "--format", "native", "-o", tmp_path / "a.sharpbit").output
    )
    damaged = models.load(model)
    damaged.net.layers[0].bias.data.fill_(float("nan"))
    models.save(damaged, tmp_path / "nan.safetensors")
    done = call("quantize", tmp_path / "nan.safetensors", "--calibrate", photos, "-o", tmp_path / "a.onnx")
    assert done.exit_code == 1
    assert "not numbers" in done.output, done.output
