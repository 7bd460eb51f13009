"""Quantization-aware training: each method takes its steps, with a teacher, and resumes exactly."""

import numpy as np
import pytest
import torch

from sharpbit import model as models
from sharpbit.data.pairs import Pairs
from sharpbit.errors import UsageError
from sharpbit.quant.adaptive import Mixed, chosen_bits
from sharpbit.quant.context import edge_score
from sharpbit.quant.method import cabm
from sharpbit.quant.qat.placement import placement
from sharpbit.training import Training, _groups, train
from sharpbit.verbs.qat import fake_quantize, tabulate, uncalibrated

WIDTHS = (4, 6, 8)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    return Pairs.from_images([rng.integers(0, 256, (40, 36, 3), np.uint8) for _ in range(2)], 2)


def how(**change):
    base = {"steps": 4, "batch": 2, "patch": 8, "warmup": 0, "rate": 1e-3, "range_rate": 1e-2, "epoch": 2, "ema": 0.0}
    return Training(**base | {"precision": "float32", "white": 255.0} | change)


def batches(pairs):
    return [pairs.batch(2, 8, torch.Generator().manual_seed(5))[0]]


@pytest.fixture(scope="module")
def srresnet():
    torch.manual_seed(2)
    return models.build("srresnet", scale=2, blocks=2, width=8)


def quantized(model, method, pairs, source=None):
    act = WIDTHS if method in ("cadyq", "cabm") else 4
    options = {"gate": 8, "share": 0.5} if method == "ddtb" else None
    plan = placement("srresnet", act, 8, width=8, options=options)
    return fake_quantize(model, plan, method, batches(pairs), source=source or model)


@pytest.mark.parametrize("method", ["pams", "ddtb", "cadyq"])
def test_a_method_is_trained_with_a_teacher_and_resumes_exactly(srresnet, pairs, method, tmp_path):
    start = quantized(srresnet, method, pairs)
    plan = how(distill=1000.0, distill_blocks=100.0)
    done = train(start, pairs, plan, teacher=srresnet, quiet=True)
    train(start, pairs, plan, teacher=srresnet, out=tmp_path, stop_after=3, quiet=True)
    again = train(start, pairs, plan, teacher=srresnet, out=tmp_path, quiet=True)
    state, before = done.net.state_dict(), start.net.state_dict()
    for name, value in again.net.state_dict().items():
        assert torch.equal(value, state[name]), name
    moved = [name for name, value in state.items() if not torch.equal(value, before[name])]
    assert any("range" in name for name in moved)
    assert not uncalibrated(done)
    assert any(name.endswith("conv1.weight") for name in moved)
    assert any("selector" in name for name in moved) == (method == "cadyq")


def test_the_loss_of_the_method_is_weighed(srresnet, pairs):
    """Alone, it drives selectors to fewer bits; turned round, to more."""
    start = quantized(srresnet, "cadyq", pairs)
    fewer, more = (train(start, pairs, how(own_loss=weight), quiet=True).net for weight in (1e9, -1e9))
    names = [name for name, _ in start.net.named_parameters() if name.endswith("selector.linear.bias")]
    for name in names:
        low, high = (float((net.get_parameter(name)[0] - net.get_parameter(name)[2]).detach()) for net in (fewer, more))
        assert low > high + 1e-3
    assert names


def test_bounds_follow_batches_under_autocast(srresnet, pairs):
    start = quantized(srresnet, "pams", pairs)
    done = train(start, pairs, how(precision="bf16", epoch=100), quiet=True)
    moved = [
        name for name, value in done.net.state_dict().items() if not torch.equal(value, start.net.state_dict()[name])
    ]
    assert any("alpha" in name for name in moved)
    assert not uncalibrated(done)


def test_from_float_by_pams_and_cadyq_to_a_table(srresnet, pairs, tmp_path):
    pams = train(quantized(srresnet, "pams", pairs), pairs, how(distill=1000.0), teacher=srresnet, quiet=True)
    cadyq = quantized(srresnet, "cadyq", pairs, pams)
    assert [entry.verb for entry in cadyq.history] == ["quantize"], "every range came from the PAMS model"
    cadyq = train(cadyq, pairs, how(distill=1000.0, selector_rate=1e-3), teacher=pams, quiet=True)
    cabm = tabulate(quantized(srresnet, "cabm", pairs, cadyq), cadyq, batches(pairs))
    cabm = train(cabm, pairs, how(distill=1000.0), teacher=pams, quiet=True)
    models.save(cabm, tmp_path / "cabm.safetensors")
    again = models.load(tmp_path / "cabm.safetensors")
    x = batches(pairs)[0]
    with torch.no_grad():
        assert torch.equal(again.net(x), cabm.net(x))
    assert chosen_bits(again.net).shape == (2, 4)


def test_ranges_and_selectors_have_rates_of_their_own(srresnet, pairs):
    net = quantized(srresnet, "cadyq", pairs).net
    groups, shares = _groups(net, how(selector_rate=5e-4))
    assert shares == [1, 10, 0.5]
    assert [len(group["params"]) for group in groups][1:] == [12, 8]
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    net = quantized(srresnet, "ddtb", pairs).net
    assert [len(group["params"]) for group in _groups(net, how())[0]][1] == 8, "bounds, and not the gates"


def test_what_does_not_go_together(srresnet, pairs):
    with pytest.raises(UsageError, match="go with a teacher"):
        train(srresnet, pairs, how(distill=1.0), quiet=True)
    with pytest.raises(UsageError, match="go with a teacher"):
        train(srresnet, pairs, how(), teacher=srresnet, quiet=True)
    with pytest.raises(UsageError, match="the teacher is a edsr"):
        train(srresnet, pairs, how(distill=1.0), teacher=models.build("edsr", scale=2, blocks=1, width=8), quiet=True)
    fresh = models.build("srresnet", scale=2, blocks=1, width=8)
    bare = fake_quantize(fresh, placement("srresnet", 4, 4), "pams", batches(pairs))
    next(part for name, part in bare.net.named_parameters() if "alpha" in name).data.fill_(torch.nan)
    with pytest.raises(UsageError, match="1 ranges, the first blocks"):
        train(bare, pairs, how(), quiet=True)
    with pytest.raises(UsageError, match="for a model of method cabm"):
        tabulate(srresnet, srresnet, batches(pairs))
    with pytest.raises(UsageError, match="from a model of method cadyq"):
        tabulate(quantized(srresnet, "cabm", pairs, quantized(srresnet, "pams", pairs)), srresnet, batches(pairs))


def test_a_table_may_have_the_scores_of_the_published_program(srresnet, pairs, tmp_path):
    cadyq = quantized(srresnet, "cadyq", pairs)
    for part in cadyq.net.modules():
        if isinstance(part, Mixed):
            torch.nn.init.normal_(part.selector.linear.weight)
    flat = torch.full((1, 3, 16, 16), 100 / 255)
    flat[..., 4:6, 4:6] = 0.0  # white around black, for the published program
    scores = []
    for legacy in (False, True):
        model = tabulate(quantized(srresnet, "cabm", pairs, cadyq), cadyq, [flat], legacy_edge=legacy)
        models.save(model, tmp_path / "m.safetensors", overwrite=True)
        again = models.load(tmp_path / "m.safetensors").net.context
        assert bool(again.legacy_edge) is legacy
        scores.append(int(again.scores[0]))
        calls: list[bool] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                cabm,
                "edge_scores",
                lambda images, released, calls=calls: (
                    calls.append(bool(released)) or torch.ones(len(images), dtype=torch.float64)
                ),
            )
            again.look(model.net, (flat,))
        assert calls == [legacy]
    bytes_ = (flat[0] * 255).round().byte().permute(1, 2, 0).numpy()
    assert scores == [round(edge_score(bytes_, released=legacy) * 100) for legacy in (False, True)]
    assert scores[0] != scores[1]
    state = {name: value for name, value in model.net.state_dict().items() if not name.endswith("legacy_edge")}
    model.net.load_state_dict(state)  # strictly: a file that was made before there was the switch
    assert not model.net.context.legacy_edge
