"""Networks in two passes, and quantized ONNX files, in verbs that do not take them: refusals name ways that exist."""

import pytest
import torch
from click.testing import CliRunner

from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.export import EXPORTS
from sharpbit.quant import recorded
from sharpbit.quant.qat.placement import placement
from sharpbit.quant.refqsr import begin, published
from sharpbit.verbs.qat import for_engines


def ran(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture(scope="module")
def two_passes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    torch.manual_seed(5)
    plain = models.build("carn", scale=2, width=8)
    shown = [torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(1))]
    plan = placement("carn", 8, 8, width=8)
    base = recorded.calibrate(recorded.insert_quantizers(plain, plan, "pams"), shown)
    made = recorded.refqsr(plain, published("carn", plain.config, "pams", 8, 4))
    begin(made.net, base.net.state_dict(), shown)
    models.save(made, folder / "two.safetensors")
    EXPORTS["onnx"](made, folder / "two.onnx")
    EXPORTS["onnx"](for_engines(base), folder / "pams.onnx")
    return folder


def test_two_passes_are_not_frozen_by_themselves(two_passes, tmp_path):
    code, said = ran("freeze", two_passes / "two.safetensors", "-o", tmp_path / "frozen.safetensors")
    assert code == 2
    assert "in two passes, each of which is frozen when it is exported; 'sharpbit export' writes it" in said
    assert not (tmp_path / "frozen.safetensors").exists()


@pytest.mark.parametrize("target", ["c", "web", "onnx", "docker"])
def test_no_folder_is_promised_that_cannot_be_made(two_passes, tmp_path, target):
    code, said = ran("deploy", two_passes / "two.onnx", "--to", target, "-o", tmp_path / "folder")
    assert (code, "several graphs, which sharpbit itself cuts patches for" in said) == (2, True)
    assert "compress" not in said
    code, said = ran("deploy", two_passes / "two.safetensors", "--to", target, "-o", tmp_path / "folder")
    assert code == 2
    if target in ("onnx", "docker"):
        assert "holds weights, and ONNX Runtime takes .onnx; 'sharpbit export two.safetensors -o two.onnx'" in said
    else:
        assert "--to onnx" not in said
        code, said = ran("deploy", two_passes / "pams.onnx", "--to", target, "-o", tmp_path / "folder")
        assert code == 2
        assert "quantized for ONNX Runtime (W8A8)" in said
    assert not (tmp_path / "folder").exists()


def test_what_exporting_folded_is_not_read_back(two_passes, tmp_path):
    code, said = ran("export", two_passes / "pams.onnx", "--format", "tflite", "-o", tmp_path / "no.tflite")
    assert code == 1
    assert "take the file that it was exported from (.safetensors or .pth)" in said
    assert "--arch" not in said  # which a file with a header does not take
