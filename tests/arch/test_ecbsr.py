"""ECBSR against the authors' own code: five branches, one convolution, and the equivalent transformation."""

import pytest
import torch
from torch.nn import functional as F

from sharpbit import model as models
from sharpbit.reparam.base import fused


@pytest.fixture(params=[2, 3])
def case(golden, request):
    return golden(f"ecbsr_x{request.param}")


def test_five_branches(case):
    model = case.model("ecbsr")
    assert not model.config.fused
    case.check(model.net(case["input/lr"]), "output/sr_train")


def test_gradients(golden):
    case = golden("ecbsr_x2")
    model = case.model("ecbsr")
    loss = F.l1_loss(model.net(case["input/lr"]), case["input/gt"])
    torch.testing.assert_close(loss, case["output/loss"], atol=1e-6, rtol=1e-5)
    loss.backward()
    case.check_gradients(model.net)


def test_one_convolution_has_the_published_names_and_weights(case):
    model = case.model("ecbsr")
    net = fused(model.net)
    for name, weight in case.part("output/fused/").items():
        torch.testing.assert_close(net.state_dict()[name], weight, rtol=0, **case.tolerance["converted"])
    case.check(net(case["input/lr"]), "output/fused_sr")
    again = case.model("ecbsr", "output/fused/")
    assert again.config.fused
    case.check(again.net(case["input/lr"]), "output/fused_sr")
    with torch.no_grad():
        border = (net(case["input/lr"]) - model.net(case["input/lr"])).abs()
    assert float(border.max()) < 1e-5


@pytest.mark.parametrize("prefix", ["state/", "output/fused/"])
def test_equivalent_transformation(case, prefix):
    ours = models.reparameterize(case.model("ecbsr", prefix), "et")
    assert ours.config == case.model("plain", "output/et/").config
    case.check_weights(ours.net, "output/et/")
    case.check(ours.net(case["input/lr"]), "output/et_sr")


def test_published_sizes():
    model = models.build("ecbsr", scale=2, blocks=4, width=16)
    stored = sum(tensor.numel() for tensor in model.net.state_dict().values())
    assert (model.parameters, stored) == (44604, 47088)
    keys = [key for key in model.net.state_dict() if key.startswith("backbone.1.")]
    assert len(keys) == 22
