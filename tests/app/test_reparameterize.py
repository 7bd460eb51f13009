"""The command `sharpbit reparameterize`."""

import json

import numpy as np
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner

from sharpbit import model as models
from sharpbit import modelfile
from sharpbit.app.cli import app
from sharpbit.reparam import receipt as receipts


@pytest.fixture
def source(tmp_path):
    model = models.build("ecbsr", scale=2, blocks=1, width=8)
    models.save(model, tmp_path / "in.safetensors")
    return model, str(tmp_path / "in.safetensors")


def run(*arguments):
    return CliRunner().invoke(app, ["reparameterize", *map(str, arguments)])


@pytest.mark.parametrize("form", ["plain", "et"])
def test_the_receipt(source, tmp_path, form):
    model, path = source
    out = tmp_path / "out.safetensors"
    result = run(path, out, "--form", form, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    after = models.load(out)
    assert told["layers"] == [3 * 9, {"plain": 3, "et": 4}[form]]
    assert told["parameters"] == [model.parameters, after.parameters]
    assert 0 <= told["border"] <= told["difference"] < 1e-5
    assert told["double"] < 1e-6
    assert [1, 1] in told["sizes"]
    assert after.history[-1].table() == {"verb": "reparameterize", "from": "ecbsr", "form": form}
    assert modelfile.read(out, verify=True) is not None
    text = run(path, out, "--form", form, "--overwrite").stdout
    assert f"{model.parameters:,} -> {after.parameters:,}" in text


def test_onnx(source, tmp_path):
    model, path = source
    assert run(path, tmp_path / "out.onnx").exit_code == 0
    x = torch.rand(1, 3, 11, 6)
    session = ort.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = model.net(x).clamp(0, 1).numpy()
    assert np.abs(session.run(None, {"picture": x.numpy()})[0] - expected).max() < 1e-5


def test_what_goes_wrong_is_one_sentence(source, tmp_path, monkeypatch):
    _, path = source
    (tmp_path / "mine.safetensors").write_text("mine")
    models.save(models.build("espcn", scale=2), tmp_path / "espcn.safetensors")
    cases = [
        ((path, tmp_path / "mine.safetensors"), "exists"),
        ((path, tmp_path / "out.gif"), ".safetensors or .onnx"),
        ((tmp_path / "espcn.safetensors", tmp_path / "out.onnx"), "tanh in the forward of ESPCN is not known"),
        ((tmp_path / "none.pth", tmp_path / "out.onnx"), "none.pth"),
    ]
    for arguments, message in cases:
        result = run(*arguments)
        assert result.exit_code in (1, 2)
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    monkeypatch.setattr(receipts, "LIMIT", -1.0)
    result = run(path, tmp_path / "out.onnx")
    assert result.exit_code == 1
    assert "the plain form differs by" in result.stderr
    assert (tmp_path / "mine.safetensors").read_text() == "mine"
    assert not (tmp_path / "out.onnx").exists()


def test_embedded_models_go_by_their_names(tmp_path):
    assert "there is no model 'x2-cleen-float'" in run("x2-cleen-float", tmp_path / "a.onnx").output
    assert "/proc/a.onnx: No such file" in run("x2-clean-float", "/proc/a.onnx").output
    assert run("x2-clean-float", tmp_path / "a.onnx").exit_code == 0
