"""RefER: it finds what moved, refines what differs, and has gradients everywhere."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sharpbit.quant.grid import Fixed
from sharpbit.quant.method.pams import MaxScale
from sharpbit.quant.refqsr import refer
from sharpbit.quant.refqsr.refer import Correction, RefER


def features(seed: int = 1, channels: int = 8, height: int = 24, width: int = 30) -> torch.Tensor:
    """Random vectors in every pixel."""
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(height: int = 24, width: int = 30) -> torch.Tensor:
    """Another vector of length 1 in each 3x3 pixels: pooling loses nothing, and each is most like itself."""
    cells = F.normalize(features(7, 8, -(-height // 3), -(-width // 3)), dim=1)
    return cells.repeat_interleave(3, 2).repeat_interleave(3, 3)[..., :height, :width]


def a_refer(channels: int = 8, bits: int = 32, **how) -> RefER:
    torch.manual_seed(3)
    convs = [nn.Conv2d(channels, channels, 3, padding=1).double() for _ in range(3)]
    other = convs[2] if how.pop("concat", False) else None
    ways = [Fixed(MaxScale().double(), bits) for _ in range(2)]
    return RefER(Correction(convs[0], nn.ReLU(), convs[1], other), *ways, rectified=False, **how).double().eval()


def own_places(x):
    return refer.middles(x, x.shape).T.reshape(1, 2, *x.shape[2:]).double()


@pytest.mark.parametrize("size", [(24, 30), (12, 33)])
def test_a_reference_that_is_the_query_is_found_where_it_is(size):
    x = flat(*size)
    part = a_refer()
    places = refer.upscaled(part.places(x, x), x)
    assert torch.allclose(places, own_places(x), atol=1e-9)
    assert torch.allclose(refer.warped(x, places), x, atol=1e-9)


def test_equal_features_get_the_correction_of_nothing():
    x = flat()
    part = a_refer()
    assert torch.allclose(part(x, x), x + part.residual(x, x), atol=1e-9)
    nothing = part.residual(torch.zeros_like(x), torch.zeros_like(x))
    assert torch.allclose(part(x, x), x + nothing, atol=1e-9)


@pytest.mark.parametrize(("down", "right"), [(3, 0), (0, 6), (6, 3)])
def test_a_shift_by_multiples_of_three_is_recovered(down, right):
    x = flat(36, 36)
    moved = torch.roll(x, (down, right), (2, 3))  # what was at (y, x) is at (y + down, x + right)
    places = refer.upscaled(a_refer().places(x, moved), x)
    expected = own_places(x) + torch.tensor([right, down]).view(1, 2, 1, 1)
    inside = (slice(None), slice(None), slice(0, 36 - down - 3), slice(0, 36 - right - 3))
    assert torch.allclose(places[inside], expected[inside], atol=1e-9)
    assert torch.allclose(refer.warped(moved, places)[inside], x[inside], atol=1e-9)


def test_the_soft_choice_is_the_hard_one_where_there_are_no_ties():
    own, other = features(1, height=8, width=10).float(), features(2, height=9, width=7).float()
    way = Fixed(MaxScale(), 4)
    way.range.observe(own)
    own, other = way(own), way(other)
    products = (own.flatten(2).mT @ other.flatten(2))[0]
    best = products.topk(2, 1).values
    clear = (best[:, 0] - best[:, 1] > 0.02).reshape(8, 10)  # exp(-20) of the next
    assert float(clear.float().mean()) > 0.5
    size = (1, 8, 27, 21)
    hard, soft = (refer.matched(own, other, size, soft=soft)[0].detach() for soft in (False, True))
    assert float((hard - soft)[:, clear].abs().max()) < 1e-3


def test_vectors_are_of_length_one_before_they_are_pooled():
    x = 5 * features()
    unit = x / x.norm(dim=1, keepdim=True)
    expected = unit.reshape(1, 8, 8, 3, 10, 3).mean((3, 5))
    assert torch.allclose(refer.prepared(x), expected)
    assert torch.isfinite(refer.prepared(torch.zeros_like(x))).all()
    assert refer.prepared(features(height=25, width=32)).shape == (1, 8, 8, 10)
    assert refer.prepared(features(height=2, width=5)).shape == (1, 8, 1, 1)


def test_sizes_of_query_and_reference_may_differ():
    query, reference = features(1, height=12, width=15), features(2, height=31, width=20)
    for how in ({}, {"pooled": False}, {"concat": True}):
        assert a_refer(**how)(query, reference).shape == query.shape


def test_without_pooling_every_pixel_is_found():
    x = F.normalize(features(height=9, width=9), dim=1)
    moved = torch.roll(x, (1, 2), (2, 3))
    places = a_refer(pooled=False).places(x, moved)
    expected = own_places(x) + torch.tensor([2, 1]).view(1, 2, 1, 1)
    assert torch.allclose(places[..., :8, :7], expected[..., :8, :7])


@pytest.mark.parametrize("how", [{}, {"pooled": False}, {"concat": True}])
def test_gradients_are_those_of_the_forward(how, monkeypatch):
    monkeypatch.setattr(refer, "SHARPNESS", 5.0)  # finite differences cannot follow 1000
    part = a_refer(2, **how).train()
    query, reference = features(4, 2, 6, 6).requires_grad_(), features(5, 2, 6, 9).requires_grad_()
    assert torch.autograd.gradcheck(part, (query, reference), eps=1e-6, atol=1e-5)


def test_a_low_width_rounds_what_is_compared():
    x = features()
    part = a_refer(bits=2)
    for way in (part.query, part.reference):
        way.float().range.observe(refer.prepared(x).float())
    seen = []
    part.query.register_forward_hook(lambda part, args, out: seen.append(out))
    part.places(x.float(), x.float())
    assert len(seen[0].unique()) <= 3


def textured(seed: int = 7, height: int = 36, width: int = 36) -> torch.Tensor:
    """What features of real networks are like: a part that all places share, flat places, and texture between them."""
    shared = 6 * F.normalize(features(1, 8, 1, 1), dim=1)
    cells = features(seed, 8, height // 3, width // 3).repeat_interleave(3, 2).repeat_interleave(3, 3)
    rough = (features(seed + 2, 1, height // 3, width // 3) > 0).repeat_interleave(3, 2).repeat_interleave(3, 3)
    return (shared + cells + 3 * rough * features(seed + 1, 8, height, width)).float()


def found(x: torch.Tensor, matching: str, bits: int) -> float:
    """The share of the places of `x` that are found in `x` itself."""
    part = a_refer(bits=bits, matching=matching).float()
    for way, own in zip((part.query, part.reference), refer.compared(x, x, matching), strict=True):
        way.range.observe(own)
    places = part.places(x, x)
    home = refer.middles(places, x.shape).T.reshape(1, 2, *places.shape[2:])
    return float(((places - home).abs() < 0.5).all(1).float().mean())


def test_places_are_found_by_what_sets_them_apart():
    """As printed, products prefer flat places; with 4 bits, what all places share hides the rest."""
    x = textured()
    assert found(x, "normalize-then-pool", 16) < 0.5
    assert found(x, "pool-then-normalize", 16) == found(x, "centred", 16) == 1
    assert found(x, "pool-then-normalize", 4) < found(x, "centred", 4) - 0.2


def test_centred_features_lack_what_the_reference_has_everywhere():
    query, reference = features(1, 8, 12, 15), features(2, 8, 24, 30) + 5
    own, other = refer.compared(query, reference, "centred")
    mean = refer.pooled(reference).mean((2, 3), keepdim=True)
    assert torch.allclose(own, F.normalize(refer.pooled(query) - mean, dim=1))
    assert torch.allclose(other, F.normalize(refer.pooled(reference) - mean, dim=1))
    assert torch.allclose(refer.compared(query, reference)[1], refer.prepared(reference))


def test_a_neutral_start_corrects_nothing():
    part = a_refer()
    block = nn.ModuleDict({name: nn.Conv2d(8, 8, 3, padding=1).double() for name in ("conv1", "conv2")})
    part.residual.begin(block, ("conv1", "", "conv2"), neutral=True)
    x = features()
    assert torch.equal(part(x, features(9)), x)
    assert torch.equal(part.residual.conv1.weight, block["conv1"].weight)
    part.train()(x, features(9)).square().sum().backward()
    assert part.residual.conv2.weight.grad.abs().max() > 0, "it learns to"
