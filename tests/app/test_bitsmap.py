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
from sharpbit.quant.refqsr import published
from sharpbit.twopass.patches import grid
from sharpbit.verbs.qat import fake_quantize, two_pass


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


def test_a_network_in_two_passes_has_roles(tmp_path):
    torch.manual_seed(1)
    plain = models.build("srresnet", scale=2, blocks=4, width=8)
    model = two_pass(plain, published("srresnet", plain.config, "pams", 8, 4), [torch.rand(2, 3, 24, 24)], source=plain)
    models.save(model, tmp_path / "two.safetensors")
    small = np.random.default_rng(3).integers(0, 256, (60, 88, 3), np.uint8)
    small[:, :44] = ((np.arange(44) // 3) % 2 * 200)[None, :, None]
    Image.fromarray(small).save(tmp_path / "small.png")
    arguments = (tmp_path / "two.safetensors", "--bits-map", tmp_path / "small.png", "-o", tmp_path / "map.png")
    done = run(*arguments, "--patch", 24, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert {one["role"] for one in told["patches"]} == {"reference", "query", "isolated"}
    for one in told["patches"]:
        assert one["bits"] == (6 if one["role"] == "query" else 8)
        assert (one["reference"] is not None) == (one["role"] == "query")
        assert one["reference"] is None or told["patches"][one["reference"]]["role"] == "reference"
    assert 0 < told["cost"]["queries"] < 1
    framed = next(one for one in told["patches"] if one["role"] == "reference")
    with Image.open(tmp_path / "map.png") as image:
        zoom = image.width // 88
        x, y = (framed[key] * zoom + 5 for key in ("left", "top"))
        x, y = (value + (zoom * 3 if value > 5 else 0) for value in (x, y))  # what is kept begins 3 pixels inside
        assert image.getpixel((x, y + 20)) == (255, 255, 255), "the white middle of a frame"
    done = run(*arguments, "--patch", 24, "--overwrite")
    assert " query, " in done.output
