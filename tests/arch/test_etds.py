"""ETDS against the authors' own code."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from sharpbit import model as models
from sharpbit.arch import ARCHITECTURES

GOLDEN = Path(__file__).parents[1] / "golden"
# parameters of the published table: converted and training form (specs of ETDS, section 1)
PUBLISHED = {
    (5, 16): {2: 12110, 3: 14300, 4: 17366},
    (4, 32): {2: 38352, 3: 42702, 4: 48792},
    (6, 32): {2: 55340, 3: 59690, 4: 65780},
    (7, 48): {2: 143850, 3: 150360, 4: 159474},
}


def part(data, prefix):
    return {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}


@pytest.fixture(params=[2, 3, 4])
def golden(request):
    return load_file(GOLDEN / f"etds_x{request.param}.safetensors")


@pytest.fixture
def model(golden):
    return models.from_state(part(golden, "state/"), "golden")


def test_both_streams(golden, model):
    whole, low = model.net.streams(golden["input/lr"])
    torch.testing.assert_close(whole, golden["output/sr"], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(low, golden["output/lf"], atol=2e-5, rtol=1e-5)


def test_loss_and_gradients(golden, model):
    whole, low = model.net.streams(golden["input/lr"])
    loss = F.l1_loss(whole, golden["input/gt"]) + 0.5 * F.l1_loss(low, golden["input/gt"])
    torch.testing.assert_close(loss, golden["output/loss"], atol=1e-6, rtol=1e-5)
    loss.backward()
    expected = part(golden, "grad/")
    assert set(expected) == {name for name, _ in model.net.named_parameters()}
    for name, weight in model.net.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], atol=1e-6, rtol=1e-3)


def test_converted_weights_and_picture(golden, model):
    published = models.from_state(part(golden, "output/converted/"), "golden")
    plain = models.reparameterize(model)
    assert published.arch.name == plain.arch.name == "plain"
    for name, weight in plain.net.state_dict().items():
        torch.testing.assert_close(weight, published.net.state_dict()[name], atol=1e-6, rtol=0)
    with torch.no_grad():
        picture = plain.net(golden["input/lr"])
    torch.testing.assert_close(picture, golden["output/plain_sr"], atol=2e-5, rtol=0)
    assert float((picture - golden["output/sr"].clamp(0, 1)).abs().max()) < 1e-5


@pytest.mark.parametrize(("blocks", "width"), PUBLISHED)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_published_number_of_parameters(blocks, width, scale):
    model = models.build("etds", scale=scale, blocks=blocks, width=width)
    assert model.parameters == PUBLISHED[blocks, width][scale]


def test_fresh_residual_stream_is_nearest_neighbour():
    net = models.build("etds", scale=3, blocks=2, width=16).net
    x = torch.rand(1, 3, 6, 5)
    expected = F.interpolate(x, scale_factor=3, mode="nearest")
    torch.testing.assert_close(net.streams(x)[1], expected, atol=0, rtol=0)


@pytest.mark.parametrize("name", ["ETDS_M5C16_x2", "ETDS_M6C32_x3", "ETDS_M7C48_x4"])
def test_published_checkpoints_load_strictly(shared, name):
    model = models.load(shared / "weights" / "etds" / "ETDS" / f"{name}.pth")
    blocks, width = (int(number) for number in name.split("_")[1][1:].split("C"))
    assert model.config == ARCHITECTURES["plain"].config(int(name[-1]), blocks, width)
    x = torch.rand(1, 3, 12, 12)
    with torch.no_grad():
        picture = model.net(x)
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


def test_published_training_form_converts(shared):
    folder = shared / "weights" / "etds" / "ETDS" / "ablations"
    model = models.load(folder / "ETDS_M6C32_x4_normal_loss.pth")
    assert model.arch.name == "etds"
    x = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        assert float((models.reparameterize(model).net(x) - model.net(x).clamp(0, 1)).abs().max()) < 1e-5
