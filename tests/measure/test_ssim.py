"""PSNR and SSIM against the evaluation of the quantization papers, and a slow second writing of SSIM."""

import json

import numpy as np
import pytest
from safetensors import safe_open

from sharpbit.errors import UsageError
from sharpbit.measure import psnr as psnrs
from sharpbit.measure import ssim as ssims
from sharpbit.measure.psnr import psnr
from sharpbit.measure.ssim import ssim

THEIR_LUMA = np.array([65.738, 129.057, 25.064])  # rounded otherwise than ours; their PSNR divides by 256, SSIM by 255
KEYS = ("psnr_y", "psnr_rgb", "ssim_y")


def golden(path):
    with safe_open(path, "np") as file:
        return file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_quantization_code(shared):
    """In float64: 1e-6, with their weights of the colours for their luma."""
    meta, values = golden(shared / "golden" / "psnr_ssim.safetensors")
    bounds = json.loads(meta["tolerance"])
    for pair in range(3):
        sr, hr = (values[f"input/{kind}{pair}"][0].transpose(1, 2, 0) for kind in ("sr", "hr"))
        for scale in (2, 4):
            expected = {key: float(values[f"output/pair{pair}/{key}_x{scale}"]) for key in KEYS}
            inner = [x[scale:-scale, scale:-scale].astype(np.float64) for x in (sr, hr)]
            found = {
                "psnr_y": psnrs.of_values(*(x @ THEIR_LUMA / 256 for x in inner)),
                "psnr_rgb": psnr(sr, hr, border=scale + 6, channel="rgb"),
                "ssim_y": ssims.of_values(*(x @ THEIR_LUMA / 255 + 16 for x in inner)),
            }
            for key, value in expected.items():
                assert found[key] == pytest.approx(value, abs=bounds["ssim_abs" if key == "ssim_y" else "psnr_abs_db"])
            assert psnr(sr, hr, border=scale) == pytest.approx(expected["psnr_y"], abs=1e-4)


@pytest.mark.parametrize("size", [(11, 11), (12, 43), (27, 26), (60, 75)])
def test_ssim_is_the_mean_over_all_windows(size):
    rng = np.random.default_rng(0)
    a = rng.uniform(16, 235, size)
    b = np.clip(a + rng.normal(0, 9, size), 16, 235)
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    found = []
    for y in range(size[0] - 10):
        for x in range(size[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mean_p, mean_q = (p * window).sum(), (q * window).sum()
            var_p, var_q = ((p - mean_p) ** 2 * window).sum(), ((q - mean_q) ** 2 * window).sum()
            covariance = ((p - mean_p) * (q - mean_q) * window).sum()
            top = (2 * mean_p * mean_q + 6.5025) * (2 * covariance + 58.5225)
            found.append(top / ((mean_p**2 + mean_q**2 + 6.5025) * (var_p + var_q + 58.5225)))
    assert ssims.of_values(a, b) == pytest.approx(np.mean(found), abs=1e-10)


def test_too_small_for_the_window():
    image = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(UsageError, match="11 pixels on each side inside the border, not 20x10"):
        ssim(image, image, border=5)
