"""`sharpbit quantize` with the methods for any network."""

import json
import re

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import integer_files
from noise_images import put, put_photos, soft_noise
from sharpbit import model as models
from sharpbit import zoo
from sharpbit.app.cli import app
from sharpbit.runtime.onnx import in_integers
from sharpbit.verbs.gain import Gain, gain


@pytest.fixture
def photos(tmp_path):
    return put_photos(tmp_path / "photos", 3, 180, 180)


@pytest.fixture
def tests(tmp_path):
    folder = tmp_path / "Test"
    put(folder / "a.png", soft_noise(9, 60, 60))
    return folder


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "imdn.safetensors"
    models.save(models.build("imdn", scale=2, blocks=1, width=8), path)
    return path


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_tuned_network_with_its_receipt_and_report(model, photos, tests, tmp_path):
    out, page = tmp_path / "a.safetensors", tmp_path / "a.md"
    given = ["--bits", 4, "--method", "tuned", "--refine", 2, "--keep", "model.1.sub.0.conv4", "--blame"]
    done = call(
        "quantize", model, "--calibrate", photos, "-o", out, *given, "--data", tests, "--report", page, "--json"
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["bits"], told["refined"], told["kept"]) == (4, 2, ["model.1.sub.0.conv4"])
    names = [name for name, _ in told["sensitivity"]]
    assert told["blame"] == told["sensitivity"], "the old key stays"
    assert "model.2" in names
    assert "model.1.sub.0.conv4" not in names
    assert all(lo <= hi for _, _, _, lo, hi in told["ranges"])
    text = page.read_text()
    assert text.count("<rect x=") == 2 * len(told["ranges"]), "besides the white background"
    assert "`model.2`" in text
    again = models.load(out)
    assert [entry.verb for entry in again.history] == [
        "quantize", "equalize", "calibrate", "compensate", "refine", "reconstruct_last_layer", "freeze",
    ]  # fmt: skip


def test_the_gate_names_the_worst_layers(model, photos, tests, tmp_path):
    out = tmp_path / "a.onnx"
    given = ["--method", "minmax", "--bits", 2, "--data", tests, "--max-drop", "-100"]
    done = call("quantize", model, "--calibrate", photos, "-o", out, *given)
    assert done.exit_code == 1
    assert "--keep" in done.output
    assert "model." in done.output
    assert not out.exists()
    given = ["--method", "minmax", "--bits", 8, "--data", tests, "--max-drop", "100"]
    done = call("quantize", model, "--calibrate", photos, "-o", out, *given)
    assert done.exit_code == 0, done.output
    assert "sensitivity of layers" in done.output
    assert "say which with --data" in call(
        "quantize", model, "--calibrate", photos, "-o", tmp_path / "b.onnx", "--max-drop", "1"
    ).output  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--max-drop", "nan"], "'nan' is not a number"),
        (["-o", "/proc/a.onnx"], "/proc/a.onnx: No such file"),
        (["--report", "/proc/a.html"], "/proc/a.html: No such file"),
    ],
)
def test_what_would_fail_in_the_end_fails_at_once(tmp_path, given, words):
    done = call("quantize", "missing.pth", "--calibrate", "none", "-o", tmp_path / "a.onnx", "--data", "none", *given)
    assert done.exit_code in (1, 2)
    assert words in done.output


def test_what_cannot_be(model, photos, tmp_path):
    def fails(*given, source=model):
        done = call("quantize", source, "--calibrate", photos, "-o", tmp_path / "a.onnx", *given)
        assert done.exit_code in (1, 2)
        assert done.output.count("\n") == 1
        return done.output

    assert "matched no" in fails("--method", "adc", "--keep", "nothing.*")
    assert "no method" in fails("--method", "magic")
    assert "leave --refine" in fails("--refine", "3")
    damaged = models.load(model)
    damaged.net.model[0].bias.data.fill_(float("nan"))
    models.save(damaged, tmp_path / "nan.safetensors")
    assert "not numbers" in fails("--method", "tuned", source=tmp_path / "nan.safetensors")
    for path in photos.iterdir():
        Image.new("RGB", (200, 200), (90, 90, 90)).save(path)
    assert "flat" in fails("--method", "adc")


def test_how_many_layers_run_in_integers_is_printed(model, photos, tmp_path):
    """ONNX Runtime decides; what it makes of the file is read back."""
    done = call("quantize", model, "--calibrate", photos, "-o", tmp_path / "a.onnx", "--method", "minmax")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("engine")]
    found = re.search(r"(none|\d+) of the (\d+) layers of a\.onnx runs? in integers", line)
    assert found, line
    assert ("WARNING" in line) == (found[1] == "none")
    assert int(found[2]) >= 8


def test_no_layer_in_integers_is_a_loud_warning():
    assert in_integers("a.onnx", 3, 8) == "3 of the 8 layers of a.onnx run in integers in ONNX Runtime"
    assert in_integers("a.onnx", 0, 8).startswith("WARNING: none of the 8 layers")


def test_what_it_gains_on_this_machine_is_measured(tmp_path):
    """The file before and the one after, each on the engine that runs it; None where one of them does not."""
    network = integer_files.chain()
    after = integer_files.write(network, tmp_path / "after.onnx")
    found = gain(zoo.path_of("x2-clean-float"), after)
    assert found.before.startswith("float32 in ONNX Runtime")
    assert found.after.startswith("int8 in")
    assert found.before_ms > 0 < found.after_ms
    assert "of processor time for 128x128 pixels, 1 thread" in found.words
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    assert gain(tmp_path / "broken.onnx", after) is None


def test_what_is_slower_than_float_is_said():
    assert "slower" not in Gain("float32 in A", "int8 in B", 10.0, 10.5).words
    words = Gain("float32 in A", "int8 in sharpbit native", 10.0, 20.0).words
    assert words.startswith("0.5 times that of float32 in A")
    assert words.endswith(
        "; it is slower on this machine, so keep the float file here, or quantize with a lower --gate"
    )
    assert Gain("float32 in A", "W8A8 in B", 10.0, 20.0).words.endswith("so keep the float file here")


def test_how_much_faster_it_is_is_printed(monkeypatch, model, photos, tmp_path):
    monkeypatch.setattr("sharpbit.app.quantize.gain", lambda *given: Gain("float32 in A", "int8 in B", 30.0, 10.0))
    out = tmp_path / "a.onnx"
    given = ("quantize", model, "--calibrate", photos, "--method", "minmax", "-o", out, "--overwrite")
    assert "3.0 times that of float32 in A: 30.0 ms -> 10.0 ms" in call(*given).output
    assert json.loads(call(*given, "--json").stdout)["gain"]["after_ms"] == 10.0
