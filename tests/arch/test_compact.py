"""Compact, the network of realesr-general-x4v3 and realesr-animevideov3, held against a plain reading of its layers."""

import pytest
import torch

from sharpbit import model as models
from sharpbit.errors import ModelError, UsageError
from sharpbit.nn import receptive_field


def published(width=6, convolutions=2, scale=2, act="prelu"):
    """A state dict with the published names; convolutions as they count them, between the first and the last."""
    torch.manual_seed(1)
    state, inputs = {}, 3
    for number in range(convolutions + 2):
        outputs = 3 * scale**2 if number == convolutions + 1 else width
        state[f"body.{2 * number}.weight"] = 0.3 * torch.randn(outputs, inputs, 3, 3)
        state[f"body.{2 * number}.bias"] = 0.3 * torch.randn(outputs)
        if act == "prelu" and number <= convolutions:
            state[f"body.{2 * number + 1}.weight"] = torch.randn(outputs)
        inputs = outputs
    return state


def by_hand(state, x, scale, slope=None):
    """The network pixel by pixel in numpy: sums of products, a slope for each channel, squares of pixels, the image."""
    image = x[0].double().numpy()
    y = image
    layers = sorted({int(key.split(".")[1]) for key in state if key.endswith(".bias")})
    for number in layers:
        weight, bias = (state[f"body.{number}.{part}"].double().numpy() for part in ("weight", "bias"))
        height, width = y.shape[1:]
        out = bias[:, None, None].repeat(height, 1).repeat(width, 2)
        for row in range(height):
            for column in range(width):
                for down in (-1, 0, 1):
                    for right in (-1, 0, 1):
                        if 0 <= row + down < height and 0 <= column + right < width:
                            out[:, row, column] += weight[:, :, down + 1, right + 1] @ y[:, row + down, column + right]
        if number != layers[-1]:
            slopes = state[f"body.{number + 1}.weight"].double().numpy() if slope is None else [slope] * len(out)
            for channel, own in zip(out, slopes, strict=True):
                channel[channel < 0] *= own
        y = out
    result = torch.zeros(3, height * scale, width * scale, dtype=torch.float64)
    for colour in range(3):
        for row in range(height * scale):
            for column in range(width * scale):
                channel = colour * scale**2 + row % scale * scale + column % scale
                place = row // scale, column // scale
                result[colour, row, column] = y[channel][place] + image[colour][place]
    return result


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("act", ["prelu", "relu", "leakyrelu"])
def test_the_forward_is_that_of_the_plain_reading(act, scale):
    state = published(scale=scale, act=act)
    given = {"act": act} if act == "leakyrelu" else {}  # weights do not tell it from relu
    model = models.from_state(state, "weights", **given)
    assert (model.arch.name, model.scale, model.config.act) == ("compact", scale, act)
    assert (model.config.blocks, model.config.width) == (2, 6)
    x = torch.rand(1, 3, 4, 5)
    with torch.no_grad():
        expected = by_hand(state, x, scale, {"relu": 0.0, "leakyrelu": 0.1}.get(act))
        torch.testing.assert_close(model.net(x)[0].double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wrapper", ["params", "params_ema"])
def test_a_published_file_is_read_strictly(wrapper, tmp_path):
    path = tmp_path / "net.pth"
    torch.save({wrapper: published()}, path)
    assert models.load(path).arch.name == "compact"
    torch.save({wrapper: {**published(), "body.7.weight": torch.ones(6)}}, path)
    with pytest.raises(ModelError, match=r"holds no network that sharpbit knows"):
        models.load(path)
    with pytest.raises(ModelError, match=r"body\.7\.weight"):
        models.load(path, arch="compact", scale=2, blocks=2, width=6)


def test_an_unknown_activation_is_named():
    with pytest.raises(UsageError, match="'gelu'"):
        models.build("compact", scale=2, act="gelu")


@pytest.mark.parametrize(("name", "blocks"), [("realesr-general-x4v3", 32), ("realesr-animevideov3-x4", 16)])
def test_published_weights(shared, name, blocks):
    model = models.load(shared / "weights" / "real" / f"{name}.pth")
    assert (model.arch.name, model.config) == ("compact", models.build("compact", scale=4, blocks=blocks).config)
    flat = torch.full((1, 3, 40, 40), 0.5)
    with torch.inference_mode():
        middle = model.net(flat)[0, :, 76:84, 76:84]
    assert float((middle - 0.5).abs().max()) < 0.03  # a trained network keeps grey


@pytest.mark.parametrize("blocks", [0, 3])
def test_how_far_it_sees_is_known_without_a_trial(blocks):
    model = models.build("compact", scale=2, blocks=blocks, width=4)
    assert receptive_field(model.net, 2) == receptive_field(torch.nn.Sequential(model.net), 2) == 2 * blocks + 5
