"""The LR images of the benchmarks are those of the slower `resize`, to the last bit."""

import numpy as np
import pytest

from sharpbit.image.resize import resize, shrink


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_two_ways_agree(scale):
    rng = np.random.default_rng(0)
    for levels in ([0, 255], [100, 101], range(256)):  # few levels give many ties in rounding
        image = rng.choice(levels, (77, 130, 3)).astype(np.uint8)
        height, width = -(-77 // scale), -(-130 // scale)
        slow = resize(image.astype(np.float64), height, width, scale=1 / scale)
        assert np.array_equal(shrink(image, scale), np.rint(np.clip(slow, 0, 255)).astype(np.uint8))
