"""A start for a training: an SRResNet that computes what a narrower chain computes, in use and while training."""

import pytest
import torch

from loaded_script import script
from sharpbit import model as models
from sharpbit.errors import UsageError


@pytest.fixture(scope="module")
def widen():
    return script("widen", "research/training")


def test_it_computes_the_same_with_and_without_statistics_of_the_batch(widen):
    torch.manual_seed(0)
    old = models.build("carry", scale=2, blocks=2, width=16).net.eval()
    with torch.no_grad():
        for layer in (old.first, *old.hidden()):
            layer.bias.normal_(std=0.1)
        old.last.weight.normal_(std=0.1)
        old.last.bias.normal_(std=0.1)
    photos = torch.rand(4, 3, 24, 24) * 0.6 + 0.2
    net = widen.widened(old, photos, blocks=4, width=32)
    with torch.no_grad():
        wanted, edges = old(photos).clamp(0, 1), old(torch.zeros(1, 3, 8, 8)).clamp(0, 1)
        assert (net.eval()(photos).clamp(0, 1) - wanted).abs().max() < 1e-4
        assert (net(torch.zeros(1, 3, 8, 8)).clamp(0, 1) - edges).abs().max() < 1e-4
        assert (net.train()(photos).clamp(0, 1) - wanted).abs().mean() < 1e-3
    net.zero_grad()
    net(photos).sum().backward()
    assert net.tail.weight.grad[:, 3:].abs().max() > 0  # what was added can learn


def test_too_little_room_is_said(widen):
    old = models.build("carry", scale=2, blocks=2, width=32).net
    with pytest.raises(UsageError, match="4 blocks of 32 channels have no room for 3 layers of 29 channels"):
        widen.widened(old, torch.rand(1, 3, 8, 8), blocks=4, width=32)
