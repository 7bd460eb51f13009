"""Whole networks with the quantizers of PAMS and DDTB: images, gradients and calibration of the authors' code."""

import json

import pytest
import torch

from golden_case import GoldenCase
from sharpbit.arch import ARCHITECTURES
from sharpbit.errors import ModelError, UsageError
from sharpbit.quant.core import METHODS, insert_quantizers
from sharpbit.quant.method import ddtb, pams
from sharpbit.quant.qat.placement import placement
from sharpbit.quant.qat.published_names import load_published

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


class Case(GoldenCase):
    """Of PAMS or DDTB."""

    def __init__(self, path, method, act, weight):
        arch, config, how = CASES[path.stem]
        super().__init__(path, arch, config, placement(arch, act, weight, **how), method)

    def forward(self, x):
        """The image in the published range of values, and the feature that distillation reads."""
        seen = []
        handle = self.net.feature.register_forward_hook(lambda part, args, out: seen.append(out))
        sr = self.net(x) * self.white
        handle.remove()
        return sr, seen[0]


def loss_of(sr, feature):
    return sr.square().mean() / 2 + feature.square().mean() / 2


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", [name for name in CASES if "pams" in name])
def test_pams_networks(golden_path, name, bits):
    case = Case(golden_path(name), "pams", bits, bits)
    tag = f"b{bits}"
    with torch.no_grad():
        if f"output/{tag}/eval_sr_before_calibration" in case.tensors:
            case.near(case.forward(case.image())[0], f"{tag}/eval_sr_before_calibration")
        pams.stage(case.net.train(), 1)
        case.near(case.forward(case.image("x_cal"))[0], f"{tag}/calibration_sr")
    calibrated, names = f"output/{tag}/calibrated/", case.names
    parameters = dict(case.net.named_parameters())
    found = {names.get(key.removeprefix(calibrated)): value for key, value in case.tensors.items()}
    alphas = {name: value for name, value in found.items() if name and name.endswith("alpha")}
    assert len(alphas) == sum(name.endswith("alpha") for name in parameters)
    for key, value in alphas.items():
        torch.testing.assert_close(parameters[key].detach(), value.squeeze(), rtol=1e-6, atol=0)
        parameters[key].data.mul_(json.loads(case.about["args"])["alpha_shrink"])
    if (name, bits) == ("edsr_pams_cadyq", 4):  # values lie on this bound but for the last bits, which decide gradients
        case.net.blocks[1].input.act.range.alpha.data.mul_(1 - 1e-12)
    pams.stage(case.net, 2)
    sr, feature = case.forward(case.image())
    case.near(sr, f"{tag}/train_sr")
    case.near(feature, f"{tag}/train_feat")
    loss = loss_of(sr, feature)
    case.near(loss, f"{tag}/loss")
    loss.backward()
    assert case.gradients(tag) > 3
    with torch.no_grad():
        case.net.eval()
        case.near(case.forward(case.image())[0], f"{tag}/eval_sr")


@pytest.mark.parametrize(("name", "bits"), [("ddtb_edsr", 4), ("ddtb_srresnet", 2)])
@pytest.mark.parametrize("tag", ["train_epoch3", "train_epoch6", "eval"])
def test_ddtb_networks(golden_path, name, bits, tag):
    case = Case(golden_path(name), "ddtb", bits, bits)
    for part in case.net.modules():
        if isinstance(part, ddtb.DualBounds):
            part.applied = tag != "train_epoch3"
    case.net.train(tag != "eval")
    sr, feature = case.forward(case.image())
    case.near(sr, f"{tag}/sr")
    case.near(feature, f"{tag}/feat")
    if tag != "eval":
        loss = loss_of(sr, feature)
        case.near(loss, f"{tag}/loss")
        loss.backward()
        assert case.gradients(tag) > 3


def test_what_cannot_be_placed_or_read(golden_path):
    with pytest.raises(UsageError, match="no paper"):
        placement("etds", 8, 8)
    with pytest.raises(UsageError, match="bicubic has no convolution"):
        placement("bicubic", 8, 8, net=ARCHITECTURES["bicubic"].build(ARCHITECTURES["bicubic"].config(scale=2)))
    with pytest.raises(UsageError, match="edsr and srresnet"):
        placement("carn", 8, 8, legacy_conv1_float=True)
    case = Case(golden_path("edsr_pams_cadyq"), "pams", 4, 4)
    del case.state["body.0.quant_act3.alpha"]
    with pytest.raises(ModelError, match=r"blocks\.0\.output\.act\.range\.alpha"):
        load_published(case.net, case.state, "edsr", case.arch.rename)


def test_elan_has_the_quantizers_that_its_counted_bits_need():
    """204: 10 in each of 12 pairs of layers with attention of their own, 7 in each without."""
    net = ARCHITECTURES["elan"].build(ARCHITECTURES["elan"].config(scale=4))
    net = insert_quantizers(net, placement("elan", 8, 8), METHODS["pams"])
    assert sum(isinstance(part, pams.MaxScale) for part in net.modules()) == 204
