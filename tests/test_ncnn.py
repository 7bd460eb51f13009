"""Networks in the two files of ncnn: read as the same network in a .pth is, or refused with the name of the layer."""

import numpy as np
import pytest
import torch

import sharpbit
from ncnn_files import chain, write
from sharpbit import model as models
from sharpbit.errors import ModelError
from sharpbit.graph import ncnn as ncnn_graph
from sharpbit.modelfile import ncnn


@pytest.fixture
def net():
    torch.manual_seed(0)
    model = models.build("compact", scale=2, blocks=1, width=5)
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        model.net.body[-1].weight.mul_(0.2)  # near the image, as a trained one is
        model.net.body[-1].bias.mul_(0.2)
    return model.net


@pytest.mark.parametrize("form", ["text", "binary"])
@pytest.mark.parametrize("half", [True, False])
def test_a_pair_is_the_network_of_the_pth(net, form, half, tmp_path):
    table, weights = chain(net.state_dict(), 2, half=half)
    path = write(tmp_path, table, weights, form=form)
    for name in (path, tmp_path / "net.bin"):
        model = sharpbit.load(name)
        assert (model.arch.name, model.config) == ("compact", net.config)
        x = torch.rand(1, 3, 7, 8)
        with torch.no_grad():  # float16 has eleven bits
            torch.testing.assert_close(model.net(x), net(x), rtol=0, atol=2e-3 if half else 1e-6)


@pytest.mark.parametrize("form", ["text", "binary"])
def test_activations_within_convolutions(net, form, tmp_path):
    model = sharpbit.load(write(tmp_path, *chain(net.state_dict(), 2, fused=True, half=False), form=form))
    leaky = models.build("compact", scale=2, blocks=1, width=5, act="leakyrelu").net
    leaky.load_state_dict(net.state_dict(), strict=False)
    x = torch.rand(1, 3, 7, 8)
    with torch.no_grad():
        torch.testing.assert_close(model.net(x), leaky(x), rtol=0, atol=1e-6)


def test_a_chain_without_the_image_is_a_plain_one(net, tmp_path):
    model = sharpbit.load(write(tmp_path, *chain(net.state_dict(), 2, skip=False, half=False)))
    assert (model.arch.name, model.config.skip) == ("plain", False)
    x = torch.rand(1, 3, 7, 8)
    with torch.no_grad():
        expected = net(x) - x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(model.net(x), expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_the_commands_take_a_pair(net, tmp_path):
    path = write(tmp_path, *chain(net.state_dict(), 2))
    facts = sharpbit.inspect(path)
    assert (facts.architecture, facts.scale, facts.receptive_field) == ("compact", 2, 7)
    image = np.random.default_rng(0).integers(0, 256, (9, 10, 3), np.uint8)
    large = sharpbit.upscale(image, model=path)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        expected = (255 * sharpbit.load(path).net(x)[0]).round().clamp(0, 255).permute(1, 2, 0).numpy()
    inner = (slice(6, -6), slice(6, -6))  # at its border the upscaler mirrors the image
    assert np.abs(large[inner].astype(float) - expected[inner]).max() <= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table, _: table.insert(3, ("Sigmoid", "gate", ["c0"], ["c0"], {})), r"layer (gate|3) \(Sigmoid\)"),
        (lambda table, _: table[2][4].update({3: 2}), r"layer (conv0|2) \(Convolution\)"),
        (lambda table, _: table[2][4].update({1: 5}), r"layer (conv0|2) \(Convolution\)"),
        (lambda table, _: table[-2][4].update({0: 2}), r"layer (resize|\d) \(Interp\)"),
        (lambda table, _: table[-1][4].update({0: 2}), r"layer (add|\d+) \(BinaryOp\)"),
        (lambda table, _: table[-3][4].update({1: 1}), r"layer (shuffle|\d) \(PixelShuffle\)"),
        (lambda table, _: table[4][2].__setitem__(0, "c0"), r"layer (conv2|4) \(Convolution\)"),
        (lambda table, _: table.pop(), "end before an upscaled image|not understood"),
        (lambda _, weights: weights.append(b"1234"), "4 bytes more"),
        (lambda _, weights: weights.__setitem__(0, weights[0][:-4]), "ends before"),
        (lambda _, weights: weights.__setitem__(0, b"\x38\x4b\x0d\x00" + weights[0][4:]), "8-bit integers"),
        (lambda _, weights: weights.__setitem__(0, b"\x01\x02\x03\x04" + weights[0][4:]), "0x04030201"),
    ],
)
@pytest.mark.parametrize("form", ["text", "binary"])
def test_what_is_not_understood_is_named(net, form, change, words, tmp_path):
    table, weights = chain(net.state_dict(), 2)
    parts = [weights]
    change(table, parts)
    if any("c0" in layer[2] for layer in table[4:]) and form == "binary":
        table[3] = (*table[3][:3], ["p0"], table[3][4])
    path = write(tmp_path, table, b"".join(parts), form=form)
    with pytest.raises(ModelError, match=words):
        ncnn.read(path)


def test_half_a_network(net, tmp_path):
    path = write(tmp_path, *chain(net.state_dict(), 2))
    (tmp_path / "net.bin").rename(tmp_path / "other.bin")
    with pytest.raises(ModelError, match=r"net\.bin is missing beside it"):
        sharpbit.load(path)
    with pytest.raises(ModelError, match=r"other\.param is missing beside it"):
        sharpbit.load(tmp_path / "other.bin")


def test_damaged_tables(net, tmp_path):
    """Whatever is cut off or changed, it is a sentence."""
    table, weights = chain(net.state_dict(), 2)
    rng = np.random.default_rng(0)
    for form in ("text", "binary"):
        path = write(tmp_path, table, weights, form=form)
        good = path.read_bytes()
        for _ in range(300):
            bad = bytearray(good[: int(rng.integers(0, len(good)))] if rng.random() < 0.3 else good)
            for _ in range(int(rng.integers(1, 4)) if bad else 0):
                bad[int(rng.integers(len(bad)))] = int(rng.integers(256))
            path.write_bytes(bytes(bad))
            for read in (ncnn.read, ncnn_graph.read):
                try:
                    read(path)
                except ModelError as error:
                    assert str(tmp_path) in str(error)


@pytest.mark.parametrize(
    ("pth", "param"),
    [("realesr-animevideov3-x4", "realesr-animevideov3-x4"), ("realesr-general-x4v3", "RealESRGAN_General_x4_v3")],
)
def test_real_files(shared, pth, param):
    """The .pth were converted from these files, so they agree exactly."""
    folder = shared / "weights" / "real"
    first, second = models.load(folder / f"{pth}.pth"), models.load(folder / f"{param}.param")
    assert first.config == second.config
    after = second.net.state_dict()
    assert all(torch.equal(after[key], value) for key, value in first.net.state_dict().items())


def test_real_files_of_other_kinds(shared):
    folder = shared / "weights" / "real"
    with pytest.raises(ModelError, match=r"layer Resize_40 \(Interp\)"):
        ncnn.read(folder / "realesr-animevideov3-x2.param")
    with pytest.raises(ModelError, match=r"layer \S+ \(Concat\)"):
        ncnn.read(folder / "realesrgan-x4plus-anime.param")
    with pytest.raises(ModelError, match="announces 2 layers and has 1"):
        models.load(shared / "data" / "reports" / "models" / "model.param")
