"""ETDS and its ablations against the authors' own code."""

import pytest
import torch
from torch.nn import functional as F

from sharpbit import model as models

# parameters of the training form, from the published networks
TRAINING_FORM = {
    (5, 16): {2: 12110, 3: 14300, 4: 17366},
    (4, 32): {2: 38352, 3: 42702, 4: 48792},
    (6, 32): {2: 55340, 3: 59690, 4: 65780},
    (7, 48): {2: 143850, 3: 150360, 4: 159474},
}
SCALES = [2, 3, 4]


@pytest.mark.parametrize("scale", SCALES)
def test_both_streams(golden, scale):
    case = golden(f"etds_x{scale}")
    whole, low = case.model("etds").net.streams(case["input/lr"])
    case.check(whole, "output/sr")
    case.check(low, "output/lf")


@pytest.mark.parametrize("scale", SCALES)
def test_loss_and_gradients(golden, scale):
    case = golden(f"etds_x{scale}")
    model = case.model("etds")
    whole, low = model.net.streams(case["input/lr"])
    loss = F.l1_loss(whole, case["input/gt"]) + 0.5 * F.l1_loss(low, case["input/gt"])
    torch.testing.assert_close(loss, case["output/loss"], atol=1e-6, rtol=1e-5)
    loss.backward()
    case.check_gradients(model.net)


@pytest.mark.parametrize("scale", SCALES)
def test_converted_weights_and_image(golden, scale):
    case = golden(f"etds_x{scale}")
    model = case.model("etds")
    published = case.model("plain", "output/converted/")
    ours = models.reparameterize(model, "et")
    assert ours.config == published.config
    case.check_weights(ours.net, "output/converted/")
    for converted in (published, ours, models.reparameterize(model)):
        with torch.no_grad():
            image = converted.net(case["input/lr"])
        case.check(image, "output/plain_sr")
        assert float((image - case["output/sr"].clamp(0, 1)).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("name", "options"), [("only_residual", {"add": False}), ("advanced_residual", {"advanced": True})]
)
def test_ablations(golden, name, options):
    case = golden(f"etds_ablation_{name}_x4")
    model = case.model("etds")
    assert {key: getattr(model.config, key) for key in options} == options
    whole, low = model.net.streams(case["input/lr"])
    case.check(whole, "output/sr")
    case.check(low, "output/lf")
    for form in ("plain", "et"):
        with torch.no_grad():
            assert (
                float((models.reparameterize(model, form).net(case["input/lr"]) - whole.clamp(0, 1)).abs().max()) < 1e-5
            )


def test_only_et_is_a_plain_chain_with_the_image_added(golden):
    case = golden("etds_ablation_only_et_x4")
    model = case.model("plain", scale=4, blocks=2, width=7, skip=True, clip="none")
    case.check(model.net(case["input/lr"]), "output/sr")


@pytest.mark.parametrize(("blocks", "width"), TRAINING_FORM)
@pytest.mark.parametrize("scale", SCALES)
def test_published_number_of_parameters(blocks, width, scale):
    model = models.build("etds", scale=scale, blocks=blocks, width=width)
    assert model.parameters == TRAINING_FORM[blocks, width][scale]


@pytest.mark.parametrize("options", [{}, {"add": False}, {"advanced": True}])
def test_fresh_residual_stream_is_nearest_neighbour(options):
    net = models.build("etds", scale=3, blocks=2, width=16, **options).net
    x = torch.rand(1, 3, 6, 5)
    expected = F.interpolate(x, scale_factor=3, mode="nearest")
    torch.testing.assert_close(net.streams(x)[1], expected, atol=0, rtol=0)
