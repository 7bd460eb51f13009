"""What every quantization method of the catalog promises; a new file is covered before it has a test of its own."""

from dataclasses import replace

import pytest
import torch

from quant_nets import NETS, build, calibrated, images
from sharpbit import model as models
from sharpbit.errors import UsageError
from sharpbit.quant import recorded
from sharpbit.quant.core import METHODS, quantizers
from sharpbit.quant.freeze import freeze
from sharpbit.quant.frozen import QDQ, Integers
from sharpbit.quant.grid import FLOAT
from sharpbit.quant.plan import Plan

CASES = [(method, kind) for method in METHODS for kind in NETS]


@pytest.mark.parametrize(("method", "kind"), CASES)
def test_the_identity_at_32_bits(method, kind):
    net, x = build(kind), images(1, 2)[0]
    quantized = calibrated(net, 4, method)
    assert not torch.equal(quantized(x), net(x))
    for _, fixed in list(quantizers(quantized)):
        fixed.bits = FLOAT
    assert torch.equal(quantized(x), net(x))


@pytest.mark.parametrize(("method", "kind"), CASES)
def test_the_error_shrinks_with_bits(method, kind):
    net, x = build(kind), images(1, 2)[0]
    with torch.no_grad():
        errors = [float((calibrated(net, bits, method)(x) - net(x)).abs().mean()) for bits in (2, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 8


@pytest.mark.parametrize(("method", "kind"), CASES)
def test_gradients_reach_weights_and_ranges(method, kind):
    quantized = calibrated(build(kind), 4, method).train()
    quantized(2 * images(1, 2)[0] - 0.5).square().sum().backward()
    for name, parameter in quantized.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    ranges = [own.grad for _, fixed in quantizers(quantized) for own in fixed.range.parameters()]
    assert not ranges or any(bool(grad.any()) for grad in ranges)


@pytest.mark.parametrize("options", [{"symmetric": True}, {}], ids=["integer", "offset"])
@pytest.mark.parametrize("bits", [2, 4, 8, 10])
@pytest.mark.parametrize(("method", "kind"), CASES)
def test_the_frozen_network_is_the_quantized_one(method, kind, bits, options):
    """To the last bit, once the biases are those of the frozen one, which lie within half a unit of an accumulator.

    And once it rounds in the order of engines: a method may add its zero points before that (`Grid.offset`).
    """
    plan = Plan.uniform(bits)
    try:
        quantized = calibrated(
            build(kind), bits, method, Plan(tuple(replace(rule, weight_options=options) for rule in plan.rules))
        )
    except UsageError:
        pytest.skip(f"{method} has one kind of weight grid")
    frozen, x = freeze(quantized), images(1, 2)[0]
    for _, fixed in quantizers(quantized):
        fixed.range.offset = False
    state = quantized.state_dict()
    for name, part in frozen.named_modules():
        act, kernel = getattr(part, "act", None), getattr(part, "kernel", None)
        if isinstance(act, QDQ) and isinstance(kernel, Integers):
            apart = (part.bias - state[f"{name}.bias"]).abs()
            assert bool((apart <= 0.501 * act.scale * kernel.scale).all()), name
            state[f"{name}.bias"] = part.bias
    quantized.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(frozen(x), quantized(x))


@pytest.mark.parametrize("method", METHODS)
def test_files_bring_back_what_was_done(method, tmp_path):
    torch.manual_seed(0)
    model = models.build("etds", scale=2, blocks=1, width=8)
    quantized = recorded.calibrate(recorded.insert_quantizers(model, Plan.uniform(4), method), images())
    forms = {"quantized": quantized}
    if not any(fixed.range.dynamic for _, fixed in quantizers(quantized.net)):
        forms["frozen"] = recorded.freeze(quantized)
    x = images(1, 2)[0]
    for name, form in forms.items():
        models.save(form, tmp_path / f"{name}.safetensors")
        again = models.load(tmp_path / f"{name}.safetensors")
        assert again.history == form.history
        assert again.parameters == model.parameters
        with torch.no_grad():
            assert torch.equal(again.net.eval()(x), form.net.eval()(x))
