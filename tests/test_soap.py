"""SOAP learns what Adam is slow at and goes on where it stopped; all channels of a Carry are alive at first."""

import pytest
import torch
from torch.nn import functional as F

from sharpbit import model as models
from sharpbit.data.pairs import Pairs
from sharpbit.errors import UsageError
from sharpbit.training import Training, train
from sharpbit.training.soap import Soap


def test_what_has_no_gradient_stays():
    used, other = torch.ones(3, 3, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = Soap([used, other])
    (used**2).sum().backward()
    optimizer.step()
    assert torch.equal(other, torch.ones(2))
    assert (used < 1).any()


def how(**change):
    plan = {"steps": 24, "batch": 4, "patch": 12, "warmup": 5, "ema": 0.9, "precision": "float32", "optimizer": "soap"}
    return Training(**plan | change)


@pytest.fixture(scope="module")
def pairs():
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(0, 256, (3, 3, 12, 12), generator=generator).float()
    images = F.interpolate(coarse, (48, 48), mode="bicubic").clamp(0, 255).byte().permute(0, 2, 3, 1)
    return Pairs.from_images(list(images.numpy()), 2)


def begun():
    torch.manual_seed(1)
    return models.build("carry", scale=2, blocks=2, width=12)


def error_after(pairs, steps, **change):
    net = train(begun(), pairs, how(steps=steps, patch=16, **change), quiet=True).net
    low, high = pairs.batch(16, 24, torch.Generator().manual_seed(9))
    with torch.no_grad():
        return F.mse_loss(net(low), high).item()


def test_it_learns_more_in_as_many_steps(pairs):
    adam = min(error_after(pairs, 120, rate=rate, optimizer="adam") for rate in (3e-3, 1e-2))
    assert error_after(pairs, 120, rate=1e-2) < 0.8 * adam


def test_a_resumed_run_ends_with_the_same_weights(pairs, tmp_path):
    whole = train(begun(), pairs, how(), quiet=True)
    train(begun(), pairs, how(), out=tmp_path, stop_after=13, quiet=True)
    again = train(begun(), pairs, how(), out=tmp_path, quiet=True)
    for key, value in whole.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[key]), key
    assert whole.history[-1].settings["optimizer"] == "soap"


def test_no_other_optimizer(pairs):
    with pytest.raises(UsageError, match="optimizer 'sgd' is not known; use adam or soap"):
        train(begun(), pairs, how(optimizer="sgd"), quiet=True)


def test_all_channels_of_a_carry_are_alive_at_first(pairs):
    """With the biases that PyTorch draws, a fifth of them never was above zero."""
    torch.manual_seed(2)
    net = models.build("carry", scale=2, width=32).net
    low = pairs.batch(16, 24, torch.Generator().manual_seed(9))[0].float()
    low = 0.3 + 0.4 * low / low.max()
    seen = low
    for layer in (net.first, *net.hidden()):
        features = F.relu(F.conv2d(seen, layer.weight, layer.bias, padding=1))
        assert (features > 0).float().mean((0, 2, 3)).min() > 0.01
        seen = torch.cat([features, low], 1)
