"""Models of every kind, measured; and published numbers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sharpbit
from sharpbit import zoo
from sharpbit.errors import ModelError, UsageError
from sharpbit.export import EXPORTS
from sharpbit.model import build, save
from sharpbit.verbs.evaluate import evaluate, expand, open_model

SET5 = [  # measured-mod12-float of the published table: PSNR and SSIM with all their digits
    ("ETDS_M5C16_x2.pth", 37.1810, 0.95783),
    ("ETDS_M6C32_x2.pth", 37.5409, 0.95926),
    ("ETDS_M6C32_x3.pth", 33.6457, 0.92139),
    ("ETDS_M5C16_x4.pth", 30.8711, 0.87378),
    ("ETDS_M7C48_x4.pth", 31.6888, 0.88887),
]
BICUBIC = [(2, 33.9542, 0.93339), (3, 30.6109, 0.87194), (4, 28.5997, 0.81398)]


@pytest.fixture(scope="module")
def set5(shared):
    return shared / "data" / "benchmarks" / "Set5"


@pytest.fixture
def tiny(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(2):
        rough = rng.integers(0, 256, (7, 8, 3), np.uint8)
        path = tmp_path / "Tiny" / "HR" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rough).resize((72, 60), Image.Resampling.BICUBIC).save(path)
    return tmp_path / "Tiny"


@pytest.mark.parametrize(("name", "psnr", "ssim"), SET5)
def test_published_numbers(shared, set5, name, psnr, ssim):
    result = evaluate(shared / "weights" / "etds" / "ETDS" / name, [set5])
    (score,) = result.sets
    assert (score.name, len(score.images)) == ("Set5", 5)
    assert score.psnr == pytest.approx(psnr, abs=0.001)
    assert score.ssim == pytest.approx(ssim, abs=0.00002)


@pytest.mark.parametrize(("scale", "psnr", "ssim"), BICUBIC)
def test_bicubic_row(set5, scale, psnr, ssim):
    (score,) = evaluate("bicubic", [set5], scale=scale).sets
    assert (score.psnr, score.ssim) == pytest.approx((psnr, ssim), abs=0.0001)


def test_the_other_bicubic(set5):
    (score,) = evaluate("bicubic-matlab", [set5], scale=2).sets
    assert score.psnr == pytest.approx(33.66, abs=0.005)


def test_all_kinds_of_files_agree(tmp_path, tiny):
    model = build("etds", scale=2, blocks=1, width=8)
    save(model, tmp_path / "m.safetensors")
    EXPORTS["onnx"](model, tmp_path / "m.onnx")
    results = [evaluate(tmp_path / name, [tiny], threads=1) for name in ("m.safetensors", "m.onnx")]
    assert ["PyTorch" in result.engine for result in results] == [True, False]
    one, other = (result.sets[0] for result in results)
    assert (one.name, one.protocol) == (other.name, other.protocol)
    assert one.psnr == pytest.approx(other.psnr, abs=1e-3)


def test_in_python(tiny):
    result = sharpbit.evaluate(next(iter(zoo.models())), [tiny])
    assert result.scale == zoo.models()[result.model].scale
    assert result.sets[0].psnr == pytest.approx(np.mean([score.psnr for score in result.sets[0].images]))


def test_mistakes_are_told(tmp_path, tiny):
    with pytest.raises(UsageError, match="say which with --scale"):
        open_model("bicubic")
    with pytest.raises(ModelError, match=r"there is no model file .*nothing\.pth"):
        open_model(str(tmp_path / "nothing.pth"))
    with pytest.raises(UsageError, match="x2 model and the scale asked for is 4"):
        open_model("x2-clean-balanced", 4)
    with pytest.raises(ModelError, match="holds no model files"):
        list(expand([str(tiny)]))
    with pytest.raises(UsageError, match="nothing to measure on"):
        evaluate("bicubic", [], scale=2)
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(ModelError, match=r"text\.pth"):
        evaluate(tmp_path / "text.pth", [tiny])


def test_folders_of_models(tmp_path):
    for name in ("b.pth", "a.onnx", "inner/c.safetensors", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [Path(name).name for name in expand([str(tmp_path), "x"])] == ["a.onnx", "b.pth", "c.safetensors", "x"]


def test_onnx_needs_no_torch(tiny):
    code = (
        "import sys, sharpbit; sharpbit.evaluate('x2-clean-balanced', [sys.argv[1]]);"
        "print(sorted({'torch', 'onnx', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tiny], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
