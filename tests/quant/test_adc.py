"""Dual clipping and the search by prefix sums: by hand, against the plain way, and as the authors' code has it."""

import json

import pytest
import torch
from safetensors import safe_open

from sharpbit.errors import UsageError
from sharpbit.quant import prefix_sums
from sharpbit.quant.grid import Fixed
from sharpbit.quant.method.adc import DualClip
from sharpbit.quant.method.ptq4sr import Density
from sharpbit.quant.method.search import Search, best
from sharpbit.quant.prefix_sums import Prefix, grid_of, sample

STEP = 1e-4  # relative; of the golden files


def plain_error(x, lo, hi, bits, objective):
    """The published way: round the whole tensor."""
    most = 2**bits - 1
    step = torch.clamp((hi - lo) / most, min=2.0**-23)
    zero = torch.clamp(-torch.round(lo / step), 0, most)
    rounded = (torch.clamp(torch.round(x / step + zero), 0, most) - zero) * step
    if objective == "absolute":
        return (rounded - x).abs().mean()
    both = [torch.fft.fft(value.mean(1), dim=-1).abs().sum(0) for value in (rounded, x)]
    return (both[0] - both[1]).abs().mean()


def plain_clipped(x, bits, objective):
    low, high = x.min(), x.max()
    start, end = (low - 0.5, high + 0.5) if low == high else (low, high)
    edges = torch.linspace(float(start), float(end), 2**bits + 1)
    left, right, least, found = 0, 2**bits, torch.inf, (low, high)
    while right - left > 1:
        errors = [
            plain_error(x, edges[a], edges[b], bits, objective) for a, b in ((left + 1, right), (left, right - 1))
        ]
        cut_left = errors[0] < errors[1]
        error = min(errors)
        if error > least:
            break
        left, right = (left + 1, right) if cut_left else (left, right - 1)
        least, found = error, (edges[left], edges[right])
    return found


def assert_same_grids(lo, hi, other_lo, other_hi, bits):
    own, other = (grid_of(low.double(), high.double(), bits) for low, high in ((lo, hi), (other_lo, other_hi)))
    torch.testing.assert_close(own[0], other[0], rtol=STEP, atol=0)
    assert torch.equal(own[1], other[1])


def units():
    """Name, what it is, and the tensors of each small case."""
    return [f"{kind}_{bits}bit" for kind in (
        "act_mae_tokens", "act_mae_nchw", "act_mae_positive", "act_mae_outlier", "act_constant", "act_frequency",
        "weight_conv", "weight_linear",
    ) for bits in (4, 6, 8)]  # fmt: skip


@pytest.mark.parametrize("name", units())
def test_small_tensors_of_the_authors(golden_path, name):
    with safe_open(golden_path("craft_adc_units"), "pt") as file:
        case = json.loads(file.metadata()["meta"])["cases"][name]
        tensors = {key: file.get_tensor(key) for key in file.keys() if name in key}  # noqa: SIM118
    first, bits = tensors[f"input/{name}_batch0"], int(name[-4])
    channels = len(first) if case["mode"] == "channel_wise" else None
    objective = "frequency" if case["objective"] == "frequency" else "absolute"
    clip = DualClip(channels, 0 if channels else 1, objective=objective)
    for number in range(case["updates"]):
        clip.observe(tensors.get(f"input/{name}_batch{number}", first), bits)
        expected = [tensors[f"output/{name}_after{number + 1}.{end}"] for end in ("min_val", "max_val")]
        assert_same_grids(clip.lo.data, clip.hi.data, *expected, bits)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("objective", ["absolute", "frequency"])
def test_the_plain_way_finds_the_same_grid(objective, bits):
    torch.manual_seed(bits)
    x = torch.randn(2, 3, 16, 25) ** 3 + 0.3
    clip = DualClip(objective=objective, rate=1.0)
    clip.observe(x, bits)
    assert_same_grids(clip.lo.data, clip.hi.data, *plain_clipped(x, bits, objective), bits)


def test_one_outlier_leads_greedy_cutting_astray():
    """The first cut takes the outlier's end or the bin of everything else; the search looks at both ends at once."""
    x = torch.linspace(-1, 1, 1000)
    x[17] = 30.0
    clip, search = DualClip(rate=1.0), Search()
    for bounds in (clip, search):
        bounds.observe(x, 4)
        bounds.settle(4)
    assert clip.lo.item() > 0.9
    assert search.lo.item() < -0.5
    errors = [float((Fixed(bounds, 4)(x) - x).detach().square().mean()) for bounds in (clip, search)]
    assert errors[1] < errors[0] / 1.5


def test_the_first_cut_is_always_made():
    """Two values, each at an end: every cut is a loss."""
    clip = DualClip(rate=1.0)
    clip.observe(torch.tensor([-1.0, 1.0]), 2)
    assert (clip.hi - clip.lo).item() <= 1.5


def test_bounds_move_by_a_tenth_each_batch():
    x = torch.randn(999)
    once, thrice = DualClip(rate=1.0), DualClip()
    once.observe(x, 4)
    for _ in range(3):
        thrice.observe(x, 4)
    for own, best_one, start in ((thrice.lo, once.lo, x.min()), (thrice.hi, once.hi, x.max())):
        assert own.item() == pytest.approx((best_one + 0.9**3 * (start - best_one)).item(), rel=1e-5)


def test_channels_are_searched_each_for_itself():
    weight = torch.randn(5, 4, 3, 3) * torch.arange(1, 6).view(5, 1, 1, 1)
    clip = DualClip(5, 0)
    clip.observe(weight, 4)
    for number, row in enumerate(weight):
        alone = DualClip()
        alone.observe(row, 4)
        assert clip.lo[number].item() == pytest.approx(alone.lo.item(), rel=1e-6)


def test_what_frequencies_are_not_of():
    with pytest.raises(UsageError, match="maps"):
        DualClip(objective="frequency").observe(torch.rand(3, 4), 4)
    with pytest.raises(UsageError, match="absolute and frequency"):
        DualClip(objective="mse")


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_errors_from_prefix_sums(bits):
    torch.manual_seed(bits)
    rows = torch.randn(3, 5000, dtype=torch.float64).float() * torch.tensor([[1.0], [0.1], [7.0]])
    rows[1] = rows[1].abs()
    lo, hi = torch.tensor([[-1.0, -2.5], [0.0, 0.05], [-9.0, -1.0]]), torch.tensor([[1.5, 2], [0.2, 0.3], [8, 30]])
    step, zero = grid_of(lo.double(), hi.double(), bits)
    prefix = Prefix(rows)
    absolute, square = prefix.absolute(step, zero, 2**bits - 1), prefix.square(step, zero, 2**bits - 1)
    for row in range(3):
        for k in range(2):
            number = (rows[row].double() / step[row, k]).round() + zero[row, k]
            error = (number.clamp(0, 2**bits - 1) - zero[row, k]) * step[row, k] - rows[row]
            assert float(absolute[row, k]) == pytest.approx(float(error.abs().mean()), rel=1e-6)
            assert float(square[row, k]) == pytest.approx(float(error.square().mean()), rel=1e-5)


@pytest.mark.parametrize("count", [1024, 1027, 3])
def test_errors_do_not_depend_on_how_many_values_are_sorted_at_once(count, monkeypatch):
    rows = torch.randn(3, count, generator=torch.Generator().manual_seed(count))
    grid = grid_of(torch.tensor([[-1.0, -0.5]] * 3).double(), torch.tensor([[2.0, 0.5]] * 3).double(), 4)
    whole = Prefix(rows)
    monkeypatch.setattr(prefix_sums, "BLOCK", 256)
    parts = Prefix(rows)
    assert torch.equal(parts.low, whole.low) and torch.equal(parts.high, whole.high)
    assert torch.allclose(parts.absolute(*grid, 15), whole.absolute(*grid, 15), rtol=1e-12)
    assert torch.allclose(parts.square(*grid, 15), whole.square(*grid, 15), rtol=1e-10)


def test_more_values_than_float32_can_count():
    rows = torch.zeros(1, (1 << 24) + 3)
    rows[0, 3:] = 0.25
    step, zero = torch.full((2, 1, 1), 0.2, dtype=torch.float64) * torch.tensor([1.0, 0.0])[:, None, None]
    mean = 0.05 * (1 << 24) / rows.shape[1]  # 0.25 becomes 0.2
    assert float(Prefix(rows).absolute(step, zero, 3)) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 6])
def test_search_is_better_than_any_pair_of_a_raster(bits, symmetric):
    torch.manual_seed(bits)
    x = torch.randn(4000) ** 3 - 0.2
    search = Search(symmetric=symmetric)
    search.observe(x, bits)
    search.settle(bits)
    own = ((Fixed(search, bits)(x) - x).square().mean()).item()
    other = Search(symmetric=symmetric)
    for low in torch.linspace(0.1, 1, 10):
        for high in torch.linspace(0.1, 1, 10):
            other.lo.data, other.hi.data = x.min() * low, x.max() * high
            assert own <= (Fixed(other, bits)(x) - x).square().mean().item() * 1.02


def test_a_sample_meets_every_channel():
    """Tokens of 48 channels, one of which is large: whatever the number of values, the search hears of it."""
    for tokens in (2**14, 2**15, 3 * 2**13):
        x = torch.rand(tokens, 48)
        x[:, 7] *= 20
        search = Search()
        search.observe(x, 8)
        search.settle(8)
        assert search.hi.item() > 19
    rows = torch.arange(2 * 4096.0).reshape(2, 4096)
    some = sample(rows, 1024)
    assert some.shape == (2, 1024)
    assert torch.equal(some[1] - some[0], torch.full((1024,), 4096.0))
    assert len(set((some[0] % 48).tolist())) == 48
    assert sample(rows, 4096) is rows


def test_search_knows_the_extremes_that_its_sample_misses():
    """One value of a million reaches 3, all others 1: at 8 bits a step is small enough to reach that far, at 4 not."""
    torch.manual_seed(0)
    x = torch.rand(1 << 20)
    x[12345] = 3
    assert float(sample(x[None], 1 << 14).max()) < 1.01
    found = {}
    for bits in (4, 8):
        search = Search()
        for part in (x, torch.rand(1 << 20)):
            search.observe(part, bits)
        search.settle(bits)
        found[bits] = search.hi.item()
    assert found[8] > 2.8
    assert found[4] < 1.5


def test_search_leaves_what_needs_no_clipping():
    """Values on a grid of 16: its own bounds make no error."""
    lo, hi = best(Prefix(torch.arange(-5.0, 11.0)[None]), 4)
    assert (float(lo), float(hi)) == (-5, 10)


def test_density_clipping_by_hand():
    """2048 bins, all values but two in the middle ones: one each at the ends, of which the right goes first."""
    x = torch.cat((torch.linspace(-1, 1, 100_000), torch.tensor([-4.0, 4.0])))
    clip = Density(share=1e-5)
    clip.observe(x, 4)
    width = 8 / 2048
    assert clip.hi.item() == pytest.approx(1 + width, abs=2 * width)
    assert clip.lo.item() == pytest.approx(-4 + width, abs=1e-6)  # still there, and named by the bin after it
    clip.observe(torch.linspace(-1, 1, 1000), 4)  # the mean of both batches
    assert clip.lo.item() == pytest.approx((-4 + width - 1) / 2, abs=0.01)
    with pytest.raises(UsageError, match="whole tensors"):
        Density(3)
