"""Two passes over shared weights, with every base method, in every network of the paper."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sharpbit import model as models
from sharpbit.errors import UsageError
from sharpbit.quant import recorded
from sharpbit.quant.adaptive import Mixed, inherit
from sharpbit.quant.freeze import freeze
from sharpbit.quant.grid import Fixed
from sharpbit.quant.layers import QuantConv2d
from sharpbit.quant.method.pams import MaxScale
from sharpbit.quant.qat.placement import placement
from sharpbit.quant.refqsr import (
    QueryPass,
    ReferencePass,
    Refined,
    Switch,
    TwoPass,
    begin,
    by_role,
    published,
    query,
    reference,
)

SMALL = {
    "srresnet": {"scale": 2, "blocks": 4, "width": 8},
    "carn": {"scale": 2, "width": 8},
    "elan": {"scale": 2, "blocks": 2, "width": 30},
}
BASES = {
    "pams": (8, 4, {}),
    "ddtb": (8, 4, {"gate": True, "share": 0.5}),
    "cadyq": ((4, 6, 8), 3, {}),
}


def images(count: int = 2, side: int = 16, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def based(arch: str, method: str = "pams") -> models.Model:
    """A network quantized by the base method, with numbers in all ranges."""
    torch.manual_seed(5)
    model = models.build(arch, **SMALL[arch])
    for part in model.net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    high, _, options = BASES[method]
    plan = placement(
        arch, high, high if isinstance(high, int) else 8, width=model.config.width, options=of(arch, options)
    )
    return recorded.calibrate(recorded.insert_quantizers(model, plan, method), [images()])


def of(arch: str, options):
    if arch == "elan":
        return {}
    return {**options, "gate": SMALL[arch]["width"]} if options else {}


def two_pass(arch: str, method: str = "pams", **how) -> models.Model:
    base = based(arch, method)
    high, low, options = BASES[method]
    plan = published(arch, base.config, method, high, low, options=of(arch, options), **how)
    model = recorded.refqsr(models.build(arch, **SMALL[arch]), plan)
    begin(model.net, base.net.state_dict(), [images(4)])
    return model


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize("method", BASES)
def test_the_first_pass_is_the_base_network(arch, method):
    base, model = based(arch, method), two_pass(arch, method)
    x = images()
    with torch.no_grad():
        assert torch.equal(model.net(x), base.net(x))


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize("method", BASES)
def test_the_second_pass_has_few_bits_and_uses_the_reference(arch, method):
    model = two_pass(arch, method)
    x = images(4)
    with torch.no_grad():
        (_, other), (_, refined) = list_of_passes(model.net, x)
        assert torch.isfinite(refined).all()
        first, second = ReferencePass(model.net), QueryPass(model.net)
        image, *features = first(x[:2])
        again = second(x[2:], *features)
        assert torch.equal(image, other)
        assert torch.equal(again, refined)
        changed = second(x[2:], *(feature.flip(0) for feature in features))
        assert not torch.equal(changed, refined)
        with pytest.raises(UsageError, match="after its reference"):  # nothing is left of a pass
            query(model.net, x[2:], ())
        assert not torch.equal(model.net(x[2:]), refined)


def list_of_passes(net, x):
    return [(role, run(part)) for role, (run, (part,)) in enumerate(by_role(net, x))]


def test_what_has_which_bits_in_srresnet():
    model = two_pass("srresnet")
    net = model.net
    assert [type(block).__name__ for block in net.blocks] == ["Block", "Block", "Block", "Refined"]
    assert net.blocks[0].conv1.act.bits == net.blocks[0].conv1.kernel.bits == 8
    for k in (1, 2):
        for conv in (net.blocks[k].conv1, net.blocks[k].conv2):
            assert [option.bits for option in conv.act.options] == [8, 4]
            assert [option.bits for option in conv.kernel.options] == [8, 6]
    last = net.blocks[3]
    assert last.block.conv1.act.bits == 8
    assert last.refer.residual.conv2.act.bits == last.refer.residual.conv1.kernel.bits == 8
    assert last.refer.query.bits == last.refer.reference.bits == 4
    assert not hasattr(net.fuse, "act")


@pytest.mark.parametrize(
    ("arch", "config", "queries", "replaced"),
    [
        ("srresnet", {"scale": 4}, [f"blocks.{k}" for k in range(1, 14)], ["blocks.14", "blocks.15"]),
        (
            "carn",
            {"scale": 4},
            [f"body.blocks.{k // 3}.blocks.{k % 3}" for k in range(1, 8)],
            ["body.blocks.2.blocks.2"],
        ),
        (
            "elan",
            {"scale": 4},
            [f"blocks.{k // 2}.{part}.{k % 2}" for k in range(1, 22) for part in ("local", "attention")],
            ["blocks.11.local.0", "blocks.11.local.1"],
        ),
    ],
)
def test_the_published_blocks(arch, config, queries, replaced):
    sizes = models.ARCHITECTURES[arch].config(**config)
    plan = published(arch, sizes, "pams", 8, 4)
    assert list(plan.queries) == queries
    assert list(plan.replaced) == replaced
    assert plan.rectified is (arch == "carn")


@pytest.mark.parametrize(
    ("high", "low", "medium"), [(8, 5, 6), (8, 4, 6), (8, 3, 6), (4, 3, 4), (4, 2, 3), ((4, 6, 8), 3, 6)]
)
def test_weights_of_queries_lie_halfway(high, low, medium):
    method = "pams" if isinstance(high, int) else "cadyq"
    assert published("srresnet", models.build("srresnet", scale=2).config, method, high, low).medium == medium


def test_bounds_belong_to_layer_and_role():
    model = two_pass("srresnet")
    act = model.net.blocks[1].conv1.act
    assert isinstance(act, Switch)
    own, low = (option.range.alpha for option in act.options)
    assert own is not low
    assert torch.equal(own, low)  # they begin alike
    bounds = [part.range for part in model.net.modules() if isinstance(part, Fixed)]
    assert len(bounds) == len(set(map(id, bounds)))


def test_a_switch_does_what_the_pass_says():
    switch = Switch([Fixed(MaxScale(), bits) for bits in (2, 8)])
    x = torch.linspace(0, 1, 50)[None]
    for option in switch.options:
        option.range.observe(x)
    assert [len(image.unique()) for image in (reference(switch, x)[0], query(switch, x, ()), switch(x))] == [2, 50, 2]


def test_the_weights_are_shared():
    model = two_pass("srresnet")
    net = model.net
    x = images(4)
    with torch.no_grad():
        before = list_of_passes(net, x)
        net.blocks[1].conv1.weight.mul_(1.5)
        after = list_of_passes(net, x)
    for (_, a), (_, b) in zip(before, after, strict=True):
        assert not torch.equal(a, b)


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize("method", BASES)
def test_gradients_reach_both_roles(arch, method):
    net = two_pass(arch, method).net.train()
    loss = sum(run(part).square().mean() for run, (part,) in by_role(net, images(4)))
    loss.backward()
    wanted = {
        "refer.residual.conv1",
        "refer.query.range",
        "refer.reference.range",
        "options.0.range",
        "options.1.range",
    }
    for name in wanted:
        found = [(key, own.grad) for key, own in net.named_parameters() if name in key and "gate" not in key]
        assert found, name
        assert any(grad is not None and bool(grad.abs().max() > 0) for _, grad in found), name


@pytest.mark.parametrize("method", BASES)
@pytest.mark.parametrize("how", [{}, {"form": "concat"}, {"form": "self"}, {"pooled": False}, {"refers": 0}])
def test_a_saved_file_is_the_same_network(tmp_path, method, how):
    model = two_pass("srresnet", method, **how)
    models.save(model, tmp_path / "m.safetensors")
    back = models.load(tmp_path / "m.safetensors")
    x = images(4)
    with torch.no_grad():
        for (_, a), (_, b) in zip(list_of_passes(model.net, x), list_of_passes(back.net, x), strict=True):
            assert torch.equal(a, b)


def test_concat_begins_as_the_difference():
    difference, concat = two_pass("srresnet"), two_pass("srresnet", form="concat")
    own, other = (model.net.blocks[3].refer.residual for model in (difference, concat))
    for part in (own, other):
        for conv in (part.conv1, part.conv2, part.other):
            if conv is not None:
                conv.act.bits = conv.kernel.bits = 32
    a, b = torch.randn(2, 1, 8, 6, 6)
    assert torch.allclose(own(a, b), other(a, b), atol=1e-4)


def test_one_that_is_its_own_reference_needs_no_first_pass():
    net = two_pass("srresnet", form="self").net
    with torch.no_grad():
        assert torch.isfinite(query(net, images(), ())).all()
    net = two_pass("srresnet").net
    with torch.no_grad(), pytest.raises(UsageError, match="after its reference"):
        query(net, images(), ())


def test_features_are_those_of_as_many_references():
    net = two_pass("srresnet").net
    with torch.no_grad():
        _, features = reference(net, images(3))
        with pytest.raises(UsageError, match="each of the 2 queries takes the features of one reference, and 3"):
            query(net, images(2), features)


def test_a_correction_begins_as_its_block():
    block = two_pass("srresnet").net.blocks[3]
    assert isinstance(block, Refined)
    factor = block.block.bn1.weight / (block.block.bn1.running_var + block.block.bn1.eps).sqrt()
    expected = block.block.conv1.weight * factor[:, None, None, None]
    assert torch.allclose(block.refer.residual.conv1.weight, expected)


def test_bounds_of_a_correction_are_those_of_differences():
    net = two_pass("srresnet").net
    seen = []
    conv = net.blocks[3].refer.residual.conv1
    conv.register_forward_pre_hook(lambda part, args: seen.append(args[0]))
    with torch.no_grad():
        list_of_passes(net, torch.cat([images(4), images(4).roll(1, 0)]))
    widest = seen[0].abs().flatten(1).amax(1).mean()
    assert float(conv.act.range.alpha.detach()) == pytest.approx(float(widest), rel=0.3)
    assert not torch.equal(conv.act.range.alpha, net.blocks[3].block.conv1.act.range.alpha)


def test_selectors_of_the_corrections_are_numbered_and_see_the_query():
    net = two_pass("srresnet", "cadyq").net
    mixed = [part for part in net.modules() if isinstance(part, Mixed)]
    assert [part.place for part in mixed] == list(range(len(mixed))) == list(range(10))
    assert all(part.__dict__["context"] is net.context for part in mixed)
    with torch.no_grad():
        _, features = reference(net, images())
    assert sorted(net.context.spent) == list(range(8))
    with torch.no_grad():
        query(net, images(), features)
    assert sorted(net.context.spent) == [0, 1, 8, 9]  # block 0 and the correction


@pytest.mark.parametrize("method", BASES)
def test_threads_share_a_network_and_mix_nothing(method):
    """Each thread runs references and queries of its own, of other sizes, while the others do."""
    net = two_pass("srresnet", method).net.eval()
    shown = [images(2 + k % 2, 12 + 3 * k, seed=k) for k in range(6)]
    meet = threading.Barrier(3)

    def both(x):
        with torch.inference_mode():
            image, features = reference(net, x)
            refined = query(net, x.flip(0), features)
        chosen = [one.bits for same in net.context.spent.values() for one in same] if method == "cadyq" else []
        return [image, refined, *chosen]

    def in_step(x):
        torch.set_num_threads(1)
        meet.wait(60)
        return both(x)

    alone = [both(x) for x in shown]
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            for one, other in zip(alone, pool.map(in_step, shown), strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_pass_that_fails_leaves_nothing_behind():
    net = two_pass("srresnet").net
    with torch.no_grad():
        expected = net(images())
        with pytest.raises(UsageError):
            query(net, images(), ())
        assert torch.equal(net(images()), expected)


def test_a_neutral_refer_before_its_block_is_at_first_the_network_without_it():
    """With the block kept, a query runs it with few bits, as if all blocks but the first had few."""
    kept, without = two_pass("srresnet", neutral=True, keep_block=True), two_pass("srresnet", refers=0)
    last = kept.net.blocks[3]
    assert [option.bits for option in last.block.conv1.act.options] == [8, 4]
    assert last.refer.residual.conv1.act.bits == 8
    x = images(4)
    for (_, one), (_, other) in zip(list_of_passes(kept.net, x), list_of_passes(without.net, x), strict=True):
        assert torch.equal(one, other)


def test_without_refer_its_blocks_have_many_bits():
    """The ablation of table 5."""
    plan = published("srresnet", models.build("srresnet", scale=4).config, "pams", 8, 4, form="none")
    assert plan.queries[-1] == "blocks.13"
    assert plan.replaced == ()
    net = two_pass("srresnet", form="none").net
    assert net.blocks[3].conv1.act.bits == 8
    assert [option.bits for option in net.blocks[2].conv1.act.options] == [8, 4]


@pytest.mark.parametrize("matching", ["pool-then-normalize", "centred"])
def test_other_ways_to_compare_are_kept_in_the_file_and_find_other_places(matching, tmp_path):
    model, printed = (two_pass("srresnet", matching=way) for way in (matching, "normalize-then-pool"))
    models.save(model, tmp_path / "m.safetensors")
    again = models.load(tmp_path / "m.safetensors")
    x = images(4)
    (_, one), (_, other), (_, old) = (list_of_passes(part.net.eval(), x)[1] for part in (model, again, printed))
    assert torch.equal(one, other)
    assert not torch.equal(one, old)


def test_it_can_begin_in_float():
    model = models.build("srresnet", **SMALL["srresnet"])
    new = recorded.refqsr(model, published("srresnet", model.config, "pams", 8, 4))
    assert begin(new.net, model.net.state_dict(), [images(4)]) == 1
    assert all(torch.isfinite(own).all() for own in new.net.parameters())
    again = recorded.refqsr(model, published("srresnet", model.config, "pams", 8, 4))
    with pytest.raises(UsageError, match="not one batch"):
        begin(again.net, model.net.state_dict(), [])


@pytest.mark.parametrize(
    ("arch", "config", "how", "message"),
    [
        ("espcn", {"scale": 2}, {}, "two convolutions, which espcn does not have"),
        (
            "carn",
            {"scale": 2, "groups": 4},
            {},
            "body.blocks.0.blocks.0 of this carn runs several times; read it with unrolled=true",
        ),
        ("srresnet", {"scale": 2, "blocks": 4}, {"refers": 3}, "3 cannot give way"),
        ("srresnet", {"scale": 2}, {"form": "sum"}, "difference, concat, self, none, not 'sum'"),
        ("srresnet", {"scale": 2}, {"matching": "exact"}, "pool-then-normalize, centred, not 'exact'"),
    ],
)
def test_what_the_paper_has_not(arch, config, how, message):
    with pytest.raises(UsageError, match=message):
        published(arch, models.build(arch, **config).config, "pams", 8, 4, **how)


def test_names_that_the_network_does_not_have():
    model = models.build("srresnet", **SMALL["srresnet"])
    plan = published("srresnet", model.config, "pams", 8, 4).entry()
    with pytest.raises(UsageError, match=r"no block 'blocks\.9'"):
        recorded.refqsr(model, TwoPass.read({**plan, "replaced": ["blocks.9"]}))


def test_the_base_weights_all_arrive():
    base = based("srresnet", "ddtb")
    model = two_pass("srresnet", "ddtb")
    fresh = recorded.refqsr(models.build("srresnet", **SMALL["srresnet"]), model.history[-1].how)
    from sharpbit.quant.refqsr.network import _sources

    left = inherit(fresh.net, base.net.state_dict(), _sources)
    assert left
    assert all(".refer." in name for name in left)
    assert isinstance(fresh.net.blocks[1].conv1, QuantConv2d)


@pytest.mark.parametrize("arch", SMALL)
def test_each_pass_is_frozen_alone(arch):
    """So it can be exported; biases, which freezing rounds, are taken away."""
    net = two_pass(arch).net
    for part in net.modules():
        if isinstance(part, QuantConv2d) and part.bias is not None:
            torch.nn.init.zeros_(part.bias)
    x = images(4)
    first, second = ReferencePass(net).eval(), QueryPass(net).eval()
    with torch.no_grad():
        image, *features = first(x[:2])
        query = second(x[2:], *features)
        first.net, second.net = freeze(first.net), freeze(second.net)
        again, *others = first(x[:2])
        assert torch.allclose(again, image, atol=1e-5)
        assert torch.allclose(second(x[2:], *others), query, atol=1e-5)
