"""Degraded images: their size, their alignment, and that a seed decides."""

import numpy as np
import pytest
from PIL import Image

from sharpbit.data.degrade import KINDS, Kind, degraded, jpeg, noisy


@pytest.fixture
def ramp():
    """A smooth image, whose LR images all resemble it."""
    y, x = np.mgrid[:96, :144].astype(np.float32)
    return np.stack([x, y, 255 - x], -1).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_size_and_alignment(ramp, kind, scale):
    for seed in range(12):
        small = degraded(ramp, scale, KINDS[kind], np.random.default_rng(seed))
        assert small.shape == (96 // scale, 144 // scale, 3)
        assert small.dtype == np.uint8
        exact = ramp.reshape(96 // scale, scale, 144 // scale, scale, 3).mean((1, 3))
        assert abs((small.astype(float) - exact).mean()) < 1.5


def test_a_seed_gives_the_same_image(ramp):
    first, second = (degraded(ramp, 2, KINDS["photo"], np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)


def test_clean_is_bicubic(ramp):
    small = degraded(ramp, 2, Kind(clean=1), np.random.default_rng(0))
    assert np.array_equal(small, np.asarray(Image.fromarray(ramp).resize((72, 48), Image.Resampling.BICUBIC)))


def test_noise_has_about_the_deviation_that_is_asked_for():
    grey = Image.new("RGB", (200, 200), (128, 128, 128))
    found = [np.asarray(noisy(grey, 6, np.random.default_rng(seed)), float).std() for seed in range(8)]
    assert all(5 < deviation < 7 for deviation in found)


def test_jpeg_loses_more_at_a_lower_quality(ramp):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    lost = [np.abs(np.asarray(jpeg(image, quality), float) - np.asarray(image)).mean() for quality in (95, 60)]
    assert lost[0] < lost[1]
