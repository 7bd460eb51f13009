"""The training loop: it learns, it resumes exactly, it says what is wrong."""

import copy
import dataclasses
import fnmatch
import itertools
import json

import numpy as np
import pytest
import torch

from sharpbit import model as models
from sharpbit.data.pairs import Pairs
from sharpbit.errors import ModelError, UsageError
from sharpbit.image.resize import shrink
from sharpbit.training import Training, edge_loss, train
from sharpbit.training.losses import with_luma


def image(seed: int, height: int = 96, width: int = 80) -> np.ndarray:
    """Sharp random shapes: something to learn."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    out = np.zeros((height, width, 3))
    for _ in range(12):
        a, b, c = rng.normal(size=2) @ np.array([[1, 0], [0, 1]]), rng.uniform(0, 60), rng.uniform(0, 255, 3)
        out[np.sin((x * a[0] + y * a[1]) / 6 + b) > 0.3] = c
    return out.astype(np.uint8)


@pytest.fixture(scope="module")
def pairs():
    return Pairs.from_images([image(k) for k in range(4)], 2)


def small_model():
    torch.manual_seed(1)
    return models.build("etds", scale=2, blocks=1, width=12)


def how(**change):
    return Training(**{"steps": 20, "batch": 4, "patch": 12, "warmup": 5, "ema": 0.9, "precision": "float32"} | change)


def weights(model):
    return torch.cat([weight.flatten() for weight in model.net.state_dict().values()])


def test_it_learns(pairs):
    start = small_model()
    low, high = pairs.batch(16, 20, torch.Generator().manual_seed(9))

    def error(model):
        with torch.no_grad():
            return float((model.net(low) - high).abs().mean())

    done = train(start, pairs, how(steps=100, rate=2e-3), quiet=True)
    assert error(done) < 0.8 * error(start)
    assert done.history[-1].steps == 100
    assert torch.equal(weights(start), weights(small_model()))  # the model that was given is as it was


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_resumed_run_ends_with_the_same_weights(pairs, tmp_path, precision):
    plan = how(precision=precision, low_weight=0.5, frozen_steps=8)
    whole = train(small_model(), pairs, plan, quiet=True)
    for _ in range(3):
        parts = train(small_model(), pairs, plan, out=tmp_path, stop_after=7, quiet=True)
    assert torch.equal(weights(whole), weights(parts))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [7, 14, 20]
    assert lines[0]["rate"] == pytest.approx(plan.rate_at(6))


def test_the_first_stage_leaves_the_residual_stream_alone(pairs):
    start = small_model()
    done = train(start, pairs, how(frozen_steps=20), quiet=True)
    for name, weight in done.net.state_dict().items():
        same = torch.equal(weight, start.net.state_dict()[name])
        assert same == ("residual" in name), name


@pytest.mark.parametrize(("arch", "own"), [("etds", "conv_residual_first.weight"), ("craft", "layers.0.conv.weight")])
@pytest.mark.parametrize("frozen_steps", [0, 1])
def test_what_the_caller_froze_stays_frozen(pairs, arch, own, frozen_steps):
    """Also parameters with "residual" in their name, in a network that has a first stage and in one that has none."""
    start = models.build(arch, scale=2, **models.ARCHITECTURES[arch].small)
    for name, weight in start.net.named_parameters():
        weight.requires_grad_("residual" not in name and name != own)
    free = {name for name, weight in start.net.named_parameters() if weight.requires_grad}
    done = train(start, pairs, how(steps=2, frozen_steps=frozen_steps, rate=1e-2, ema=0.0), quiet=True)
    for name, weight in done.net.named_parameters():
        assert weight.requires_grad == (name in free), name
        if name not in free:
            assert torch.equal(weight, start.net.get_parameter(name)), name
    moved = {name for name in free if not torch.equal(done.net.get_parameter(name), start.net.get_parameter(name))}
    assert moved


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_only_networks_that_say_so_have_a_first_stage(pairs, name):
    arch = models.ARCHITECTURES[name]
    names = [key for key, _ in arch.weightless(arch.config(scale=2, **arch.small)).named_parameters()]
    assert all(fnmatch.filter(names, glob) for glob in arch.frozen_first)


@pytest.mark.parametrize("advanced", [False, True])
def test_the_loop_is_that_of_the_authors(pairs, advanced):
    """Written again as their code has it: the count begins with 1, and the stream is released when it equals N."""
    torch.manual_seed(1)
    start = models.build("etds", scale=2, blocks=1, width=12, advanced=advanced)
    plan = how(steps=9, frozen_steps=4, low_weight=0.5, rate=5e-4, last_rate=5e-4, warmup=0, ema=0.0)
    done = train(start, pairs, plan, quiet=True)
    net = copy.deepcopy(start.net)
    residual = [weight for name, weight in net.named_parameters() if "residual" in name]
    for weight in residual:
        weight.requires_grad = False
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4, betas=(0.9, 0.99))
    fixed = 5  # fixed_residual_model_iters
    for count in range(1, 10):
        if count == fixed:
            for weight in residual:
                weight.requires_grad = True
        small, large = pairs.batch(4, 12, torch.Generator().manual_seed(10 * 1_000_003 + count - 1))
        optimizer.zero_grad()
        whole, low = net.streams(small)
        loss = (whole - large).abs().mean() + 0.5 * (low - large).abs().mean()
        loss.backward()
        assert [weight.grad is not None for weight in residual] == [count >= fixed] * len(residual)
        optimizer.step()
    for name, weight in done.net.state_dict().items():
        assert torch.allclose(weight, net.state_dict()[name], atol=2e-5), name  # a step is 5e-4


def test_the_second_stream_learns_from_the_step_of_its_release_on(pairs, tmp_path):
    """After 4 frozen steps it is what it was; one step more, and it is not, and its own loss counts."""
    start = small_model()
    plan = how(steps=9, frozen_steps=4, low_weight=0.5, ema=0.0)
    for steps, same in ((4, True), (1, False)):
        done = train(start, pairs, plan, out=tmp_path, stop_after=steps, quiet=True)
        for name, weight in done.net.state_dict().items():
            if "residual" in name and ("first" in name or "last" in name):
                assert torch.equal(weight, start.net.state_dict()[name]) == same, name
    logged = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    plan = how(steps=9, frozen_steps=4, ema=0.0)  # without the second loss
    train(start, pairs, plan, out=tmp_path / "other", stop_after=4, quiet=True)
    alone = json.loads((tmp_path / "other" / "log.jsonl").read_text())["loss"]
    assert logged[0] > alone  # it is in the loss from the start, though nothing learns from it yet


def test_the_rate_is_halved_at_given_steps():
    plan = how(rate=8e-4, last_rate=8e-4, warmup=0, halve=(3, 6), steps=10)
    assert [plan.rate_at(step) for step in (0, 2, 3, 5, 6, 9)] == [8e-4, 8e-4, 4e-4, 4e-4, 2e-4, 2e-4]


def test_long_gradients_are_clipped(pairs):
    seen = []
    for clip in (0.0, 1e-3):
        start = small_model()
        lengths = []
        original = torch.optim.Adam.step

        def step(self, *args, lengths=lengths, original=original):
            grads = [weight.grad for group in self.param_groups for weight in group["params"]]
            lengths.append(float(torch.stack([grad.norm() for grad in grads]).norm()))
            return original(self, *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim.Adam, "step", step)
            train(start, pairs, how(steps=3, clip=clip), quiet=True)
        seen.append(lengths)
    assert min(seen[0]) > 1e-2
    assert max(seen[1]) == pytest.approx(1e-3, rel=1e-3)


def test_statistics_of_normalization_are_trained(pairs):
    """Also those of the averaged weights; and a stopped run goes on with them."""
    torch.manual_seed(1)
    start = models.build("srresnet", scale=2, blocks=1, width=8)
    done = train(start, pairs, how(steps=6), quiet=True)
    before, after = start.net.blocks[0].bn1, done.net.blocks[0].bn1
    assert int(after.num_batches_tracked) == 6
    assert not torch.equal(after.running_var, before.running_var)
    assert not done.net.training


def test_a_stopped_run_with_normalization_ends_the_same(pairs, tmp_path):
    torch.manual_seed(1)
    start = models.build("srresnet", scale=2, blocks=1, width=8, shared=True)
    whole = train(start, pairs, how(steps=6), quiet=True)
    train(start, pairs, how(steps=6), out=tmp_path, stop_after=3, quiet=True)
    parts = train(start, pairs, how(steps=6), out=tmp_path, quiet=True)
    assert torch.equal(weights(whole), weights(parts))


def test_colours_can_stay_in_their_order():
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 200
    pairs = Pairs.from_images([red], 2)
    for colours in (True, False):
        small, large = pairs.batch(16, 8, torch.Generator().manual_seed(3), colours=colours)
        assert bool((small[:, 1:] == 0).all() and (large[:, 1:] == 0).all()) != colours


def test_another_plan_does_not_go_on_from_the_checkpoint(pairs, tmp_path):
    train(small_model(), pairs, how(), out=tmp_path, stop_after=2, quiet=True)
    with pytest.raises(UsageError, match="another plan"):
        train(small_model(), pairs, how(rate=1e-4), out=tmp_path, quiet=True)


def test_other_images_do_not_go_on_from_the_checkpoint(pairs, tmp_path):
    train(small_model(), pairs, how(), out=tmp_path, stop_after=2, quiet=True)
    others = Pairs.from_images([np.full((40, 40, 3), 99, np.uint8)], 2)
    with pytest.raises(UsageError, match="other images"):
        train(small_model(), others, how(), out=tmp_path, quiet=True)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_one_sentence(pairs, tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(UsageError, match=r"checkpoint\.pt is no complete checkpoint"):
        train(small_model(), pairs, how(), out=tmp_path, quiet=True)


def test_a_loss_that_is_not_a_number_ends_the_run(pairs):
    model = small_model()
    with torch.no_grad():
        model.net.conv_first.weight[0] = float("nan")
    with pytest.raises(ModelError, match="lower the learning rate"):
        train(model, pairs, how(steps=2), quiet=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"loss": "l3"}, "l1, l2"), ({"precision": "int4"}, "bf16"), ({"patch": 90}, "no image has 180 pixels")],
)
def test_plans_that_cannot_work(pairs, change, message):
    with pytest.raises(UsageError, match=message):
        train(small_model(), pairs, how(**change), quiet=True)


def test_wrong_scale_and_missing_stream(pairs):
    with pytest.raises(UsageError, match="x2"):
        train(models.build("etds", scale=3, blocks=1, width=8), pairs, how(), quiet=True)
    with pytest.raises(UsageError, match="low_weight"):
        train(models.build("plain", scale=2, blocks=1, width=8), pairs, how(low_weight=0.5), quiet=True)


def test_crops_are_aligned_pieces_of_the_images():
    images = [image(k, 32 + 8 * k, 44 - 6 * k) for k in range(2)]
    pairs = Pairs.from_images(images, 2)
    small, large = pairs.batch(16, 8, torch.Generator().manual_seed(3))
    cut = [p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in images]
    views = []
    for p in cut:
        for turned in (p, p.swapaxes(0, 1)):
            views += [turned[::a, ::b] for a in (1, -1) for b in (1, -1)]
    for k in range(16):
        piece = (large[k].permute(1, 2, 0) * 255).round().byte().numpy()
        partner = (small[k].permute(1, 2, 0) * 255).round().byte().numpy().astype(int)
        found = [other for view in views for other in partners(view, piece)]
        assert found, "the large crop is no piece of an image"
        # a turned image may round the other way
        assert min(np.abs(other - partner).max() for other in found) <= 1


def partners(view: np.ndarray, piece: np.ndarray) -> list[np.ndarray]:
    """What belongs to `piece` in the small version of `view`, wherever and in whatever colours it occurs."""
    found = []
    for colours in itertools.permutations(range(3)):
        coloured = view[..., colours]
        windows = np.lib.stride_tricks.sliding_window_view(coloured, (16, 16), axis=(0, 1))
        for top, left in np.argwhere((windows[::2, ::2].transpose(0, 1, 3, 4, 2) == piece).all((2, 3, 4))):
            found.append(shrink(coloured, 2)[top : top + 8, left : left + 8].astype(int))
    return found


def test_crops_depend_on_the_generator_alone(pairs):
    one = pairs.batch(4, 8, torch.Generator().manual_seed(5))
    two = pairs.batch(4, 8, torch.Generator().manual_seed(5))
    other = pairs.batch(4, 8, torch.Generator().manual_seed(6))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0], other[0])


def test_the_rate_is_halved_at_milestones():
    """CRAFT: constant, halved after 250,000, 400,000, 450,000 and 475,000 of 500,000 steps."""
    plan = Training(500_000, rate=2e-4, last_rate=2e-4, warmup=0, halve=(250_000, 400_000, 450_000, 475_000))
    steps = (0, 249_999, 250_000, 400_000, 450_000, 499_999)
    assert [plan.rate_at(step) for step in steps] == pytest.approx([2e-4, 2e-4, 1e-4, 5e-5, 2.5e-5, 1.25e-5])


def test_the_loss_on_edges():
    """Zero on equal images; of one bright pixel, what the pyramid loses of it, written out."""
    image_ = torch.rand(2, 3, 12, 10)
    assert float(edge_loss(image_, image_)) == pytest.approx(1e-6)
    row = torch.tensor([0.05, 0.25, 0.4, 0.25, 0.05])
    dot = torch.zeros(1, 3, 16, 16)
    dot[..., 8, 8] = 1
    smooth = torch.zeros(16)
    smooth[6:11] = row
    again = torch.zeros(16)
    for place in range(0, 16, 2):
        for k in range(5):
            if 0 <= place + k - 2 < 16:
                again[place + k - 2] += 2 * smooth[place] * row[k]
    expected = dot - torch.outer(again, again)
    assert float(edge_loss(dot, torch.zeros_like(dot))) == pytest.approx(float(expected.abs().mean()), abs=2e-6)


def test_the_loss_on_edges_is_added(pairs, tmp_path):
    logged = []
    for weight in (0.0, 1.0):
        train(small_model(), pairs, how(steps=1, edge_weight=weight), out=tmp_path / str(weight), quiet=True)
        logged.append(json.loads((tmp_path / str(weight) / "log.jsonl").read_text())["loss"])
    assert logged[1] > logged[0] + 1e-3
    with pytest.raises(UsageError, match="edge_weight"):
        train(small_model(), pairs, how(edge_weight=1.0, low_weight=0.5), quiet=True)


def test_a_share_of_the_loss_is_that_of_luma(pairs, tmp_path):
    """Of a difference that luma does not show, the rest is left; one of grey costs what it costs."""
    black, hue = torch.zeros(1, 3, 4, 4), torch.tensor([0.587, -0.299, 0.0]).view(1, 3, 1, 1)
    for share in (0.0, 0.25, 1.0):
        loss = with_luma(torch.nn.functional.l1_loss, share)
        assert float(loss(black + hue, black)) == pytest.approx((1 - share) * (0.587 + 0.299) / 3, abs=1e-7)
        assert float(loss(black + 0.3, black)) == pytest.approx(0.3)
    logged = []
    for share in (0.0, 0.8):
        train(small_model(), pairs, how(steps=1, luma=share), out=tmp_path / str(share), quiet=True)
        logged.append(json.loads((tmp_path / str(share) / "log.jsonl").read_text())["loss"])
    assert abs(logged[1] - logged[0]) > 1e-4


def test_crops_cut_beforehand_are_the_same_and_resume_exactly(tmp_path):
    rng = np.random.default_rng(0)
    held = Pairs.from_images([rng.integers(0, 256, (40, 36, 3), np.uint8) for _ in range(2)], 2)
    apart = dataclasses.replace(held, apart=True)
    plan = Training(steps=6, batch=2, patch=8, precision="float32")
    model = models.build("etds", scale=2, blocks=1, width=8)
    one = train(model, held, plan, quiet=True)
    train(model, apart, plan, out=tmp_path, stop_after=2, quiet=True)
    other = train(model, apart, plan, out=tmp_path, quiet=True)
    for name, value in one.net.state_dict().items():
        assert torch.equal(value, other.net.state_dict()[name]), name
