"""The evidence on queries that skip work: a patch finds its places in itself, and the fit finds what is linear."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from loaded_script import script
from noise_images import noise
from sharpbit import model as models


@pytest.fixture(scope="module")
def skipping():
    return script("skipping")


def test_a_query_that_is_its_own_reference_loses_nothing(skipping):
    torch.manual_seed(0)
    net = models.build("carn", scale=4, width=8, groups=4).net.eval()
    small = noise(0, 48, 48)[None]
    whole, features = skipping.Skipping(net, "own reference").reference(small)
    again = skipping.Skipping(net, "own reference").query(small, features)
    assert np.ptp(whole) > 5
    assert np.abs(again.astype(int) - whole).max() <= 1
    other = skipping.Skipping(net, "warped").query(noise(1, 48, 48)[None], features)
    assert (other != whole).mean() > 0.1


@pytest.mark.parametrize("both", [False, True])
def test_the_fit_finds_a_map_that_is_linear(skipping, both):
    random = torch.Generator().manual_seed(0)
    own, other = (torch.rand(4, 4, 12, 12, generator=random) for _ in range(2))
    kernel, mix = (torch.rand(4, 4, side, side, generator=random) for side in (3, 1))
    feature = F.conv2d(own, kernel, padding=1) + F.conv2d(other, mix) * both + 1
    fit = skipping.Linear(both)
    fit.fit([(own, other, feature)])
    assert (fit(own, other) - feature).abs().max() < 0.05 * feature.std()
