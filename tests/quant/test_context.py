"""Image gradient and edge score against the authors' own code."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sharpbit.errors import UsageError
from sharpbit.quant.context import _grey, _laplacian, edge_score, image_gradient


@pytest.fixture
def tensors(golden_path):
    return lambda name: load_file(golden_path(name))


@pytest.mark.parametrize("number", range(5))
def test_image_gradient(tensors, number):
    case = tensors("image_gradient")
    x = torch.from_numpy(case[f"input/image{number}"]).double() / 255
    for gain in (1, 1000):
        expected = torch.from_numpy(case[f"output/x{gain}/image{number}"])
        torch.testing.assert_close(image_gradient(x) * gain, expected, rtol=1e-7, atol=0)


def test_image_gradient_of_a_ramp():
    x = torch.zeros(2, 3, 8, 9)
    x[0] = torch.arange(9) / 9
    found = image_gradient(x)
    assert found.shape == (2, 2)
    assert found[0, 0] == pytest.approx((7 + 2 * 0.5) / 9 / 9)  # half at both edges
    assert found.flatten()[1:].abs().max() < 1e-7


@pytest.mark.parametrize("number", range(5))
def test_edge_score(tensors, number):
    case = tensors("cabm_edge_score")
    image = np.ascontiguousarray(case[f"input/rgb{number}"].transpose(1, 2, 0))
    name = f"output/rgb{number}"
    assert np.array_equal(_grey(image), case[f"{name}/gray"])
    assert np.array_equal(_laplacian(_grey(image)), case[f"{name}/abs_laplacian"])
    assert edge_score(image) == pytest.approx(float(case[f"{name}/score"]), rel=1e-13)
    assert round(edge_score(image), 2) == float(case[f"{name}/score_rounded"])
    assert edge_score(image, released=True) == pytest.approx(float(case[f"{name}/released_score"]), rel=1e-13)


def test_grey_of_many_colours(tensors):
    case = tensors("cabm_edge_score")
    assert np.array_equal(_grey(case["input/colours"].transpose(1, 2, 0)), case["output/colours/gray"])


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)])
def test_edge_score_of_something_else(image):
    with pytest.raises(UsageError, match="uint8 image"):
        edge_score(image)
