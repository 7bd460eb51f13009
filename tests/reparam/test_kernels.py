"""Each rule of the kernel algebra against the convolutions that it stands for, the whole frame with its borders."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sharpbit.errors import ReparameterizeError
from sharpbit.reparam import kernels
from sharpbit.reparam.kernels import Kernel


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(1)


def random(inputs, outputs, side=3):
    return Kernel(torch.randn(outputs, inputs, side, side).double(), torch.randn(outputs).double())


def applied(kernel, x):
    return F.conv2d(x, kernel.weight, kernel.bias, padding=kernel.side // 2)


def image(channels, height=7, width=9):
    return torch.randn(2, channels, height, width).double()


def same(a, b):
    torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


def test_a_sequence_pads_with_the_bias_of_its_first():
    first, second = random(3, 8, 1), random(8, 5)
    x = image(3)
    padded = F.pad(applied(first, x), (1, 1, 1, 1))
    ring = torch.ones_like(padded)
    ring[..., 1:-1, 1:-1] = 0
    padded = padded + ring * first.bias[:, None, None]
    same(applied(kernels.sequence(first, second), x), F.conv2d(padded, second.weight, second.bias))


def test_a_sequence_of_1x1_after_any():
    first, second = random(3, 4, 5), random(4, 6, 1)
    x = image(3)
    same(applied(kernels.sequence(first, second), x), applied(second, applied(first, x)))


def test_a_sequence_with_zero_padding_and_no_bias():
    first, second = random(3, 4, 1)._replace(bias=torch.zeros(4).double()), random(4, 6)
    x = image(3)
    same(applied(kernels.sequence(first, second), x), applied(second, applied(first, x)))


def test_parallel_branches_and_the_identity():
    one, other = random(4, 4, 1), random(4, 4, 5)
    skip = Kernel(kernels.identity(4, 4).double(), torch.zeros(4).double())
    x = image(4)
    same(applied(kernels.parallel(one, other, skip), x), applied(one, x) + applied(other, x) + x)


def test_streams_side_by_side():
    one, other, third = random(3, 4), random(3, 2, 1), random(2, 4)
    x, y = image(3), image(2)
    same(applied(kernels.beside(one, other), x), torch.cat([applied(one, x), applied(other, x)], 1))
    both = applied(kernels.joined(one, third), torch.cat([x, y], 1))
    same(both, applied(one, x) + applied(third, y))
    assert not applied(Kernel(*(t.double() for t in kernels.zeros(3, 2))), x).any()


def test_fixed_filters():
    taps, scale, bias = torch.randn(5, 1, 3, 3).double(), torch.randn(5, 1, 1, 1).double(), torch.randn(5).double()
    x = image(5)
    expected = F.conv2d(x, taps * scale, bias, padding=1, groups=5)
    same(applied(kernels.fixed(taps, scale, bias), x), expected)


def test_repeat_is_nearest_neighbour():
    x = torch.rand(1, 3, 4, 5)
    upscaled = F.pixel_shuffle(F.conv2d(x, kernels.repeat(3, 9), padding=1), 3)
    assert torch.equal(upscaled, F.interpolate(x, scale_factor=3, mode="nearest"))
    assert kernels.repeat(5, 4, 3).shape == (12, 5, 3, 3)


def test_clip_by_two_negations():
    kernel = random(3, 4)
    x = image(3)
    inner = F.relu(applied(kernels.one_minus(kernel), x))
    copy = Kernel(kernels.identity(4, 4, 1).double(), torch.zeros(4).double())
    same(F.relu(applied(kernels.one_minus(copy), inner)), applied(kernel, x).clamp(0, 1))


def test_prelu_as_relu_pairs():
    first, after = random(3, 5), random(5, 2)
    slope = torch.tensor([0.0, 0.25, -1.5, 1.0, 0.0]).double()
    x = image(3)
    one, two = kernels.rectified(first, slope, after)
    assert one.weight.shape[0] == 8
    same(applied(two, F.relu(applied(one, x))), applied(after, F.prelu(applied(first, x), slope)))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 5, "padding": "same", "bias": False},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": (3, 1), "padding": (1, 0)},
        {"kernel_size": (3, 5), "padding": (3, 2), "dilation": (3, 1)},
    ],
)
def test_any_convolution_that_keeps_the_size(options):
    conv = nn.Conv2d(4, 6, **options).double()
    x = image(4)
    with torch.no_grad():
        same(applied(kernels.of(conv), x), conv(x))


@pytest.mark.parametrize(
    "options", [{"stride": 2, "padding": 1}, {"padding": 0}, {"padding": 1, "padding_mode": "reflect"}]
)
def test_other_convolutions_are_refused(options):
    with pytest.raises(ReparameterizeError, match="does not keep the size"):
        kernels.of(nn.Conv2d(3, 3, 3, **options))


@pytest.mark.parametrize(
    ("side", "stride", "padding", "extra"),
    [(9, 2, 4, 1), (9, 3, 4, 2), (9, 4, 4, 3), (2, 2, 0, 0), (4, 2, 1, 0), (6, 3, 2, 1)],
)
def test_transposed_convolutions(side, stride, padding, extra):
    conv = nn.ConvTranspose2d(4, 3, side, stride, padding, extra).double()
    x = image(4)
    with torch.no_grad():
        same(F.pixel_shuffle(applied(kernels.of_transposed(conv), x), stride), conv(x))


@pytest.mark.parametrize("options", [(3, 2, 0), (4, 2, 1, 0, 2), ((2, 3), 2)])
def test_other_transposed_convolutions_are_refused(options):
    with pytest.raises(ReparameterizeError, match="upscale by exactly its stride"):
        kernels.of_transposed(nn.ConvTranspose2d(4, 4, *options))


def test_shuffling_is_a_pixel_shuffle():
    x = torch.randn(2, 12, 3, 4)
    shuffled = F.conv_transpose2d(x, kernels.shuffling(3, 2), stride=2, groups=3)
    assert torch.equal(shuffled, F.pixel_shuffle(x, 2))
