"""Exported networks whose patches choose their bits (CADyQ, CABM): inspected, and with images of one pixel a side."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import sharpbit
from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.export import EXPORTS
from sharpbit.quant.context import edge_score, edge_scores
from sharpbit.quant.method import cadyq
from sharpbit.quant.qat.placement import placement
from sharpbit.runtime import open_engine
from sharpbit.verbs.qat import fake_quantize, for_engines, tabulate


def ran(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """CADyQ and CABM of the same small network, as weights and for engines."""
    folder = tmp_path_factory.mktemp("chosen")
    torch.manual_seed(5)
    plain = models.build("srresnet", scale=2, blocks=1, width=8)
    shown = [torch.rand(4, 3, 16, 16) * scale for scale in (0.2, 0.5, 1)]
    plan = placement("srresnet", (4, 6, 8), 8, width=8)
    model = fake_quantize(plain, plan, "cadyq", shown)
    for part in model.net.modules():
        if isinstance(part, cadyq.BitSelector):
            torch.nn.init.normal_(part.linear.weight)
    table = tabulate(fake_quantize(plain, plan, "cabm", (), source=model), model, shown)
    for name, one in (("cadyq", model), ("cabm", table)):
        models.save(one, folder / f"{name}.safetensors")
        EXPORTS["onnx"](for_engines(one), folder / f"{name}.onnx")
    return folder


@pytest.mark.parametrize("name", ["cadyq", "cabm"])
def test_an_exported_choice_of_bits_is_inspected(chosen, name):
    weights, file = (sharpbit.inspect(chosen / f"{name}{ending}") for ending in (".safetensors", ".onnx"))
    assert weights.adaptive
    assert file.adaptive
    assert (file.fqr, file.published_bitops) == (weights.fqr, weights.published_bitops)
    code, said = ran("inspect", chosen / f"{name}.onnx")
    assert (code, "at most 8.00 bits" in said) == (0, True)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (7, 30)])
def test_a_table_of_bits_takes_images_of_one_pixel_a_side(chosen, size):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8)
    x = image.astype(np.float32) / np.float32(255)
    batch = torch.from_numpy(x).permute(2, 0, 1)[None]
    assert edge_scores(batch, torch.tensor(False)).tolist() == [edge_score(image)]
    net = for_engines(models.load(chosen / "cabm.safetensors")).net.eval()
    with torch.no_grad():
        expected = net(batch)[0].permute(1, 2, 0).numpy()
    found = next(iter(open_engine(chosen / "cabm.onnx", "onnx")([x])))
    assert np.abs(found - expected).max() < 1e-3 * max(1.0, float(np.ptp(expected)))


def test_a_thin_image_is_upscaled(chosen, tmp_path):
    Image.fromarray(np.full((1, 40, 3), 90, np.uint8)).save(tmp_path / "thin.png")
    code, said = ran("upscale", tmp_path / "thin.png", "-n", chosen / "cabm.onnx", "-o", tmp_path / "large.png")
    assert "could not run" not in said, (code, said)
