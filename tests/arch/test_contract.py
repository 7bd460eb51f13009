"""What every architecture of the catalog promises; a new file is covered before it has a test of its own.

What is special about a network stands in its file: small sizes, and the cases that do not apply, each with the reason.
"""

import copy
import fnmatch
import functools

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sharpbit import model as models
from sharpbit import modelfile
from sharpbit.arch import ARCHITECTURES
from sharpbit.cost import bitops
from sharpbit.errors import QuantizeError, ReparameterizeError, UsageError
from sharpbit.export import EXPORTS
from sharpbit.nn import receptive_field
from sharpbit.quant import recorded
from sharpbit.quant.qat.placement import placement
from sharpbit.quant.refqsr import TwoPass, published
from sharpbit.reparam.chain import FORMS
from sharpbit.verbs.qat import fake_quantize

SIZES = [(1, 1), (1, 7), (13, 8), (31, 45)]
SCALES = (2, 3, 4)
CASES = [(name, scale) for name in ARCHITECTURES for scale in SCALES]
EXCEPTIONS = {"sizes from weights", "plain form", "receptive field", "quantization"}
LARGE = 40  # modules of a network whose export takes seconds


@functools.cache
def _made(name: str, scale: int) -> models.Model:
    torch.manual_seed(scale)
    model = models.build(name, scale=scale, **ARCHITECTURES[name].small)
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.add_(0.03 * torch.randn_like(weight))
        norms = [layer for layer in model.net.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        for layer in norms:
            layer.momentum = None  # the statistics of one batch, as a trained network has them
        if norms:
            model.net.train()(torch.rand(4, 3, 32, 32))
            model.net.eval()
        if any(buffer.dtype == torch.int8 for buffer in model.net.buffers()):  # a network of bytes has no parameters
            for buffer in model.net.buffers():
                if buffer.dtype == torch.int8:
                    buffer.add_(torch.randint(-3, 4, buffer.shape, dtype=torch.int8))
                elif buffer.dtype == torch.int32:
                    buffer.copy_(torch.randint(-300, 900, buffer.shape))
                else:
                    buffer.fill_(0.3)
    return model


def random_model(name: str, scale: int) -> models.Model:
    """A model whose every weight is random, so that nothing is zero or one by its start; nobody may change it."""
    model = _made(name, scale)
    torch.manual_seed(scale)
    return model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_exceptions_have_reasons(name):
    assert set(ARCHITECTURES[name].exceptions) <= EXCEPTIONS
    assert all(ARCHITECTURES[name].exceptions.values())


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_any_size_goes_through(name, scale):
    model = random_model(name, scale)
    for height, width in SIZES:
        with torch.no_grad():
            out = model.net(torch.rand(2, 3, height, width))
        assert out.shape == (2, 3, height * scale, width * scale)
        assert torch.isfinite(out).all()


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_save_and_load_give_the_same_network(name, scale, tmp_path):
    model = random_model(name, scale)
    path = tmp_path / "model.safetensors"
    written = models.save(model, path)
    again = models.load(path)
    assert (again.arch.name, again.config) == (name, model.config)
    assert modelfile.read(path, verify=True) == written
    before, after = model.net.state_dict(), again.net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    x = torch.rand(1, 3, 9, 11)
    # The last bit of a sum may depend on where tensors lie in memory.
    torch.testing.assert_close(again.net(x), model.net(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_sizes_are_read_out_of_the_weights(name, scale):
    arch = ARCHITECTURES[name]
    if "sizes from weights" in arch.exceptions:  # the header of a file has them; see the tests of these networks
        return
    config = arch.config(scale=scale, **arch.small)
    model = models.from_state(arch.build(config).state_dict(), "weights")
    assert (model.arch.name, model.config) == (name, config)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_option_comes_back_from_a_file(name, tmp_path):
    """Also those that weights cannot tell: the header has them."""
    kind, sizes = ARCHITECTURES[name].config, ARCHITECTURES[name].small
    base = kind(scale=2, **sizes)
    for key, field in kind.__dataclass_fields__.items():
        value = getattr(base, key)
        if not isinstance(value, int) or key == "scale":
            continue
        model = models.build(name, scale=2, **{**sizes, key: not value if isinstance(value, bool) else 2 * value})
        models.save(model, tmp_path / f"{field.name}.safetensors")
        assert models.load(tmp_path / f"{field.name}.safetensors").config == model.config


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_globs_name_modules(name):
    arch = ARCHITECTURES[name]
    net = arch.weightless(arch.config(scale=2, **arch.small))
    modules = [path for path, _ in net.named_modules()]
    aware = arch.aware_of(net) if "quantization" not in arch.exceptions else None
    sites = [site.match for site in (*aware.sites, *aware.legacy)] if aware else []
    counted = [*(term.layers for term in arch.counting.terms), *arch.counting.selectors] if arch.counting else []
    for glob in (*arch.sites, *arch.rounding.ends, *arch.rounding.maps, *arch.rounding.left, *sites, *counted):
        assert fnmatch.filter(modules, glob), glob
    for glob in arch.frozen_first:
        assert fnmatch.filter([path for path, _ in net.named_parameters()], glob), glob


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "scale"), CASES)
def test_the_plain_forms_are_equal_borders_included(name, scale, form):
    model = random_model(name, scale)
    piece = ARCHITECTURES[name].exceptions.get("plain form")
    if piece:  # the error names it
        with pytest.raises((ReparameterizeError, QuantizeError), match=piece):
            models.reparameterize(model, form)
        return
    plain = models.reparameterize(model, form)
    for height, width in SIZES:
        x = torch.rand(2, 3, height, width)
        with torch.no_grad():
            before, after = model.net(x).clamp(0, 1), plain.net(x)
        assert float((before - after).abs().max()) < 1e-5
    assert float(before.std()) > 0.01
    assert plain.history[-1].table() == {"verb": "reparameterize", "from": name, "form": form}


class Operators(TorchDispatchMode):
    """Notes which operators run, one after the other."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def exported(name):
    """The scales whose files are tried: those at which other operators run, and one of a large network."""
    if sum(1 for _ in random_model(name, 3).net.modules()) > LARGE:
        return [3]
    found = {}
    for scale in sorted(SCALES, key=lambda scale: scale != 3):
        model, x = random_model(name, scale), torch.rand(1, 3, 13, 8)
        with torch.no_grad(), Operators() as seen:
            model.net(x)
        found.setdefault(tuple(seen.names), scale)
    return found.values()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_onnx_file_gives_the_same_image(name, tmp_path):
    for scale in exported(name):
        model = random_model(name, scale)
        path = tmp_path / f"{scale}.onnx"
        EXPORTS["onnx"](model, path)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        (given,), (result,) = session.get_inputs(), session.get_outputs()
        for height, width in SIZES:
            x = torch.rand(1, 3, height, width)
            if given.type == "tensor(uint8)":  # bytes in and out
                assert result.type == "tensor(uint8)"
                x = (255 * x).round() / 255
                (out,) = session.run(None, {given.name: (255 * x).to(torch.uint8).permute(0, 2, 3, 1).numpy()})
                out = out.transpose(0, 3, 1, 2).astype(np.float32) / 255
            else:
                (out,) = session.run(None, {given.name: x.numpy()})
            with torch.no_grad():
                expected = model.net(x).numpy()
            # of the largest value, where random weights give more than an image has
            assert np.abs(out - expected).max() < 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_receptive_field_is_what_a_change_reaches(name):
    model = random_model(name, 2)
    side = receptive_field(model.net, 2)
    if "receptive field" in ARCHITECTURES[name].exceptions:
        assert side is None
        return
    assert side is not None
    size = side + 12
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    changed = x.clone()
    changed[..., size // 2, size // 2] += 0.25
    net = copy.deepcopy(model.net).double()
    with torch.no_grad():
        differs = (net(x) != net(changed))[0].any(0)
    rows = differs.any(1).nonzero().flatten() // 2
    reach = max(size // 2 - int(rows.min()), int(rows.max()) - size // 2)
    assert reach <= side // 2
    assert int(rows.max()) - int(rows.min()) >= side // 2  # and it is no wild overestimate


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_eight_bits_after_training_change_little(name):
    if "quantization" in ARCHITECTURES[name].exceptions:
        return
    model, x = random_model(name, 2), torch.rand(2, 3, 16, 16)
    after = recorded.calibrate(recorded.insert_quantizers(model), [x])
    with torch.no_grad():
        before = model.net(x)
        off = float((after.net(x) - before).abs().mean() / before.std())
    assert 0 < off < 0.2


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_of_quantization_aware_training_reaches_weights_and_ranges(name):
    if "quantization" in ARCHITECTURES[name].exceptions:
        return
    model, x = random_model(name, 2), torch.rand(2, 3, 16, 16)
    width = getattr(model.config, "width", 0)
    learner = fake_quantize(model, placement(name, 4, 4, width=width, net=model.net), "pams", [x])
    net = learner.net.train()
    bounds = {key: own for key, own in net.named_parameters() if ".range." in key}
    assert bounds
    net(x).square().mean().backward()
    assert all(own.grad is not None for own in bounds.values())
    assert any(bool(own.grad.any()) for key, own in net.named_parameters() if key.endswith(".weight"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_two_passes_are_planned_or_refused_in_a_sentence(name):
    model = random_model(name, 2)
    arch = ARCHITECTURES[name]
    try:
        blocks = arch.blocks_of(model.net).names
    except UsageError as error:
        assert arch.refinable is None
        assert name in str(error)
        return
    if len(blocks) < 3:  # a small network
        with pytest.raises(UsageError, match="cannot give way"):
            published(name, model.config, "pams", 8, 4, refers=1)
        return
    plan = published(name, model.config, "pams", 8, 4, refers=1)
    assert TwoPass.read(plan.entry()) == plan
    recorded.refqsr(model, plan)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_cost_is_counted_layer_by_layer(name):
    arch = ARCHITECTURES[name]
    cost = bitops.count(arch.weightless(arch.config(scale=2, **arch.small)), (48, 48))
    assert cost.macs == sum(layer.macs for layer in cost.layers)
    assert cost.macs > 0 or "quantization" in arch.exceptions
