"""Pairs of crops that are alike: from one image, above the threshold, turned alike."""

import numpy as np
import pytest
import torch

from sharpbit.data.matched import Matched
from sharpbit.data.pairs import Pairs


@pytest.fixture(scope="module")
def pairs():
    """Two images with a dark and a bright half each; only in the second one do they have both."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 60, (48, 80, 3), np.uint8) for _ in range(2)]
    images[1][:, 40:] += 190
    return Pairs.from_images(images, 2)


def brightness(x: torch.Tensor) -> torch.Tensor:
    """A vector that says dark or bright."""
    mean = x.mean((1, 2, 3))
    return torch.stack([mean, 1 - mean], 1)


def drawn(pairs, threshold, count=32, seed=1):
    return Matched(pairs, brightness, threshold).batch(count, 8, torch.Generator().manual_seed(seed), colours=False)


def cosines(small):
    reference, query = (brightness(half) for half in small.chunk(2))
    return torch.nn.functional.cosine_similarity(reference, query)


def test_pairs_are_alike(pairs):
    small, large = drawn(pairs, 0.95)
    assert small.shape == (64, 3, 8, 8)
    assert large.shape == (64, 3, 16, 16)
    assert float(cosines(small).min()) >= 0.95
    assert float(cosines(drawn(pairs, 2.0)[0]).min()) < 0.6  # any two of an image
    assert float((small[:32] - small[32:]).abs().max()) > 0, "not the same crop twice"


def test_the_large_crops_are_those_of_the_small_ones(pairs):
    small, large = drawn(pairs, 0.95)
    shrunk = torch.nn.functional.avg_pool2d(large, 2)
    assert float((shrunk - small).abs().mean()) < 0.06
    assert float((shrunk - small.roll(1, 0)).abs().mean()) > 0.07


def test_both_are_turned_alike():
    line = np.linspace(0, 250, 80).astype(np.uint8)
    image = np.stack([np.broadcast_to(line, (80, 80)), np.broadcast_to(line[:, None], (80, 80)), np.zeros((80, 80))], 2)
    pairs = Pairs.from_images([image.astype(np.uint8)], 2)
    small, _ = Matched(pairs, brightness, 2.0).batch(40, 8, torch.Generator().manual_seed(3), colours=False)
    slopes = torch.stack([small[:, 0, 0, -1] - small[:, 0, 0, 0], small[:, 0, -1, 0] - small[:, 0, 0, 0]], 1).sign()
    assert torch.equal(slopes[:40], slopes[40:])
    assert len(slopes.unique(dim=0)) == 4


def test_the_generator_alone_decides(pairs):
    for a, b in zip(drawn(pairs, 0.95), drawn(pairs, 0.95), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(drawn(pairs, 0.95)[0], drawn(pairs, 0.95, seed=2)[0])


def test_one_that_nothing_is_like_ends(pairs):
    never = Matched(pairs, lambda x: torch.randn(len(x), 50, generator=torch.Generator().manual_seed(len(x))), 0.9)
    odd = Matched(pairs, lambda x: torch.stack([torch.eye(400)[torch.randint(400, ())] for _ in x]), 0.9)
    for one in (never, odd):
        assert one.batch(2, 8, torch.Generator().manual_seed(1))[0].shape == (4, 3, 8, 8)


def test_a_part_of_the_pairs_is_what_it_is_of_all(pairs):
    small, large = drawn(pairs, 0.95, 6)
    judge = Matched(pairs, brightness, 0.95)
    own = judge.batch(6, 8, torch.Generator().manual_seed(1), colours=False, part=slice(1, None, 2))
    for whole, half in zip((small, large), own, strict=True):
        assert torch.equal(torch.cat([whole[1:6:2], whole[7::2]]), half)
