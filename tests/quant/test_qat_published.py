"""Whole networks with the quantizers of PAMS and DDTB: pictures, gradients and calibration of the authors' code."""

import json

import pytest
import torch
from safetensors import safe_open

from sharpbit.arch import ARCHITECTURES
from sharpbit.errors import ModelError, UsageError
from sharpbit.quant.core import METHODS, quantize
from sharpbit.quant.method import ddtb, pams
from sharpbit.quant.official import load_official, name_of
from sharpbit.quant.placement import placement

CASES = {
    "edsr_pams_original": ("edsr", {"scale": 4, "blocks": 2, "width": 8}, {"legacy_conv1_float": True}),
    "edsr_pams_cadyq": ("edsr", {"scale": 4, "blocks": 2, "width": 8}, {}),
    "srresnet_pams": (
        "srresnet",
        {"scale": 4, "blocks": 2, "width": 8, "shared": True, "bias": True},
        {"legacy_conv1_float": True},
    ),
    "carn_pams": ("carn", {"scale": 4}, {}),
    "idn_pams": ("idn", {"scale": 4, "blocks": 4, "width": 16}, {}),
    "ddtb_edsr": ("edsr", {"scale": 4, "blocks": 2, "width": 8}, {"legacy_conv1_float": True, "options": {"gate": 8}}),
    "ddtb_srresnet": ("srresnet", {"scale": 2, "blocks": 1, "width": 64}, {"options": {"gate": 64}}),
}


class Case:
    """A golden file, and the network that it is of, in ours."""

    def __init__(self, path, method, act, weight):
        with safe_open(path, "pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.args = json.loads(file.metadata()["args"])
        arch, config, how = CASES[path.stem]
        self.arch = ARCHITECTURES[arch]
        self.white = 1.0 if arch == "carn" else 255.0
        net = self.arch.build(self.arch.config(**config))
        self.net = quantize(net, placement(arch, act, weight, **how), METHODS[method]).double().eval()
        self.state = {key[6:]: value for key, value in self.tensors.items() if key.startswith("state/")}
        load_official(self.net, self.state, arch, self.arch.rename)
        shift = self.state.get("add_mean.bias", self.state.get("add_mean.shifter.bias"))
        if hasattr(self.net, "mean"):  # divided in float32 it would be off by up to 3e-8
            self.net.mean.copy_(shift.double().view(1, 3, 1, 1) / self.white)

    @property
    def names(self):
        """Published names of tensors to ours."""
        before = {key: name_of(key, self.arch.name, self.net) for key in self.state}
        values = {name: self.state[key] for key, name in before.items() if name}
        same = {id(value): name for name, value in self.arch.rename(values).items()}
        return {key: same[id(values[name])] for key, name in before.items() if name and id(values[name]) in same}

    def picture(self, name="x"):
        return self.tensors[f"input/{name}"].double() / 255

    def near(self, value, key, limit=1e-6, tree="output"):
        expected = self.tensors[f"{tree}/{key}"].double().reshape(value.shape)
        apart, size = (float(tensor.detach().abs().max()) for tensor in (value - expected, expected))
        assert apart <= limit * max(size, 1e-12), key

    def forward(self, x):
        """The picture in the published range of values, and the feature that distillation reads."""
        seen = []
        handle = self.net.feature.register_forward_hook(lambda part, args, out: seen.append(out))
        sr = self.net(x) * self.white
        handle.remove()
        return sr, seen[0]

    def gradients(self, tag):
        parameters, names = dict(self.net.named_parameters()), self.names
        keys = [key.removeprefix(f"grad/{tag}/") for key in self.tensors if key.startswith(f"grad/{tag}/")]
        assert len(keys) > 3
        for key in keys:
            self.near(parameters[names[key]].grad, f"{tag}/{key}", tree="grad")


def loss_of(sr, feature):
    return sr.square().mean() / 2 + feature.square().mean() / 2


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", [name for name in CASES if "pams" in name])
def test_pams_networks(golden_path, name, bits):
    case = Case(golden_path(name), "pams", bits, bits)
    tag = f"b{bits}"
    with torch.no_grad():
        if f"output/{tag}/eval_sr_before_calibration" in case.tensors:
            case.near(case.forward(case.picture())[0], f"{tag}/eval_sr_before_calibration")
        pams.stage(case.net.train(), 1)
        case.near(case.forward(case.picture("x_cal"))[0], f"{tag}/calibration_sr")
    calibrated, names = f"output/{tag}/calibrated/", case.names
    parameters = dict(case.net.named_parameters())
    found = {names.get(key.removeprefix(calibrated)): value for key, value in case.tensors.items()}
    alphas = {name: value for name, value in found.items() if name and name.endswith("alpha")}
    assert len(alphas) == sum(name.endswith("alpha") for name in parameters)
    for key, value in alphas.items():
        torch.testing.assert_close(parameters[key].detach(), value.squeeze(), rtol=1e-6, atol=0)
        parameters[key].data.mul_(case.args["alpha_shrink"])
    if (name, bits) == ("edsr_pams_cadyq", 4):  # values lie on this bound but for the last bits, which decide gradients
        case.net.blocks[1].input.act.range.alpha.data.mul_(1 - 1e-12)
    pams.stage(case.net, 2)
    sr, feature = case.forward(case.picture())
    case.near(sr, f"{tag}/train_sr")
    case.near(feature, f"{tag}/train_feat")
    loss = loss_of(sr, feature)
    case.near(loss, f"{tag}/loss")
    loss.backward()
    case.gradients(tag)
    with torch.no_grad():
        case.net.eval()
        case.near(case.forward(case.picture())[0], f"{tag}/eval_sr")


@pytest.mark.parametrize(("name", "bits"), [("ddtb_edsr", 4), ("ddtb_srresnet", 2)])
@pytest.mark.parametrize("tag", ["train_epoch3", "train_epoch6", "eval"])
def test_ddtb_networks(golden_path, name, bits, tag):
    case = Case(golden_path(name), "ddtb", bits, bits)
    for part in case.net.modules():
        if isinstance(part, ddtb.DualBounds):
            part.applied = tag != "train_epoch3"
    case.net.train(tag != "eval")
    sr, feature = case.forward(case.picture())
    case.near(sr, f"{tag}/sr")
    case.near(feature, f"{tag}/feat")
    if tag != "eval":
        loss = loss_of(sr, feature)
        case.near(loss, f"{tag}/loss")
        loss.backward()
        case.gradients(tag)


def test_what_cannot_be_placed_or_read(golden_path):
    with pytest.raises(UsageError, match="no paper"):
        placement("etds", 8, 8)
    with pytest.raises(UsageError, match="edsr and srresnet"):
        placement("carn", 8, 8, legacy_conv1_float=True)
    case = Case(golden_path("edsr_pams_cadyq"), "pams", 4, 4)
    del case.state["body.0.quant_act3.alpha"]
    with pytest.raises(ModelError, match=r"blocks\.0\.output\.act\.range\.alpha"):
        load_official(case.net, case.state, "edsr", case.arch.rename)


def test_elan_has_the_quantizers_that_its_counted_bits_need():
    """204: 10 in each of 12 pairs of layers with attention of their own, 7 in each without."""
    net = ARCHITECTURES["elan"].build(ARCHITECTURES["elan"].config(scale=4))
    net = quantize(net, placement("elan", 8, 8), METHODS["pams"])
    assert sum(isinstance(part, pams.MaxScale) for part in net.modules()) == 204
