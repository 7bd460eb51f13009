"""ABPN against the authors' own code."""

import pytest
import torch
from torch.nn import functional as F

from sharpbit import model as models


@pytest.fixture(params=[2, 3])
def case(golden, request):
    return golden(f"abpn_x{request.param}")


def test_image(case):
    case.check(case.model("abpn").net(case["input/lr"]), "output/sr")


def test_gradients(golden):
    case = golden("abpn_x2")
    model = case.model("abpn")
    loss = F.l1_loss(model.net(case["input/lr"]), case["input/gt"])
    torch.testing.assert_close(loss, case["output/loss"], atol=1e-6, rtol=1e-5)
    loss.backward()
    case.check_gradients(model.net)


def test_equivalent_transformation(case):
    ours = models.reparameterize(case.model("abpn"), "et")
    assert ours.config == case.model("plain", "output/et/").config
    case.check_weights(ours.net, "output/et/")
    case.check(ours.net(case["input/lr"]), "output/et_sr")
