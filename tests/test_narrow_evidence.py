"""The evidence on narrow networks for queries: features begin without effect, and training makes use of them."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from loaded_script import script
from noise_images import noise
from sharpbit import model as models
from sharpbit.image.resize import shrink


@pytest.fixture(scope="module")
def narrow():
    script("skipping")
    return script("narrow")


@pytest.fixture(scope="module")
def carry():
    torch.manual_seed(0)
    return models.build("carry", scale=4, blocks=1, width=8).net


def test_features_begin_without_effect_and_are_then_seen(narrow, carry):
    x, other = torch.rand(2, 3, 12, 12), torch.rand(2, 8, 12, 12)
    fed = narrow.Narrow(carry, 8).eval()
    with torch.no_grad():
        assert torch.equal(fed(x, other), narrow.Narrow(carry, 0).eval()(x))
        assert (fed(x) - carry.eval()(x)).abs().max() < 1e-5
        fed.mix.weight.fill_(1.0)
        assert not torch.equal(fed(x, other), fed(x))


def test_a_query_sees_its_reference_or_itself(narrow, carry):
    torch.manual_seed(0)
    net = models.build("carn", scale=4, width=8, groups=4).net.eval()
    made = narrow.Narrow(carry, 8).eval()
    torch.nn.init.normal_(made.mix.weight)
    own, other = noise(0, 48, 48)[None], noise(1, 48, 48)[None]
    results = {}
    for seen in narrow.SEEN:
        fed = narrow.Fed(net, made, seen)
        results[seen] = [fed.query(own, fed.reference(patch)[1]) for patch in (own, other)]
    assert np.array_equal(*results["nothing"])
    assert np.array_equal(*results["itself"])
    assert not np.array_equal(*results["reference"])
    assert np.abs(results["reference"][0].astype(int) - results["itself"][0]).max() <= 1  # it is its own reference


def test_training_learns_from_the_queries_of_photos(narrow, carry, tmp_path):
    Image.fromarray(np.tile(noise(0, 192, 192) // 8 + 100, (3, 3, 1))).save(tmp_path / "a.png")
    net = models.build("carn", scale=4, width=8, groups=4).net.eval()
    examples = narrow.Examples(narrow.Skipping(net), tmp_path, 1, 0.5)
    assert len(examples.small) >= 4
    assert examples.large[0].shape == (192, 192, 3)
    assert np.abs(shrink(examples.large[0], 4).astype(int) - examples.small[0])[4:-4, 4:-4].max() <= 1
    before = narrow.Narrow(carry, 8)
    with torch.no_grad():
        before.carry.last.bias += 0.1  # too light, which is soon unlearned
    after = narrow.trained(copy.deepcopy(before), examples, "reference", 30, 1e-2, 0)
    low, other, high = examples.batch("reference", np.random.default_rng(5))
    with torch.no_grad():
        losses = [(one(low, other) - high).abs().mean() for one in (before, after)]
    assert losses[1] < 0.7 * losses[0]
