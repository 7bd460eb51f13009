"""ESPCN, FSRCNN, Plain and the bicubic baseline against the authors' own code."""

import pytest
import torch

from sharpbit import model as models


def test_espcn(golden):
    case = golden("espcn_x3")
    case.check(case.model("espcn").net(case["input/lr"]), "output/sr")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_fsrcnn(golden, scale):
    case = golden(f"fsrcnn_x{scale}")
    model = case.model("fsrcnn", scale=scale)
    case.check(model.net(case["input/lr"]), "output/sr")
    with torch.no_grad():
        apart = models.reparameterize(model).net(case["input/lr"]) - case["output/sr"].clamp(0, 1)
    assert float(apart.abs().max()) < 1e-5


def test_plain(golden):
    case = golden("plain_x3")
    model = case.model("plain", scale=3, blocks=2, width=9, clip="none")
    case.check(model.net(case["input/lr"]), "output/sr")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic(golden, scale):
    case = golden("resize_framework_bicubic")
    result = models.build("bicubic", scale=scale).net(case[f"input/x{scale}"])
    torch.testing.assert_close(result, case[f"output/x{scale}"], rtol=0, **case.tolerance)


def test_bicubic_is_a_file_without_weights(tmp_path):
    model = models.build("bicubic", scale=3)
    header = models.save(model, tmp_path / "bicubic.safetensors")
    assert (header.parameters, header.receptive_field) == (0, 5)
    assert models.load(tmp_path / "bicubic.safetensors").config == model.config
