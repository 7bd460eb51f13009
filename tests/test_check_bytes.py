"""The check of bytes sees what the check of floats sees, in less time."""

import numpy as np
import pytest

from sharpbit.errors import ResultError
from sharpbit.pipeline.sanity import _MOST_ROWS, Check, _byte_sums, _starts


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (16, 16), (31, 33), (47, 130), (200, 9)])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_sums_are_exact(size, scale):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (size[0] * scale, size[1] * scale, 3), np.uint8)
    for x in (pixels, np.full_like(pixels, 255), np.broadcast_to(pixels[..., :1], pixels.shape)):
        ys, xs = _starts(size[0]) * scale, _starts(size[1]) * scale
        expected = np.add.reduceat(np.add.reduceat(x.astype(np.float64), ys, 0), xs, 1)
        assert np.array_equal(_byte_sums(x, ys, xs), expected)


def test_a_view_of_a_larger_result():
    pixels = np.random.default_rng(0).integers(0, 256, (90, 100, 3), np.uint8)
    part = pixels[7:80, 5:90]
    ys, xs = _starts(73), _starts(85)
    assert np.array_equal(_byte_sums(part, ys, xs), _byte_sums(part.copy(), ys, xs))


@pytest.mark.parametrize("scale", [2, 3, 4, 16])
def test_bytes_and_floats_agree(scale):
    rng = np.random.default_rng(0)
    before = rng.integers(0, 256, (50, 37, 3), np.uint8)
    after = np.clip(before.repeat(scale, 0).repeat(scale, 1) + rng.normal(0, 20, (50 * scale, 37 * scale, 3)), 0, 255)
    bytes_, floats = Check("it", scale), Check("it", scale)
    bytes_.add(before, after.astype(np.uint8))
    floats.add(before.astype(np.float32) / 255, after.astype(np.uint8).astype(np.float32) / 255)
    assert np.allclose(bytes_._before, floats._before, rtol=1e-5)
    assert np.allclose(bytes_._after, floats._after, rtol=1e-5)
    bytes_.finish()


WRONG = {
    "black": (lambda x: x * 0, "colour|black"),
    "inverted": (lambda x: 255 - x, "colour"),
    "darker": (lambda x: (x * 0.6).astype(np.uint8), "colour"),
    "one block": (lambda x: np.where((np.indices(x.shape)[:2] < 32).all(0), 255, x).astype(np.uint8), "part of the"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_bytes(name):
    before = np.tile(np.array([150, 100, 130], np.uint8), (48, 48, 1))
    spoil, words = WRONG[name]
    check = Check("it", 2)
    with pytest.raises(ResultError, match=words):
        check.add(before, spoil(before.repeat(2, 0).repeat(2, 1)))
        check.finish()


def test_the_longest_band_fits_into_16_bits():
    assert _MOST_ROWS * 255 <= 0xFFFF
