"""What every architecture of the catalog promises; a new file is covered before it has a test of its own."""

import fnmatch

import numpy as np
import onnxruntime as ort
import pytest
import torch

from sharpbit import model as models
from sharpbit import modelfile
from sharpbit.arch import ARCHITECTURES
from sharpbit.errors import ReparameterizeError
from sharpbit.export import EXPORTS
from sharpbit.nn import receptive_field
from sharpbit.reparam.chain import FORMS

SIZES = [(1, 1), (1, 7), (13, 8), (31, 45)]
CASES = [(name, scale) for name in ARCHITECTURES for scale in (2, 3, 4)]
# Sizes that shapes do not tell, but trained weights or the header of the file: see the tests of these networks.
UNTOLD = {"bicubic", "fsrcnn", "idn"}
SIZED = {"blocks": 3, "width": 20, "hidden": (20, 12)}
# Large networks are tried small.
SMALL = {
    "carn": {"width": 8},
    "craft": {"width": 16, "depths": (1,), "heads": 2},
    "edsr": {"blocks": 2, "width": 8},
    "elan": {"blocks": 2, "width": 15},
    "hitsr": {"width": 24, "groups": 1, "windows": (4, 8, 16), "heads": 2},
    "idn": {"blocks": 2, "width": 16},
    "imdn": {"blocks": 1, "width": 8},
    "srresnet": {"blocks": 2, "width": 8},
}
NO_PLAIN_FORM = {
    "bicubic": "interpolate",
    "carn": "mean",
    "craft": "CRAFT",
    "edsr": "mean",
    "elan": "forward of ELAN",
    "espcn": "tanh",
    "hitsr": "HiTSR",
    "idn": "interpolate",
    "integer": "round",
    "srresnet": "pixel shuffle",
}
SLOW = {"carn", "craft", "elan", "hitsr", "imdn"}  # to export; their scale is in the last layers alone
TRACED = [(name, scale) for name, scale in CASES if name not in SLOW or scale == 3]
# A pixel of the result depends on all of the image, or on where in it the grid of the windows lies.
SEES_EVERYTHING = {"craft", "elan", "hitsr"}


def random_model(name: str, scale: int) -> models.Model:
    """A model whose every weight is random, so that nothing is zero or one by its start."""
    torch.manual_seed(scale)
    model = models.build(name, scale=scale, **SMALL.get(name, {}))
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.add_(0.03 * torch.randn_like(weight))
        norms = [layer for layer in model.net.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        for layer in norms:
            layer.momentum = None  # the statistics of one batch, as a trained network has them
        if norms:
            model.net.train()(torch.rand(4, 3, 32, 32))
            model.net.eval()
        if name == "integer":  # what it has are bytes
            for layer in model.net.layers:
                layer.weight.add_(torch.randint(-3, 4, layer.weight.shape, dtype=torch.int8))
                layer.bias.copy_(torch.randint(-300, 900, layer.bias.shape))
                layer.multiplier.fill_(0.3)
    return model


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


@pytest.mark.parametrize(("name", "scale"), [case for case in CASES if case[0] not in UNTOLD])
def test_sizes_are_read_out_of_the_weights(name, scale):
    kind = ARCHITECTURES[name].config
    sizes = SMALL.get(name, {key: size for key, size in SIZED.items() if key in kind.__dataclass_fields__})
    config = kind(scale=scale, **sizes)
    state = ARCHITECTURES[name].build(config).state_dict()
    model = models.from_state(state, "weights")
    assert (model.arch.name, model.config) == (name, config)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_option_comes_back_from_a_file(name, tmp_path):
    """Also those that weights cannot tell: the header has them."""
    kind = ARCHITECTURES[name].config
    sizes = SMALL.get(name, {})
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
    modules = [path for path, _ in arch.build(arch.config(scale=2, **SMALL.get(name, {}))).named_modules()]
    for glob in arch.sites:
        assert fnmatch.filter(modules, glob), glob


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "scale"), CASES)
def test_the_plain_forms_are_equal_borders_included(name, scale, form):
    model = random_model(name, scale)
    if name in NO_PLAIN_FORM:
        with pytest.raises(ReparameterizeError, match=NO_PLAIN_FORM[name]):
            models.reparameterize(model, form)
        return
    plain = models.reparameterize(model, form)
    for height, width in SIZES:
        x = torch.rand(2, 3, height, width)
        with torch.no_grad():
            before, after = model.net(x).clamp(0, 1), plain.net(x)
        assert float((before - after).abs().max()) < 1e-5
    assert float(before.std()) > 0.01
    assert plain.history[-1] == {"verb": "reparameterize", "from": name, "form": form}


@pytest.mark.parametrize(("name", "scale"), TRACED)
def test_the_onnx_file_gives_the_same_image(name, scale, tmp_path):
    model = random_model(name, scale)
    path = tmp_path / "model.onnx"
    EXPORTS["onnx"](model, path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    if name == "integer":  # bytes in and out: see tests/export/test_integer_export.py
        assert session.get_inputs()[0].type == session.get_outputs()[0].type == "tensor(uint8)"
        return
    for height, width in SIZES:
        x = torch.rand(1, 3, height, width)
        with torch.no_grad():
            expected = model.net(x).numpy()
        (out,) = session.run(None, {"picture": x.numpy()})
        # of the largest value, where random weights give more than an image has
        assert np.abs(out - expected).max() < 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_receptive_field_is_what_a_change_reaches(name):
    model = random_model(name, 2)
    side = receptive_field(model.net, 2)
    if name in SEES_EVERYTHING:
        assert side is None
        return
    assert side is not None
    size = side + 12
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    changed = x.clone()
    changed[..., size // 2, size // 2] += 0.25
    net = model.net.double()
    with torch.no_grad():
        differs = (net(x) != net(changed))[0].any(0)
    rows = differs.any(1).nonzero().flatten() // 2
    reach = max(size // 2 - int(rows.min()), int(rows.max()) - size // 2)
    assert reach <= side // 2
    assert int(rows.max()) - int(rows.min()) >= side // 2  # and it is no wild overestimate
