"""CRAFT against the authors' own code, with random weights and with real ones, and the traps of its published code."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sharpbit import model as models
from sharpbit.arch._attention import Attention, merge, pad, split
from sharpbit.errors import UsageError
from sharpbit.nn import Site

LIMIT = 1e-5
CASES = {
    "craft_float_x2": ("17x33", "16x32", "50x52"),  # the last is 64x64 when padded, on which the published class raises
    "craft_float_x3": ("24x40", "9x20"),
    "craft_float_x4": ("31x10", "8x35"),
    "craft_float_posbias_x2": ("18x35",),
}
PARAMETERS = {2: 737756, 3: 744251, 4: 753344}


def changed(model, **options):
    """The same weights, other options."""
    config = replace(model.config, **options)
    net = model.arch.build(config)
    net.load_state_dict(model.net.state_dict())
    return replace(model, config=config, net=net.eval())


@pytest.fixture
def small():
    torch.manual_seed(0)
    return models.build("craft", scale=2, width=16, depths=(1,), heads=2)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in CASES.items() for size in sizes])
def test_images(golden, name, size, mask):
    case = golden(name)
    net = changed(case.model("craft"), mask=mask).net
    with torch.no_grad():
        out = net(case[f"input/lr_{size}"])
    expected = case[f"output/sr_{size}_mask_{'on' if mask else 'off'}"]
    assert float((out - expected).abs().max()) < LIMIT


def test_loss_and_gradients(golden):
    case = golden("craft_float_x2")
    net = changed(case.model("craft"), mask=True, padding="reflect").net
    out = net(case["input/train_lr"])
    assert float((out.detach() - case["output/train_sr"]).abs().max()) < LIMIT
    loss = F.l1_loss(out, case["input/train_gt"])
    torch.testing.assert_close(loss, case["output/train_loss"], atol=1e-6, rtol=1e-5)
    loss.backward()
    expected = case.part("grad/")
    assert set(expected) == {name for name, _ in net.named_parameters()}
    largest = max(float(value.abs().max()) for value in expected.values())
    for name, weight in net.named_parameters():
        if ".pos." in name:  # never computed, and zero but for rounding where it is
            assert weight.grad is None
            assert float(expected[name].abs().max()) < 1e-6 * largest, name
            continue
        bound = case.tolerance["grad"]
        atol = bound["atol_fraction_of_max"] * float(expected[name].abs().max())
        torch.testing.assert_close(weight.grad, expected[name], rtol=bound["rtol"], atol=atol)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("crop", ["a", "b"])
def test_real_weights(golden, shared, crop, mask):
    case = golden("craft_real_x4")
    model = changed(models.load(shared / "weights" / "craft_x4_ntire2024.pth"), mask=mask)
    with torch.no_grad():
        out = model.net(case[f"input/lr_{crop}"].permute(2, 0, 1)[None].float() / 255)
    expected = case[f"output/sr_{crop}_mask_{'on' if mask else 'off'}"]
    assert float((out - expected).abs().max()) < LIMIT


def test_features_of_real_weights(golden, shared):
    case = golden("craft_real_x4_features")
    model = models.load(shared / "weights" / "craft_x4_ntire2024.pth")
    net = model.net.eval()
    first = net.layers[0].residual_group
    places = {
        "conv_first": net.conv_first,
        "srwab0": first.srwa_blocks[0],
        "srwab1": first.srwa_blocks[1],
        "hferb0": first.hfer_blocks[0],
        "hfb0": first.hf_blocks[0],
        **{f"layer{k}": net.layers[k] for k in range(4)},
        "norm": net.norm,
        "conv_after_body": net.conv_after_body,
    }
    seen = {}
    for name, module in places.items():
        module.register_forward_hook(lambda module, args, out, name=name: seen.update({name: out}))
    with torch.no_grad():
        out = net(case["input/lr"].permute(2, 0, 1)[None].float() / 255)
    assert float((out - case["output/sr"]).abs().max()) < LIMIT
    assert len(seen) == 11
    for name, value in seen.items():
        expected = case[f"output/feat_{name}"]
        if expected.dim() == 3:
            value = value.flatten(2).transpose(1, 2)
        bound = case.tolerance["features"]["atol_fraction_of_max"] * float(expected.abs().max())
        assert float((value - expected).abs().max()) < bound, name


@pytest.mark.parametrize("scale", PARAMETERS)
def test_published_sizes(scale):
    model = models.build("craft", scale=scale)
    assert model.parameters == PARAMETERS[scale]
    assert len(model.net.state_dict()) == 844
    assert len(list(model.net.parameters())) == 840


def test_the_position_bias_of_published_networks_has_no_effect(shared):
    """Why its computation is skipped: shown with the computation, by a hidden width of 1 as if it were not constant."""
    model = models.load(shared / "weights" / "craft_x4_ntire2024.pth")
    x = torch.rand(1, 3, 15, 20)
    with torch.no_grad():
        before = model.net(x)
        attends = [module for module in model.net.modules() if isinstance(module, Attention)]
        for attend in attends:
            for weight in attend.pos.parameters():
                weight.normal_()
        bias = attends[0].pos(model.net.biases_h)
        assert float((bias - bias[:1]).abs().max()) == 0
        kind = type(attends[0].pos)
        assert attends[0].pos.constant
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, "constant", False)
            computed = model.net(x)
    assert float((computed - before).abs().max()) < LIMIT


def test_the_mask_matters_only_where_windows_are_shifted(small):
    x = torch.rand(1, 3, 33, 17)
    with torch.no_grad():
        off, on = (changed(small, mask=mask).net(x) for mask in (False, True))
    assert float((off - on).abs().max()) > LIMIT
    blocks = small.net.layers[0].residual_group.srwa_blocks
    assert [block.attns[0].shift for block in blocks] == [(0, 0), (2, 8)]
    assert [block.attns[1].shift for block in blocks] == [(0, 0), (8, 2)]


@pytest.fixture(scope="module")
def plain():
    """CRAFT as its description reads, window after window."""
    return runpy.run_path(str(Path(__file__).parents[2] / "bench" / "craft_plain.py"))["craft"]


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (48, 63), (16, 16), (17, 33), (3, 5)])
def test_a_plain_reading_gives_the_same(small, plain, size, mask):
    """Also where published code fails: 64x64 pixels after padding, and sides that one mirror image cannot fill."""
    net = changed(small, mask=mask).net
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        out = net(x)
        assert float((out - plain(net, x, mask=mask)).abs().max()) < LIMIT
        assert float((net.to(memory_format=torch.channels_last)(x) - out).abs().max()) < LIMIT
    assert out.shape == (2, 3, 2 * size[0], 2 * size[1])


@pytest.mark.parametrize("mask", [False, True])
def test_sites_that_somebody_uses_see_the_operands_and_change_nothing(small, mask):
    net = changed(small, mask=mask).net
    x = torch.rand(2, 3, 20, 33)
    seen = {}
    with torch.no_grad():
        fused = net(x)
        for name, module in net.named_modules():
            if isinstance(module, Site):
                module.register_forward_hook(lambda module, args, out, name=name: seen.update({name: out}))
        explicit = net(x)
    assert float((fused - explicit).abs().max()) < LIMIT
    sites = {name for name, module in net.named_modules() if isinstance(module, Site)}
    assert set(seen) == sites
    assert len(sites) == 2 * 2 * 4 + 1 + 4 + 1
    weights = [value for name, value in seen.items() if name.endswith(".attention")]
    for weight in weights:
        torch.testing.assert_close(weight.sum(-1), torch.ones(weight.shape[:-1]))


def test_a_quantizer_in_place_of_a_site_is_used(small):
    class Nothing(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x)

    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = small.net(x)
        small.net.layers[0].residual_group.srwa_blocks[0].attns[0].v = Nothing()
        assert float((small.net(x) - before).abs().max()) > LIMIT


@pytest.mark.parametrize(
    ("rule", "size", "expected"),
    [
        ("mirror", 5, [0, 1, 2, 3, 4, 4, 3, 2]),
        ("mirror", 4, [0, 1, 2, 3, 3, 2, 1, 0]),  # a whole one more, where it fits already
        ("mirror", 1, [0, 0, 0, 0]),
        ("mirror", 2, [0, 1, 1, 0]),
        ("reflect", 5, [0, 1, 2, 3, 4, 3, 2, 1]),
        ("reflect", 4, [0, 1, 2, 3]),
        ("reflect", 2, [0, 1, 0, 1]),
        ("reflect", 1, [0, 0, 0, 0]),
    ],
)
def test_padding(rule, size, expected):
    x = torch.arange(float(size)).reshape(1, 1, 1, size)
    out = pad(x, 4, rule)
    assert out[0, 0, 0].tolist() == expected
    assert torch.equal(pad(x.transpose(2, 3), 4, rule), out.transpose(2, 3))


def test_windows_are_cut_and_put_back():
    x = torch.rand(2, 8, 32, 3, 5)
    windows = split(x, (4, 16))
    assert torch.equal(windows[1, 1, 0], x[1, 4:8, :16])
    assert torch.equal(merge(windows), x)


@pytest.mark.parametrize(("option", "message"), [({"heads": 5}, "even"), ({"padding": "zero"}, "mirror or reflect")])
def test_sizes_that_cannot_be(option, message):
    with pytest.raises(UsageError, match=message):
        models.build("craft", scale=2, **option)
