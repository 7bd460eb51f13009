"""The measuring core, of things that are no networks, and the bicubic baselines."""

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from sharpbit import zoo
from sharpbit.errors import SharpbitError, UsageError
from sharpbit.measure import upscaling as core
from sharpbit.measure.benchmarks import find
from sharpbit.measure.bicubic import NAMES, Bicubic
from sharpbit.measure.evaluate import evaluate
from sharpbit.measure.psnr import psnr
from sharpbit.measure.ssim import ssim
from sharpbit.measure.upscaling import by
from sharpbit.runtime import RUNTIMES


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(3):
        rough = rng.integers(0, 256, (6, 7 + k, 3), np.uint8)
        Image.fromarray(rough).resize((60, 48), Image.Resampling.BICUBIC).save(tmp_path / f"{k}.png")
    return find(tmp_path)[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_scores_are_those_of_the_metrics(images, workers):
    def nearest(small):
        return small.repeat(2, 0).repeat(2, 1)

    ticks = []
    result = evaluate(nearest, images, 2, workers=workers, progress=ticks.append)
    assert ticks == [1, 1, 1]
    for score, path in zip(result.images, images.large, strict=True):
        small, large = images.pair(path, 2)
        assert score.name == path.name
        assert score.psnr == psnr(nearest(small), large, border=2)
        assert score.ssim == ssim(nearest(small), large, border=2)
    assert result.psnr == pytest.approx(np.mean([score.psnr for score in result.images]))
    assert result.protocol.startswith("Y channel, border = scale")


def test_an_error_in_a_thread_comes_out(images):
    with pytest.raises(SharpbitError, match="of one size"):
        evaluate(lambda small: small, images, 2, workers=2)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_of_the_frameworks(shared, scale):
    values = load_file(shared / "golden" / "resize_framework_bicubic.safetensors")
    x = values[f"input/x{scale}"][0].transpose(1, 2, 0)
    (out,) = Bicubic("bicubic", scale)([x])
    apart = np.abs(out - values[f"output/x{scale}"][0].transpose(1, 2, 0)).max()
    assert apart < 2e-6  # the noise of float32 positions: in double the framework itself is 1.5e-6 away from this


def test_bicubic_of_matlab(shared):
    values = load_file(shared / "golden" / "resize_matlab_bicubic.safetensors")
    for name in ("natural", "noise", "sharp"):
        for scale in (2, 3, 4):
            out = by(Bicubic("bicubic-matlab", scale))(values[f"input/{name}"])
            apart = np.abs(out.astype(int) - values[f"output/{name}_up_x{scale}_round_once"])
            assert apart.max() <= 1  # float32 here, float64 there: exact halves may be rounded otherwise
            assert np.count_nonzero(apart) <= 0.001 * apart.size


def test_no_other_bicubic():
    with pytest.raises(UsageError, match=" and ".join(NAMES)):
        Bicubic("bilinear", 2)


def test_large_images_go_in_tiles(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (70, 41, 3), np.uint8)
    name = next(iter(zoo.models()))
    upscale = by(RUNTIMES["onnx"](zoo.path_of(name), threads=1))
    whole = upscale(image)
    monkeypatch.setattr(core, "WHOLE", 100)
    monkeypatch.setattr(core, "_TILE", 16)
    assert np.array_equal(upscale(image), whole)
