"""`--denoise`: two networks of one shape mixed into one, as it is known of general-x4v3 and its twin."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from noise_images import put_photos
from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.errors import UsageError
from sharpbit.modelfile import ModelFile


def put(path, seed, **sizes):
    torch.manual_seed(seed)
    sizes = {"blocks": 2, "width": 8, **sizes}
    model = models.build("compact", scale=2, **sizes)
    torch.save({"params": model.net.state_dict()}, path)
    return model.net.state_dict()


def test_weights_lie_between(tmp_path):
    ours, twin = put(tmp_path / "net-x2.pth", 1), put(tmp_path / "net-wdn-x2.pth", 2)
    for share in (0, 0.25, 1):
        found = models.load(tmp_path / "net-x2.pth", denoise=share)
        for name, value in found.net.state_dict().items():
            assert torch.allclose(value, share * ours[name] + (1 - share) * twin[name]), name
    assert found.history[-1].table() == {"verb": "mix", "twin": "net-wdn-x2.pth", "denoise": 1}


def test_the_twin_beside_it_is_found(tmp_path):
    put(tmp_path / "Real_General_x4_v3.pth", 1)
    with pytest.raises(UsageError, match=r"beside it lies no file .* --twin FILE"):
        models.load(tmp_path / "Real_General_x4_v3.pth", denoise=0.5)
    put(tmp_path / "Real_General_WDN_x4_v3.pth", 2)
    put(tmp_path / "Real_Anime_WDN_x4_v3.pth", 3)
    assert (
        models.load(tmp_path / "Real_General_x4_v3.pth", denoise=0.5).history[-1].twin == "Real_General_WDN_x4_v3.pth"
    )
    put(tmp_path / "real-general-wdn-x4-v3.pth", 2)
    with pytest.raises(UsageError, match="more than one file"):
        models.load(tmp_path / "Real_General_x4_v3.pth", denoise=0.5)


@pytest.mark.parametrize("other", [{"blocks": 3}, {"width": 9}, {"act": "relu"}])
def test_other_shapes_are_refused(tmp_path, other):
    put(tmp_path / "a.pth", 1)
    put(tmp_path / "b.pth", 2, **other)
    with pytest.raises(UsageError, match=r"one shape can be mixed: a.pth is compact .*b.pth is compact"):
        models.load(tmp_path / "a.pth", denoise=0.5, twin=tmp_path / "b.pth")


def test_what_cannot_be(tmp_path):
    put(tmp_path / "a.pth", 1)
    put(tmp_path / "b.pth", 2)
    with pytest.raises(UsageError, match=r"from 0 to 1, not 1\.5"):
        models.load(tmp_path / "a.pth", denoise=1.5, twin=tmp_path / "b.pth")
    with pytest.raises(UsageError, match="say with --denoise"):
        models.load(tmp_path / "a.pth", twin=tmp_path / "b.pth")


def test_the_commands(tmp_path):
    put(tmp_path / "net-x2.pth", 1)
    put(tmp_path / "other.pth", 2)
    source, out = str(tmp_path / "net-x2.pth"), tmp_path / "half.safetensors"
    given = ["--denoise", "0.5", "--twin", str(tmp_path / "other.pth")]

    def run(*arguments):
        return CliRunner().invoke(app, [str(one) for one in arguments])

    export = run("export", source, "--format", "onnx", "-o", tmp_path / "half.onnx", *given)
    assert export.exit_code == 0, export.output
    written = ModelFile.of(tmp_path / "half.onnx").verified.history
    assert [entry["verb"] for entry in written] == ["mix", "receipt"]
    photos = put_photos(tmp_path / "photos", 3, 140, 130)
    quantized = run("quantize", source, "--calibrate", photos, "--method", "sloped", "-o", out, *given)
    assert quantized.exit_code == 0, quantized.output
    history = [entry.table() for entry in models.load(out).history]
    assert [entry["verb"] for entry in history] == ["mix", "quantize"]
    refused = run(
        "quantize", out, "--calibrate", photos, "-o", tmp_path / "a.sharpbit", "--denoise", "0.5", "--twin", out
    )
    assert (refused.exit_code, "in integers" in refused.output) == (2, True), refused.output
    assert run("export", source, "--format", "onnx", "--denoise", "nan").exit_code == 2


def test_upscale_mixes_when_it_opens_the_weights(tmp_path):
    put(tmp_path / "net-x2.pth", 1)
    put(tmp_path / "net-wdn-x2.pth", 2)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 22, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    given = [
        "upscale",
        tmp_path / "a.png",
        "-n",
        tmp_path / "net-x2.pth",
        "-o",
        tmp_path / "b.png",
        "--denoise",
        "0.25",
    ]
    done = CliRunner().invoke(app, [str(one) for one in given])
    assert done.exit_code == 0, done.output
    with torch.no_grad():
        net = models.load(tmp_path / "net-x2.pth", denoise=0.25).net
        wanted = net(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0).clamp(0, 1) * 255
    inside = slice(10, -10)  # images are mirrored around their edges
    found = np.array(Image.open(tmp_path / "b.png"))[inside, inside]
    assert np.abs(found - wanted.numpy()[inside, inside]).max() < 0.51


def test_upscale_mixes_no_file_for_engines(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    done = CliRunner().invoke(app, ["upscale", str(tmp_path / "a.png"), "--denoise", "0.5"])
    assert done.exit_code == 2
    assert "none of these; 'sharpbit export WEIGHTS --denoise SHARE'" in done.output
