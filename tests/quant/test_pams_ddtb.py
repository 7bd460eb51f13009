"""PAMS and DDTB: what the authors' code gave, gradients and calibration included."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from sharpbit.errors import UsageError
from sharpbit.quant.grid import Fixed
from sharpbit.quant.method import ddtb, pams

BITS = [2, 3, 4, 8]


@pytest.fixture
def published(golden_path):
    return lambda name: {key: value.double() for key, value in load_file(golden_path(name)).items()}


def near(value, expected, limit=1e-6):
    expected = expected.reshape(value.shape)
    assert float((value - expected).detach().abs().max()) <= limit * max(float(expected.abs().max()), 1e-12)


@pytest.mark.parametrize("suffix", ["", "_pos", "_edge"])
@pytest.mark.parametrize("bits", BITS)
def test_pams_activation(published, bits, suffix):
    case = published("pams_quantizers")
    bounds = pams.MaxScale()
    bounds.alpha.data = case["input/alpha"].squeeze()
    x = case[f"input/x{suffix}"].requires_grad_()
    out = Fixed(bounds, bits)(x)
    near(out, case[f"output/b{bits}/q{suffix}"])
    out.backward(case["input/g_edge" if suffix == "_edge" else "input/g"])
    near(x.grad, case[f"grad/b{bits}/x{suffix}"])
    near(bounds.alpha.grad, case[f"grad/b{bits}/alpha{suffix}"])


@pytest.mark.parametrize(
    ("make", "name", "given"), [(pams.MaxAbs, "pams_quantizers", "gw"), (ddtb.PercentileWeight, "ddtb_weight", "g")]
)
@pytest.mark.parametrize("bits", BITS)
def test_weights(published, make, name, given, bits):
    case = published(name)
    w = case["input/w"].requires_grad_()
    out = Fixed(make(), bits)(w)
    near(out, case[f"output/b{bits}/wq"])
    out.backward(case[f"input/{given}"])
    near(w.grad, case[f"grad/b{bits}/w"])


def test_symmetric_weights_of_ddtb_are_what_engines_multiply():
    w = torch.linspace(-1, 3, 1000)
    out = Fixed(ddtb.PercentileWeight(symmetric=True), 4)(w)
    assert float(out.max()) == pytest.approx(2.96, abs=1e-5)
    assert 0 in out
    with pytest.raises(UsageError, match="symmetric"):
        pams.MaxAbs(symmetric=False)


@pytest.mark.parametrize(("name", "decays"), [("ema_epoch1", (0, 0, 0)), ("ema_epoch2", (0, 0, 0.9997))])
def test_pams_calibration(published, name, decays):
    case = published("pams_calibration")
    fixed = Fixed(pams.MaxScale().double(), 4).train()
    fixed.range.following = True
    for k, decay in enumerate(decays):
        fixed.range.decay = decay
        fixed.range.alpha.grad = None
        x = case[f"input/x{k}"].requires_grad_()
        out = fixed(x)
        out.backward(case["input/g"])
        near(fixed.range.alpha, case[f"output/{name}/batch{k}/alpha"])
        near(out, case[f"output/{name}/batch{k}/q"])
        near(x.grad, case[f"grad/{name}/batch{k}/x"])
        near(fixed.range.alpha.grad, case[f"grad/{name}/batch{k}/alpha"])
    near(fixed.eval()(case["input/x_eval"]), case[f"output/{name}/eval/q"])
    near(fixed.range.alpha, case[f"output/{name}/eval/alpha"])
    fixed.range.following = False
    near(fixed.train()(case["input/x_eval"]), case[f"output/{name}/train_after/q"])


def dual(case, **options):
    bounds = ddtb.DualBounds(**options).double()
    bounds.lo.data, bounds.hi.data = case["l"].double().squeeze(), case["u"].double().squeeze()
    return bounds


@pytest.mark.parametrize("suffix", ["", "_edge"])
@pytest.mark.parametrize("bits", BITS)
def test_ddtb_static_bounds(published, bits, suffix):
    case = published("ddtb_act_static")
    bounds = dual({"l": case["input/l"], "u": case["input/u"]})
    x = case[f"input/x{suffix}"].requires_grad_()
    out = Fixed(bounds, bits)(x)
    near(out, case[f"output/b{bits}/q{suffix}"])
    out.backward(case[f"input/g{suffix}"])
    for key, own in {"x": x, "u": bounds.hi, "l": bounds.lo}.items():
        near(own.grad, case[f"grad/b{bits}/{key}{suffix}"])


def test_ddtb_begins_at_percentiles(published):
    case = published("ddtb_act_static")
    fixed = Fixed(ddtb.DualBounds().double(), 2)
    fixed.range.observe(case["input/x"])
    near(fixed.range.hi, case["output/b2_first_batch/u"])
    near(fixed.range.lo, case["output/b2_first_batch/l"])
    near(fixed(case["input/x"]), case["output/b2_first_batch/q"])
    start = ddtb.DualBounds(start=10.0).double()
    start.observe(case["input/x"])
    assert (start.lo.item(), start.hi.item()) == (-10, 10)


@pytest.mark.parametrize("mode", ["eval_applied", "train_applied", "train_not_applied"])
@pytest.mark.parametrize("bits", BITS)
def test_ddtb_gate(published, bits, mode):
    case = published("ddtb_act_dynamic")
    bounds = dual({"l": torch.tensor(-1.5), "u": torch.tensor(2.0)}, gate=6)
    state = {key: value for key, value in case.items() if key.startswith("state/")}
    names = {"narrow": 1, "norm": 2, "wide": 5}
    find = {f"{ours}.{leaf}": f"atten_c.{number}.{leaf}" for ours, number in names.items()
            for leaf in ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
    found = {ours: next((v for k, v in state.items() if k.endswith(theirs)), None) for ours, theirs in find.items()}
    bounds.gate.load_state_dict({k: v for k, v in found.items() if v is not None}, strict=False)
    assert sum(value is not None for value in found.values()) == 6
    bounds.chosen.fill_(True)
    bounds.applied = mode != "train_not_applied"
    fixed = Fixed(bounds, bits).train(mode.startswith("train"))
    x = case["input/x"].requires_grad_()
    out = fixed(x)
    tag = f"b{bits}/{mode}"
    near(out, case[f"output/{tag}/q"])
    near(bounds.logits, case[f"output/{tag}/gate_logits"])
    total = (out * case["input/g"]).sum()
    if mode == "train_not_applied":
        near(ddtb.loss(fixed), case[f"output/{tag}/gate_regulariser"])
        total = total + ddtb.loss(fixed)
    total.backward()
    for key, own in {"x": x, "u": bounds.hi, "l": bounds.lo, "atten_c.5.weight": bounds.gate.wide.weight}.items():
        near(own.grad, case[f"grad/{tag}/{key}"])
    assert bounds.gate.narrow.weight.grad is None
    assert bounds.gate.norm.weight.grad is None


def test_the_layers_that_vary_most_use_their_gates():
    net = torch.nn.ModuleList(Fixed(ddtb.DualBounds(gate=2, share=0.5), 4) for _ in range(5))
    sizes = torch.rand(4, generator=torch.Generator().manual_seed(1))
    for k, fixed in enumerate(net):
        for size in sizes:
            fixed.range.observe(k * size * torch.linspace(-1, 1, 20))
        expected = (k * sizes).var(unbiased=False) * len(sizes)
        torch.testing.assert_close(fixed.range.extremes[1], expected.repeat(2))
    ddtb.stage(net, 1)
    assert [fixed.range.dynamic for fixed in net] == [False, False, False, True, True]
    assert [fixed.range.applied for fixed in net] == [False] * 5
    ddtb.stage(net, ddtb.FIRST_APPLIED)
    assert all(fixed.range.applied for fixed in net)
    assert [fixed.range.dynamic for fixed in net] == [False, False, False, True, True]


def test_bounds_follow_batches_in_the_first_epoch():
    net = SimpleNamespace(modules=lambda: [bounds])
    bounds = pams.MaxScale().train()
    pams.stage(net, 1)
    bounds(torch.tensor([[3.0], [-5.0]]), 4)
    assert bounds.alpha.item() == 4
    pams.stage(net, 2)
    bounds(torch.tensor([[9.0]]), 4)
    assert bounds.alpha.item() == 4
