"""Patches by how much detail they show, and images through two networks."""

import numpy as np
import pytest

from sharpbit.errors import UsageError
from sharpbit.twopass import schedule as passes
from sharpbit.twopass.detail import Split, detail, split, upscale


def image(height=60, width=90):
    """Flat on the left, noise on the right."""
    out = np.full((height, width, 3), 100, np.uint8)
    out[:, width // 2 :] = np.random.default_rng(1).integers(0, 256, (height, width - width // 2, 3))
    return out


def test_detail_is_the_mean_difference_of_neighbours():
    x = np.random.default_rng(0).integers(0, 256, (7, 11, 3)).astype(np.uint8)
    grey = x.mean(2)
    pairs = [abs(grey[i, j] - grey[i + 1, j]) for i in range(6) for j in range(11)]
    pairs += [abs(grey[i, j] - grey[i, j + 1]) for i in range(7) for j in range(10)]
    assert detail(x) == pytest.approx(np.mean(pairs), rel=1e-12)
    assert detail(x[:1, :1]) == 0
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 255
    assert detail(stripes) == pytest.approx(255 / 2)  # beside each other all differ, above each other none


def test_a_threshold_splits_the_patches():
    none, some, all_ = (split(image(), threshold, 20, 4) for threshold in (0, 10, 1000))
    assert (none.counts()["small"], none.queries) == (0, 0)
    assert (all_.counts()["large"], all_.queries) == (0, 1)
    for patch, small in zip(some.patches, some.small, strict=True):
        assert small == (patch.columns.stop <= 46)  # one column of noise is little
    assert 0 < some.queries < 1
    pixels = np.array([patch.pixels for patch in some.patches])
    assert some.queries == pytest.approx((pixels * some.small).sum() / pixels.sum())


def test_patches_that_are_all_shared_have_no_detail():
    with pytest.raises(UsageError, match="cannot share 20"):
        split(image(), 3, 20, 20)


def test_every_patch_comes_from_its_network():
    small = image()
    found = split(small, 10, 20, 4)
    sizes = []

    def constant(value):
        def network(x):
            sizes.append(len(x))
            return np.full((len(x), x.shape[1] * 2, x.shape[2] * 2, 3), value, np.uint8)

        return network

    large = upscale(small, found, 2, constant(1), constant(2))
    assert large.shape == (120, 180, 3)
    for patch, small in zip(found.patches, found.small, strict=True):
        rows, columns = patch.rows, patch.columns
        kept = large[2 * rows.kept_from : 2 * rows.kept_to, 2 * columns.kept_from : 2 * columns.kept_to]
        assert (kept == (2 if small else 1)).all()
    assert sum(sizes) == len(found.patches)
    assert 1 < max(sizes) <= 8


class Pair:
    """Stands for two networks: the large one inverts."""

    scale = 1

    def vectors(self, patches):
        raise AssertionError("a pair does not ask the classifier")

    def reference(self, patches):
        return 255 - patches, ()

    def query(self, patches, features):
        assert features == ()
        return patches


@pytest.mark.parametrize("size", [(60, 90), (1, 1), (9, 40)])
def test_a_image_through_a_pair(size):
    done = []
    small = image(*size)
    large, found = passes.run(Pair(), small, patch=20, shared=4, detailed=10.0, progress=done.append)
    assert isinstance(found, Split)
    assert sum(done) == pytest.approx(1)
    assert large.shape == small.shape
    expected, _ = passes.run(Pair(), small, patch=20, shared=4, detailed=0.0)
    assert np.array_equal(expected, 255 - small)
    assert np.array_equal(np.where(large == small, small, 255 - small), large)
    if size == (60, 90):
        assert (large == small).all(2).any()
        assert (large == 255 - small).all(2).any()
