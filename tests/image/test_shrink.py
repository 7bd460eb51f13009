"""The small pictures of the benchmarks: exactly what the reference makes, and the same as the slower `resize`."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from sharpbit.image.resize import resize, shrink


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["natural", "noise", "sharp"])
def test_golden(shared, name, scale):
    values = load_file(shared / "golden" / "resize_matlab_bicubic.safetensors")
    assert np.array_equal(shrink(values[f"input/{name}"], scale), values[f"output/{name}_down_x{scale}_round_once"])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_two_ways_agree(scale):
    rng = np.random.default_rng(0)
    for levels in ([0, 255], [100, 101], range(256)):  # few levels give many ties in rounding
        picture = rng.choice(levels, (77, 130, 3)).astype(np.uint8)
        height, width = -(-77 // scale), -(-130 // scale)
        slow = resize(picture.astype(np.float64), height, width, scale=1 / scale)
        assert np.array_equal(shrink(picture, scale), np.rint(np.clip(slow, 0, 255)).astype(np.uint8))
