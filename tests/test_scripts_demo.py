"""The images of the documentation come out of the scripts that are said to make them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loaded_script import script

ROOT = Path(__file__).resolve().parents[1]


def committed() -> np.ndarray:
    with Image.open(ROOT / "docs" / "images" / "demo.png") as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def test_demo_is_small_and_has_no_metadata():
    path = ROOT / "docs" / "images" / "demo.png"
    assert path.stat().st_size < 160_000
    with Image.open(path) as image:
        assert image.info == {}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_before_after_shows_bicubic_and_sharpbit(monkeypatch, scale):
    module = script("before_after", "scripts")
    asked = []

    def upscale(array, *, model):
        asked.append(model)
        return np.full((array.shape[0] * scale, array.shape[1] * scale, 3), (10, 200, 30), np.uint8)

    monkeypatch.setattr(module.sharpbit, "upscale", upscale)
    small = committed()
    sheet = np.asarray(module.compare(small, scale, "some-model"))
    assert asked == ["some-model"]
    width, height = module.PANEL
    assert sheet.shape == (height, 1118, 3)
    large, zoom = module.bicubic(small, scale), 2 if scale == 2 else 1
    for i in range(len(module.DETAILS)):
        left = i * (2 * width + module.GAP + module.WIDE_GAP)
        right = left + width + module.GAP
        assert np.all(sheet[:200, right : right + width] == (10, 200, 30))
        before = sheet[:200:zoom, left : left + width : zoom]
        assert any(np.array_equal(before[0], row) for row in _windows(large, before.shape[1], before[0, 0]))


def _windows(large, width, first):
    for y, x in zip(*np.nonzero(np.all(large == first, axis=-1)), strict=True):
        yield large[y, x : x + width]


def test_bicubic_keeps_flat_colours():
    flat = np.full((5, 6, 3), (7, 130, 250), np.uint8)
    large = script("before_after", "scripts").bicubic(flat, 4)
    assert large.shape == (20, 24, 3)
    assert np.all(large == (7, 130, 250))
