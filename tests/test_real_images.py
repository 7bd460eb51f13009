"""The benchmark of real images: every LR image belongs to its HR image, and seeds are fixed."""

import numpy as np
import pytest
from PIL import Image

from loaded_script import script

cases = script("cases", "evidence/real")


@pytest.fixture
def folder(tmp_path):
    y, x = np.mgrid[:96, :120]
    image = np.stack([2 * x, 2 * y, 255 - x], -1).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "ramp.png")
    return tmp_path


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_photos_are_degraded_in_place(folder, scale):
    found = list(cases.photos(folder, scale, limit=5, side=96))
    assert [case.kind for case in found] == [f"photo {kind}" for kind in cases.PHOTO]
    again = list(cases.photos(folder, scale, limit=5, side=96))
    for case, same in zip(found, again, strict=True):
        assert case.large.shape == (96, 96, 3)
        assert case.small.shape == (96 // scale, 96 // scale, 3)
        assert np.array_equal(case.small, same.small)
        exact = case.large.reshape(96 // scale, scale, 96 // scale, scale, 3).mean((1, 3))
        assert abs((case.small - exact).mean()) < 2


@pytest.mark.skipif(not cases.FONTS.is_dir(), reason="DejaVu is not installed")
def test_pages_are_white_and_drawings_have_flat_fills():
    found = {(case.name, case.kind): case for case in cases.drawn(2)}
    assert len(found) == 12
    for case in found.values():
        assert case.large.shape[0] == 2 * case.small.shape[0]
    page = found["page10", "text png"]
    assert (page.large == 255).all(2).mean() > 0.6
    assert len(np.unique(page.large)) > 20
