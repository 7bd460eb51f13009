"""Networks that choose their bits: files, copies, what they start from, and what is not asked of them."""

import copy

import pytest
import torch

from sharpbit import model as models
from sharpbit.cost import bitops
from sharpbit.errors import UsageError
from sharpbit.quant import recorded
from sharpbit.quant.adaptive import Mixed, _Taken, chosen_bits, inherit, spent
from sharpbit.quant.context import edge_score, edge_scores
from sharpbit.quant.core import METHODS, insert_quantizers
from sharpbit.quant.distill import reading, transfer
from sharpbit.quant.freeze import freeze
from sharpbit.quant.grid import Fixed
from sharpbit.quant.method.cabm import Table, samples
from sharpbit.quant.plan import Plan, Rule
from sharpbit.quant.qat.placement import placement

WIDTHS = (4, 6, 8)


def images(count=3, size=12):
    """From flat to noisy, so that the choices differ."""
    x = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3))
    return x * torch.linspace(0.01, 1, count).view(-1, 1, 1, 1)


def edsr(method="cadyq", widths=WIDTHS):
    torch.manual_seed(0)
    model = models.build("edsr", scale=2, blocks=2, width=8)
    plan = placement("edsr", widths, 8, width=8)
    return recorded.calibrate(recorded.insert_quantizers(model, plan, method), [images()])


def lively(model):
    """Selectors that do not all say the same."""
    for part in model.net.modules():
        if isinstance(part, Mixed):
            part.selector.linear.weight.data.normal_(generator=torch.Generator().manual_seed(part.place))
    return model


def table_model():
    cadyq = lively(edsr())
    model = recorded.insert_quantizers(
        models.build("edsr", scale=2, blocks=2, width=8), placement("edsr", WIDTHS, 8, width=8), "cabm"
    )
    inherit(model.net, cadyq.net.state_dict())
    table = Table.build(samples(cadyq.net, images(6)), WIDTHS)
    model.net.context.fill(table)
    return cadyq, model, table


def test_a_selector_starts_at_the_last_option_where_nothing_happens():
    model = edsr()
    with torch.no_grad():
        model.net(torch.zeros(1, 3, 12, 12))
    assert chosen_bits(model.net)[0].tolist() == [8] * 4


def test_each_patch_is_as_if_it_were_alone():
    net = lively(edsr()).net
    with torch.no_grad():
        whole, bits = net(images()), chosen_bits(net)
        assert len(set(map(tuple, bits.tolist()))) > 1
        for k, one in enumerate(images()):
            torch.testing.assert_close(net(one[None]), whole[k : k + 1], rtol=0, atol=1e-5)
            assert torch.equal(chosen_bits(net)[0], bits[k])


def test_a_copy_looks_with_eyes_of_its_own():
    net = lively(edsr()).net.train()
    net(images()).sum().backward()
    twin = copy.deepcopy(net)
    assert twin.context is not net.context
    assert not twin.context.spent
    twin(images(5))
    assert len(chosen_bits(twin)) == 5
    assert len(chosen_bits(net)) == 3


@pytest.mark.parametrize("make", [lambda: lively(edsr()), lambda: table_model()[1]], ids=["cadyq", "cabm"])
def test_a_file_brings_back_the_choices(make, tmp_path):
    model = make()
    models.save(model, tmp_path / "a.safetensors")
    again = models.load(tmp_path / "a.safetensors")
    assert again.history == model.history
    with torch.no_grad():
        assert torch.equal(again.net(images()), model.net.eval()(images()))
    assert torch.equal(chosen_bits(again.net), chosen_bits(model.net))
    assert model.header().receptive_field is None, "choices are made of the whole patch: no tile is exact"


def test_a_table_gives_each_patch_the_bits_of_its_score():
    cadyq, model, table = table_model()
    x = images(6)
    with torch.no_grad():
        model.net(x)
    bytes_ = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    expected = [[WIDTHS[k] for k in table.at(edge_score(one)).options] for one in bytes_]
    assert chosen_bits(model.net).tolist() == expected
    with torch.no_grad():
        cadyq.net(x)
    assert chosen_bits(cadyq.net).tolist() == expected, "each score was seen, and they differ"
    fewer = recorded.insert_quantizers(
        models.build("edsr", scale=2, blocks=3, width=8), placement("edsr", WIDTHS, 8, width=8), "cabm"
    )
    fewer.net.context.fill(table)
    with pytest.raises(UsageError, match="the table is for 4 quantizers"):
        fewer.net(x)
    fewer.net.context.scores = torch.zeros(0)
    with pytest.raises(UsageError, match="no table of bits yet"):
        fewer.net(x)


def test_every_option_begins_with_the_range_of_the_single_quantizer():
    teacher, student = edsr("pams", 8), edsr("cadyq")
    left = inherit(student.net, teacher.net.state_dict())
    assert left
    assert all(".selector." in name for name in left)
    state = student.net.state_dict()
    for name, value in teacher.net.state_dict().items():
        if name.endswith("conv2.act.range.alpha"):
            for k in range(3):
                assert torch.equal(state[name.replace(".range", f".options.{k}.range")], value)


def test_tokens_of_a_patch_share_its_choice():
    torch.manual_seed(1)
    model = models.build("elan", scale=2, blocks=1, width=15)
    model = recorded.insert_quantizers(model, placement("elan", WIDTHS, 8, width=15), "cadyq")
    model = lively(recorded.calibrate(model, [images(2, 16)]))
    with torch.no_grad():
        model.net(images(4, 20))
    assert chosen_bits(model.net).shape == (4, 17)
    query = model.net.blocks[0].attention[0].scores[0].query.act
    assert query.selector.linear.in_features == 5 + 2


def test_training_reaches_selectors_and_every_range():
    net = lively(edsr()).net.train()
    METHODS["cadyq"].stage(net, 2)
    (net(images()).square().sum() + METHODS["cadyq"].loss(net)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert all(part.selector.linear.weight.grad.any() for part in net.modules() if isinstance(part, Mixed))


def test_the_bit_loss_falls_where_fewer_bits_are_likelier():
    net = lively(edsr()).net.train()
    METHODS["cadyq"].stage(net, 100)
    assert net.context.bit_weight == pytest.approx(2e-4)
    net(images())
    METHODS["cadyq"].loss(net).backward()
    slopes = [part.selector.linear.bias.grad for part in net.modules() if isinstance(part, Mixed)]
    assert all(slope[0] <= 0 <= slope[2] for slope in slopes)
    assert any(slope.any() for slope in slopes)
    assert all(torch.equal(choice.share > 0, torch.ones(3, dtype=torch.bool)) for choice in spent(net))


@pytest.mark.parametrize("make", [edsr, lambda: table_model()[1]], ids=["cadyq", "cabm"])
def test_the_cost_is_counted_at_the_widest(make):
    layers = {layer.name: layer for layer in bitops.count(make().net, (24, 20)).layers}
    for k in range(2):
        for name in (f"blocks.{k}.conv1", f"blocks.{k}.conv2"):
            assert (layers[name].act, layers[name].weight) == (8, 8), name
    assert layers["head"].act == 32


@pytest.mark.parametrize("make", [lambda: lively(edsr()), lambda: table_model()[1]], ids=["cadyq", "cabm"])
def test_frozen_each_image_has_the_grid_that_it_chose(make):
    """Weights are integers then; what is chosen, and what comes of it, is as before, also of an image with a NaN."""
    net, x = make().net.eval(), images()
    frozen = freeze(net)
    assert not any(isinstance(part, Mixed | Fixed) for part in frozen.modules())
    with torch.no_grad():
        assert torch.allclose(frozen(x), net(x), atol=1e-5)
        assert len({tuple(row) for row in chosen_bits(net).tolist()}) > 1, "not all images choose alike"
        x[0, 0, 3, 3] = torch.nan
        seen = torch.isnan(frozen(x)).flatten(1)
    assert seen[0].all()
    assert not seen[1:].any()


@pytest.mark.parametrize("released", [False, True])
def test_edge_scores_of_a_batch_are_those_of_its_images(released):
    x = torch.rand(3, 3, 17, 24, generator=torch.Generator().manual_seed(6))
    x *= torch.tensor([0.1, 1, 0.4])[:, None, None, None]
    bytes_ = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    expected = [edge_score(one, released=released) for one in bytes_]
    assert edge_scores(x, torch.tensor(released)).tolist() == expected


def test_what_has_no_choice():
    net = models.build("edsr", scale=2, blocks=1, width=8).net
    plan = Plan((Rule("blocks.*.conv1", WIDTHS),))
    with pytest.raises(UsageError, match="choice of bits, \\(4, 6, 8\\), which this method does not make"):
        insert_quantizers(net, plan, METHODS["pams"])
    with pytest.raises(UsageError, match="at a site; add selector_options"):
        insert_quantizers(net, Plan((Rule("blocks.*.skip", WIDTHS),)), METHODS["cadyq"])
    for widths in ((4,), (4, 4), (4, 32), ()):
        with pytest.raises(UsageError, match="two or more different widths"):
            Rule("*", widths)
    with pytest.raises(UsageError, match="choose their bits"):
        spent(net)


def test_what_is_read_of_a_network():
    net = models.build("edsr", scale=2, blocks=2, width=8).net
    with reading(net, ["feature", "blocks.*.output"]) as seen, torch.no_grad():
        net(images())
    assert list(seen) == ["blocks.0.output", "blocks.1.output", "feature"]
    other = {name: value + 1 for name, value in seen.items()}
    assert float(transfer(seen, seen, 1000, 100)) == 0
    last, both = float(transfer(seen, other, 1000)), float(transfer(seen, other, 1000, 100))
    assert 0 < last < both
    with pytest.raises(UsageError, match="'body' names no site of EDSR"), reading(net, ["body"]):
        pass


@pytest.mark.parametrize("samples", [2, 6])
def test_the_gradient_of_a_choice_is_that_of_the_mean(samples):
    """Forward the one that is taken, backward the mean of all, weighed; of three samples a patch too."""
    torch.manual_seed(3)
    ways = [torch.randn(samples, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    likely = torch.softmax(torch.randn(2, 3, dtype=torch.float64), 1).requires_grad_()
    taken = torch.nn.functional.one_hot(likely.argmax(1), 3).double()
    y = _Taken.apply(taken, likely, *ways)
    rows = [weights.repeat_interleave(samples // 2, 0)[:, :, None, None] for weights in (taken, likely)]
    hard, soft = (sum(row[:, k] * way for k, way in enumerate(ways)) for row in rows)
    assert torch.equal(y, hard)
    weights = torch.randn_like(y)
    ours, theirs = (torch.autograd.grad(one, (likely, *ways), weights) for one in (y, soft))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_frozen_windows_have_the_grid_of_their_image():
    """ELAN rounds windows of pixels, those of an image one after another."""
    torch.manual_seed(2)
    plain = models.build("elan", scale=2, blocks=2, width=15)
    quantized = recorded.insert_quantizers(plain, placement("elan", WIDTHS, 8, width=15), "cadyq")
    net, x = lively(recorded.calibrate(quantized, [images(size=16)])).net.eval(), images(size=16)
    frozen = freeze(net)
    with torch.no_grad():
        expected = net(x)
        assert torch.allclose(frozen(x), expected, atol=1e-4 * float(expected.std()))
        assert torch.allclose(frozen(x[1:]), expected[1:], atol=1e-4 * float(expected.std())), "whatever the batch is"
