"""Maps of the bits that patches took."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sharpbit import model as models
from sharpbit.app.bitsmap import COVER, colour, draw
from sharpbit.app.cli import app
from sharpbit.quant.adaptive import Mixed
from sharpbit.quant.qat.placement import placement
from sharpbit.twopass.patches import grid
from sharpbit.verbs.qat import fake_quantize


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    torch.manual_seed(3)
    plain = models.build("srresnet", scale=2, blocks=1, width=8)
    model = fake_quantize(plain, placement("srresnet", (4, 6, 8), 8, width=8), "cadyq", [torch.rand(2, 3, 16, 16)])
    for part in model.net.modules():
        if isinstance(part, Mixed):  # flat patches take 4 bits, others 8
            linear = part.selector.linear
            torch.nn.init.zeros_(linear.weight)
            linear.weight.data[2, :2] = 1.0
            linear.bias.data = torch.tensor([1.0, 0.0, 0.0])
    models.save(model, folder / "m.safetensors")
    models.save(plain, folder / "float.safetensors")
    half = np.full((32, 64, 3), 128, np.uint8)
    half[:, 32:] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    Image.fromarray(half).save(folder / "half.png")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def test_flat_patches_are_cold_and_others_warm(files, tmp_path):
    target = tmp_path / "map.png"
    arguments = (files / "m.safetensors", "--bits-map", files / "half.png", "-o", target, "--patch", 16, "--step", 16)
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [one["bits"] for one in told["patches"]] == [4, 4, 8, 8] * 2
    assert told["cost"]["fqr"] == 6
    with Image.open(target) as image:
        seen = np.asarray(image.convert("RGB"), float)
    cold, warm = (seen[: seen.shape[0] // 3, part].mean((0, 1)) for part in (slice(10, 200), slice(330, 520)))
    assert cold[2] > cold[1], "violet"
    assert warm[1] > warm[2] + 40, "yellow"
    before = target.read_bytes()
    refused = run(*arguments)
    assert (refused.exit_code, target.read_bytes()) == (1, before)
    assert "exists" in refused.output
    assert run(*arguments, "--overwrite").exit_code == 0


def test_colours_lie_over_what_is_kept_of_a_patch():
    image = np.full((40, 60, 3), 100, np.uint8)
    patches = grid(20, 30, 16, 10)
    image = draw(image, [(patch, 4 + k) for k, patch in enumerate(patches)], 2, (4, 8), "a caption")
    zoom = image.width // 60
    for k, patch in enumerate(patches):
        y, x = ((span.kept_from * 2 + 3) * zoom for span in (patch.rows, patch.columns))
        expected = (1 - COVER) * 100 + COVER * np.array(colour(4 + k, (4, 8)))
        assert np.abs(np.array(image.getpixel((x, y))) - expected).max() <= 1
    assert image.getpixel((image.width - 2, image.height - 2)) == (255, 255, 255), "the legend lies below"


def test_ends_of_colours():
    assert colour(3, (4, 8)) == colour(4, (4, 8)) != colour(8, (4, 8)) == colour(9, (4, 8))
    assert colour(8, (8, 8)) == colour(8, (4, 8))


@pytest.mark.parametrize(
    ("model", "output", "words"),
    [("float.safetensors", "map.png", "does not tell what bits it takes"), ("m.safetensors", "map.jpg", "as PNG")],
)
def test_mistakes(files, tmp_path, model, output, words):
    done = run(files / model, "--bits-map", files / "half.png", "-o", tmp_path / output)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())
