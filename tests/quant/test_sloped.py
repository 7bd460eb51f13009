"""Eight bits for chains with slopes: what the method promises of any of them."""

import json
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import sharpbit
from noise_images import put_photos
from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.arch.integer import Config, chain_of, of_chain
from sharpbit.data.varied import varied
from sharpbit.errors import QuantizeError, UsageError
from sharpbit.export import EXPORTS
from sharpbit.modelfile import integer_chain as integer
from sharpbit.quant.sloped import SlopedSettings, quantize_sloped
from sharpbit.quant.sloped.order import costliest_first
from sharpbit.reparam.chain import chain
from sharpbit.runtime import open_engine
from sharpbit.verbs.quantize import suited

QUICK = SlopedSettings(images=8, samples=2000)


def compact(act="prelu", scale=2, width=12):
    """A small network whose result lies near the image, as that of a trained one."""
    torch.manual_seed(1)
    model = models.build("compact", scale=scale, blocks=2, width=width, act=act)
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        for layer in model.net.body:
            if isinstance(layer, torch.nn.PReLU):
                layer.weight.copy_(torch.linspace(-1, 1.3, len(layer.weight)))
        model.net.body[-1].weight.mul_(0.3)
    return model


def crops(count=12, side=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 3, side // 4, side // 4, generator=generator)
    x = torch.nn.functional.interpolate(x, (side, side), mode="bicubic")
    return (x * 255).clamp(0, 255).to(torch.uint8)


def decibels(model, integers, images):
    with torch.no_grad():
        real, got = (net(images.float() / 255).clamp(0, 1) for net in (model.net, of_chain(integers)))
    return float(-10 * torch.log10((real - got).square().mean()))


@pytest.mark.parametrize(("act", "scale"), [("prelu", 2), ("prelu", 4), ("leakyrelu", 1), ("relu", 3)])
def test_the_integers_follow_the_float_network(act, scale):
    model = compact(act, scale)
    integers = quantize_sloped(chain(model.net, "plain"), crops(), QUICK)
    assert (integers.sloped, integers.adds_image, integers.scale) == (True, True, scale)
    assert decibels(model, integers, crops(4, seed=1)) > 43


def test_compensation_and_a_scale_for_each_channel_are_worth_it():
    """A channel a hundred times as large as the others, which one scale for all would drown."""
    model = compact()
    with torch.no_grad():
        model.net.body[2].weight[0] *= 100
        model.net.body[2].bias[0] *= 100
        model.net.body[4].weight[:, 0] /= 100
    assert decibels(model, quantize_sloped(chain(model.net, "plain"), crops(), QUICK), crops(4, seed=1)) > 43


def passing(width=24, blocks=6):
    """A network that passes its channels on with small changes, as trained ones do."""
    torch.manual_seed(2)
    model = models.build("compact", scale=2, blocks=blocks, width=width)
    with torch.no_grad():
        for layer in model.net.body[2:-1]:
            layer.weight.mul_(0.02)
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight[range(width), range(width), 1, 1] = 1
                layer.bias.mul_(0.05)
            else:
                layer.weight.fill_(0.9)
        model.net.body[-1].weight.mul_(3)
    return model


def test_wide_channels_are_worth_it():
    model, images = passing(), crops(4, seed=1)
    found = {}
    for wide in (0, 16, None):
        settings = SlopedSettings(images=8, samples=2000, wide=wide, gate=99)
        integers = quantize_sloped(chain(model.net, "plain"), crops(), settings)
        found[wide] = decibels(model, integers, images)
        assert integers.wide == (() if wide == 0 else (*[wide or 24] * 6, 0))
    assert found[0] + 3 < found[16]
    assert found[16] + 0.5 < found[None]


def test_the_channels_that_are_passed_on_come_first():
    """Sixteen of 24 are, with large values; the others are small."""
    model = passing()
    with torch.no_grad():
        for layer in model.net.body[2:-1:2]:
            layer.weight[torch.arange(8), torch.arange(8), 1, 1] = 0
    found = chain(model.net, "plain")
    layers = [(s.kernel.weight.double(), s.kernel.bias.double(), s.slope.double()) for s in found.stages]
    ordered = costliest_first(layers, crops().float())
    own = ordered[1][0][:, :, 1, 1].diagonal()
    assert own[:16].min() > 0.5 > own[16:].max()


def test_no_more_wide_channels_than_the_gate_needs():
    model = passing(40)
    few = SlopedSettings(images=8, samples=2000, gate=20)
    assert max(quantize_sloped(chain(model.net, "plain"), crops(), few).wide) == 16
    flat = models.build("compact", scale=2, blocks=0, width=8)  # no layer that could take them over
    assert quantize_sloped(chain(flat.net, "plain"), crops(), QUICK).wide == ()


def test_a_chain_without_the_image():
    torch.manual_seed(0)
    model = models.build("plain", scale=2, blocks=1, width=8, act="prelu", clip="none")
    with torch.no_grad():
        model.net.layers[-1].bias.fill_(0.5)
    integers = quantize_sloped(chain(model.net, "plain"), crops(), QUICK)
    assert not integers.adds_image
    assert decibels(model, integers, crops(4, seed=1)) > 43


def test_the_network_is_the_chain_to_the_last_bit():
    integers = quantize_sloped(chain(compact().net, "plain"), crops(), QUICK)
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    net = of_chain(integers)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        got = (255 * net(x)[0]).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(got, integers.run(image))
    assert chain_of(net).payload() == integers.payload()


def test_files(tmp_path):
    model = sharpbit.quantize(
        compact(), [np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)], method="sloped"
    )
    assert model.history[-1].table()["method"] == "sloped"
    models.save(model, tmp_path / "a.safetensors")
    EXPORTS["native"](model, tmp_path / "a.sharpbit")
    wanted = chain_of(model.net).payload()
    for name in ("a.safetensors", "a.sharpbit"):
        again = models.load(tmp_path / name)
        assert again.config == model.config == Config(2, (12, 12, 12), ("slopes", "image"), (12, 12, 0))
        assert chain_of(again.net).payload() == wanted
    read, header = integer.read(tmp_path / "a.sharpbit")
    assert (read.payload(), header.config) == (wanted, {"scale": 2, "hidden": [12, 12, 12]})
    with pytest.raises(UsageError, match=r"write it as \.sharpbit"):
        EXPORTS["onnx"](model, tmp_path / "a.onnx")
    facts = sharpbit.inspect(tmp_path / "a.sharpbit")
    assert (facts.precision, facts.receptive_field) == ("int8", 9)


def test_the_command(tmp_path):
    """Nothing needs to be known but the names of the files."""
    net, out = compact(width=36), tmp_path / "fast.sharpbit"  # twice as many do not fit the method lossless
    torch.save({"params": net.net.state_dict()}, tmp_path / "net.pth")
    photos = put_photos(tmp_path / "photos", 3, 140, 130)
    run = CliRunner().invoke(app, ["quantize", str(tmp_path / "net.pth"), "--calibrate", str(photos), "-o", str(out)])
    assert run.exit_code == 0, run.output
    assert "sloped, 8 bits" in run.stdout
    assert re.search(r"wide channels +\d+ in 2 of 4 layers are kept in 16 bits, for 45 dB", run.stdout), run.stdout
    refused = ["quantize", str(tmp_path / "net.pth"), "--calibrate", str(photos), "-o", str(tmp_path / "fast.onnx")]
    run = CliRunner().invoke(app, refused)
    assert run.exit_code == 2
    assert "write it as .sharpbit, not fast.onnx" in run.output
    image = np.random.default_rng(1).integers(0, 256, (9, 11, 3), np.uint8)
    (large,) = open_engine(out)([image])
    assert np.array_equal(large, integer.read(out)[0].run(image))


def test_what_is_far_from_float_is_said(tmp_path):
    torch.save({"params": compact(width=36).net.state_dict()}, tmp_path / "net.pth")
    photos, out = put_photos(tmp_path / "photos", 3, 140, 130), tmp_path / "a.sharpbit"
    given = ["quantize", str(tmp_path / "net.pth"), "--calibrate", str(photos), "-o", str(out), "--gate", "99"]
    assert "below 99 dB from float" in CliRunner().invoke(app, given).stdout
    told = json.loads(CliRunner().invoke(app, [*given, "--overwrite", "--json"]).stdout)
    assert 35 < told["psnr"] < 99


def test_which_method_is_taken():
    assert suited(compact(width=36)) == "sloped"
    assert suited(models.build("etds", scale=2, blocks=1, width=8)) == "lossless"
    assert suited(models.build("edsr", scale=2, blocks=1, width=8)) == "graph"
    assert suited(compact(width=80)) == "graph"  # too wide for a chain
    assert suited(compact(width=16)) == "sloped"  # with ReLU alone it would be twice as wide
    assert suited(compact(width=16), portable=True) == "lossless"


def test_what_cannot_be():
    with pytest.raises(QuantizeError, match="80 out"):
        quantize_sloped(chain(compact(width=80).net, "plain"), crops(), QUICK)
    with pytest.raises(QuantizeError, match="flat"):
        quantize_sloped(chain(compact().net, "plain"), torch.zeros(2, 3, 8, 8, dtype=torch.uint8), QUICK)
    photos = [np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)]
    with pytest.raises(UsageError, match="makes 8 bits, not 6"):
        sharpbit.quantize(compact(), photos, method="sloped", bits=6)
    with pytest.raises(QuantizeError, match="chain of convolutions and PReLU"):
        sharpbit.quantize(models.build("rlfn", scale=2, width=8), photos, method="sloped")


def test_crops_are_varied_alike_each_time():
    given = crops(9, 64)
    first, second = varied(given), varied(given)
    assert torch.equal(first, second)
    assert (first.shape, first.dtype) == (given.shape, torch.uint8)
    assert not torch.equal(first[0], given[0])
