"""A linear layer by the kernel for convolutions: the same numbers, the same gradients, wherever it is not used, too."""

import pytest
import torch
from torch.nn import functional as F

from sharpbit import nn


@pytest.fixture
def convolutions(monkeypatch):
    """The shapes that go to the kernel for convolutions."""
    seen = []
    real = F.conv2d

    def spy(x, *args, **options):
        seen.append(tuple(x.shape))
        return real(x, *args, **options)

    monkeypatch.setattr(F, "conv2d", spy)
    return seen


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "dtype", "used"),
    [
        ((2, 9, 11, 24), torch.float32, True),
        ((1, 16, 1, 5), torch.float32, True),
        ((1, 15, 64, 24), torch.float32, False),  # fewer rows than the kernel wants
        ((40, 24), torch.float32, False),
        ((3, 40, 24), torch.float32, False),
        ((1, 20, 20, 24), torch.float64, False),
    ],
)
def test_values_and_gradients(convolutions, shape, dtype, used, bias):
    torch.manual_seed(0)
    x, weight, own = (torch.randn(size, dtype=dtype) for size in (shape, (10, shape[-1]), (10,)))
    given = [tensor.requires_grad_() for tensor in ((x, weight, own) if bias else (x, weight))]
    out = nn.linear(*given)
    assert convolutions == ([(shape[0] * shape[1], shape[3], 1, shape[2])] if nn._ONEDNN and used else [])
    expected = F.linear(*given)
    torch.testing.assert_close(out, expected)
    direction = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(out, given, direction), torch.autograd.grad(expected, given, direction), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_pointwise_convolution_is_one(channels_last):
    layer = nn.Pointwise(12, 7)
    x = torch.randn(2, 12, 18, 13)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias))


def test_a_map_that_is_a_part_of_another():
    x = torch.randn(2, 20, 20, 48)[:, 2:19, :, 24:]
    layer = nn.Linear(24, 5)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
