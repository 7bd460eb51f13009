"""The benchmark of real images: every LR image belongs to its HR image, and seeds are fixed."""

import numpy as np
import pytest
from PIL import Image

from loaded_script import script

cases = script("cases", "evidence/real")
niqe = script("niqe", "evidence/real")
script("methods", "evidence/real")
situations = script("situations", "evidence/real")


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


def clouds(seed: int, side: int = 256) -> np.ndarray:
    """A texture whose spectrum falls as that of photos."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    waves = np.fft.fft2(rng.normal(size=(side, side))) / np.maximum(frequency, 1 / side)
    values = np.fft.ifft2(waves).real
    values = 128 + 50 * values / values.std()
    return np.clip(values, 0, 255)[..., None].repeat(3, 2).astype(np.uint8)


def test_niqe_grows_with_noise_and_blur(tmp_path):
    for seed in range(3):
        Image.fromarray(clouds(seed, 384)).save(tmp_path / f"{seed}.jpg", quality=98)
    pristine = niqe.fitted(tmp_path)
    image = clouds(9)
    noisy = np.clip(image + np.random.default_rng(1).normal(0, 15, image.shape), 0, 255).astype(np.uint8)
    soft = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX).resize((256, 256)))
    best = niqe.niqe(image, pristine)
    assert best < niqe.niqe(noisy, pristine) and best < niqe.niqe(soft, pristine)
    assert niqe.features(image)[0].shape == (16, 36)


@pytest.mark.skipif(not cases.FONTS.is_dir(), reason="DejaVu is not installed")
def test_situations_are_files_half_as_large_as_the_truth(tmp_path):
    for name in "abc":
        Image.fromarray(clouds(ord(name), 512)).save(tmp_path / f"{name}.jpg", quality=95)
    found = situations.made(tmp_path, 2)
    assert len(found) == 6
    for data, ending, truth in found.values():
        file = tmp_path / f"small{ending}"
        file.write_bytes(data)
        with Image.open(file) as small:
            assert small.size == (truth.width // 2, truth.height // 2)
    pixels, model = situations.default(file, 2)
    assert pixels.shape == (truth.height, truth.width, 3) and model.startswith("x2-")
