"""PSNR, SSIM and bicubic against the authors' code."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from sharpbit.errors import UsageError
from sharpbit.image.resize import resize, resize_rows, shrink, upscale
from sharpbit.measure.psnr import psnr
from sharpbit.measure.ssim import ssim

GOLDEN = Path(__file__).parents[1] / "golden"
METRICS = load_file(GOLDEN / "metrics_psnr_ssim.safetensors")
RESIZED = load_file(GOLDEN / "resize_matlab_bicubic.safetensors")
TOLERANCE = json.loads(safe_open(GOLDEN / "metrics_psnr_ssim.safetensors", "np").metadata()["meta"])["tolerance"]


@pytest.mark.parametrize("key", [key for key in METRICS if key.startswith("output/")])
def test_metrics(key):
    name, kind, channel, crop = key.removeprefix("output/").split("_")
    a, b = METRICS[f"input/{name}_a"], METRICS[f"input/{name}_b"]
    measure = {"psnr": psnr, "ssim": ssim}[kind]
    assert measure(a, b, border=int(crop[4:]), channel=channel) == pytest.approx(
        float(METRICS[key]), abs=TOLERANCE[kind]
    )


def test_equal_and_unequal_images():
    image = METRICS["input/blur_a"]
    assert psnr(image, image, border=0) == float("inf")
    assert ssim(image, image, border=0) == pytest.approx(1)
    for measure in (psnr, ssim):
        with pytest.raises(UsageError, match="one size"):
            measure(image, image[1:], border=0)
        with pytest.raises(UsageError, match="border of 40"):
            measure(image, image, border=40)
        with pytest.raises(UsageError, match="y or rgb"):
            measure(image, image, border=0, channel="u")


def test_psnr_of_one_level():
    a = np.full((20, 20, 3), 100, np.uint8)
    assert psnr(a, a + 1, border=2, channel="rgb") == pytest.approx(20 * np.log10(255), abs=1e-9)


@pytest.mark.parametrize(
    "key", [key for key in RESIZED if key.startswith("output/") and not key.endswith("round_each")]
)
def test_resizing(key):
    name, direction, factor, kind = key.removeprefix("output/").split("_", 3)
    source, expected, scale = RESIZED[f"input/{name}"], RESIZED[key], int(factor[1:])
    out = resize(source.astype(np.float64), *expected.shape[:2], scale=scale if direction == "up" else 1 / scale)
    if kind == "float64":
        assert np.abs(out - expected).max() < 1e-9
    else:
        assert np.array_equal(np.rint(np.clip(out, 0, 255)), expected)
        if direction == "down":
            assert np.array_equal(shrink(source, scale), expected)


@pytest.mark.parametrize("target", [(61, 40), (20, 90), (7, 5), (46, 37)])
def test_rows_are_rows_of_the_whole(target):
    source = RESIZED["input/natural"].astype(np.float32)
    whole = resize(source, *target)
    for top in range(0, target[0], 9):
        rows = slice(top, min(target[0], top + 9))
        some = resize_rows(lambda part: source[part], source.shape, target, rows)
        assert np.allclose(some, whole[rows], atol=1e-4)


def test_what_cannot_be_measured():
    image = METRICS["input/blur_a"]
    with pytest.raises(UsageError, match="uint8, not float32"):
        psnr(image.astype(np.float32) / 255, image, border=0)
    with pytest.raises(UsageError, match="SSIM needs 11 pixels"):
        ssim(image[:14], image[:14], border=2)
    assert ssim(image[:15], image[:15], border=2) == pytest.approx(1)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (21, 34)])
def test_upscaling_by_a_whole_factor_is_resizing(scale, size):
    source = np.random.default_rng(0).random(size)
    expected = resize(source, size[0] * scale, size[1] * scale)
    assert np.abs(upscale(source, scale) - expected).max() < 1e-12
