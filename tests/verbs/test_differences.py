"""How far two networks are apart, all images together and in the worst of them."""

import json

import pytest
import torch
from torch import nn

from sharpbit.app import dump
from sharpbit.report.receipt import facts
from sharpbit.verbs.receipt import QuantizationReceipt, differences


class Darker(nn.Module):
    """Takes 51 grey levels off what is white."""

    def forward(self, x):
        return torch.where(x == 1, x - 0.2, x)


def images(*white):
    """Grey images, each with so many white rows of 8."""
    made = torch.full((len(white), 3, 8, 8), 100, dtype=torch.uint8)
    for image, rows in zip(made, white, strict=True):
        image[:, :rows] = 255
    return made


def test_the_worst_image_is_named():
    found = differences(nn.Identity(), Darker(), images(0, 8, 4, 0))
    assert found.least == pytest.approx(13.979, abs=1e-3)  # a fifth of white
    assert found.psnr == pytest.approx(13.979 + 4.260, abs=1e-3)  # of 12 in 32 rows
    assert (found.differing, found.largest) == (12 / 32, 51)
    assert differences(nn.Identity(), nn.Identity(), images(0, 1)).least == float("inf")


def receipt(**given):
    plain = {"method": "graph", "bits": 8, "refined": 0, "kept": (), "crops": 30, "images": 10, "held_out": 8}
    plain |= {"seconds": 1.0, "bytes": (100, 30), "psnr": 46.0, "differing": 0.5, "largest": 9}
    return facts(QuantizationReceipt(**(plain | given)), {})


def test_a_receipt_says_the_worst():
    assert receipt(least=41.5)["against float"].startswith("46.00 dB (41.50 on the worst) on 8 other crops;")
    assert "warning" not in receipt(least=41.5)
    assert receipt(psnr=44.0, least=41.5)["warning"].startswith("below 45 dB from float")
    assert receipt(least=27.0)["warning"].startswith(
        "one image is only 27.00 dB from float, where a texture may be lost"
    )


def test_a_receipt_says_what_textures_lost():
    assert (
        receipt(least=41.5, texture=37.4)["soft textures"] == "37.40 dB from float on the worst of some that were drawn"
    )
    assert "warning" not in receipt(least=41.5, texture=37.4)
    assert receipt(least=41.5, texture=26.6)["warning"].startswith("one image is only 26.60 dB from float")
    assert "soft textures" not in receipt(least=41.5)


def test_json_has_no_infinite_numbers():
    """Two networks with the same results are infinitely many dB near."""
    assert json.loads(dump({"psnr": float("inf"), "parts": [1.5, float("nan")]})) == {
        "psnr": None,
        "parts": [1.5, None],
    }
