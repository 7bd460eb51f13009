"""One step of an optimizer: it goes down, and says where a loss is no number."""

import pytest
import torch

from sharpbit.errors import ModelError
from sharpbit.quant.ptq.descent import descend


def test_a_step_goes_down_by_gradients_of_this_step_alone():
    weight = torch.tensor([1.0], requires_grad=True)
    sgd = torch.optim.SGD([weight], 0.25)
    assert descend(weight.square().sum(), sgd, "here", 0.25) == 1
    assert weight.item() == 0.5
    assert descend(weight.square().sum(), sgd, "here", 0.25, scale=lambda: weight.grad.mul_(2)) == 0.25
    assert weight.item() == 0


def test_a_loss_that_is_no_number():
    weight = torch.tensor([torch.inf], requires_grad=True)
    with pytest.raises(ModelError, match=r"the loss is inf in the layer tail; lower the rate 0\.001"):
        descend(weight.sum(), torch.optim.SGD([weight], 0.1), "in the layer tail", 1e-3)
