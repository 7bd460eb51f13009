"""A faster engine that is near float32: when it is tried, how near it must be, and what is said of it."""

import shutil

import numpy as np
import pytest

import sharpbit
from sharpbit import zoo
from sharpbit.errors import MissingExtra
from sharpbit.image import ImageData, Metadata
from sharpbit.pipeline import engines
from sharpbit.pipeline.engines import Engines
from sharpbit.runtime import RUNTIMES, EngineOptions, _near, open_engine
from sharpbit.verbs.upscale import Report


class Other:
    """ONNX Runtime with an error, which says that it takes no time."""

    engine, precision, instruction_set, threads, device, notes = "Other 1", "bfloat16", "", 1, "cpu", ()
    samples, tile, wide, multiple = np.float32, None, False, 1

    def __init__(self, path, error):
        self._exact = open_engine(path, "onnx", threads=1)
        self.scale, self.halo, self.error = self._exact.scale, self._exact.halo, error

    def __call__(self, tiles):
        for tile in tiles:
            (out,) = self._exact([tile])
            yield out + np.float32(self.error)


@pytest.fixture
def model(tmp_path):
    return str(shutil.copy(zoo.path_of("x2-clean-float"), tmp_path))


@pytest.fixture
def others(monkeypatch, tmp_path):
    """Engines that are tried at once, each with its error; all are twice as fast as the exact one."""

    def take(**errors):
        def opener(name):
            def of(path, *, threads=None, device=None):
                if name not in errors:
                    raise MissingExtra(name, "openvino")
                return Other(path, errors[name])

            return of

        for name in ("openvino_bf16", "openvino"):
            monkeypatch.setitem(RUNTIMES._loaded, name, opener(name))
        monkeypatch.setattr(_near, "seconds", lambda run, rounds=1: 50.0 if "Other" in repr(run) else 100.0)
        monkeypatch.setattr(engines, "ENOUGH", 1)
        monkeypatch.setenv("SHARPBIT_CACHE", str(tmp_path / "cache"))

    return take


def image(dtype=np.uint8, side=40):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(dtype)
    return ImageData(pixels, None, Metadata(), (), "array")


def taken(model, given=None, **more):
    return Engines(EngineOptions(threads=1), **more).for_image(model, given or image()).engine


def test_one_that_is_near(model, others):
    others(openvino_bf16=0.003)
    assert taken(model) == "Other 1"


def test_one_that_is_too_far(model, others):
    others(openvino_bf16=0.01, openvino=0.02)
    assert "ONNX Runtime" in taken(model)


def test_none_that_is_installed(model, others):
    others()
    assert "ONNX Runtime" in taken(model)


def test_exact_is_exact(model, others):
    others(openvino_bf16=0.003)
    assert "ONNX Runtime" in taken(model, exact=True)
    assert "ONNX Runtime" in taken(model, image(np.uint16))
    chosen = Engines(EngineOptions("onnx", threads=1)).for_image(model, image())
    assert "ONNX Runtime" in chosen.engine


def test_small_images_try_nothing(model, others, monkeypatch):
    others(openvino_bf16=0.003)
    monkeypatch.setattr(engines, "ENOUGH", 1 << 17)
    assert "ONNX Runtime" in taken(model)
    several = Engines(EngineOptions(threads=1))
    names = [several.for_image(model, image(side=256)).engine for _ in range(3)]
    assert names[0] != names[2] == "Other 1"
    assert "the first 1 images ran in ONNX Runtime" in several.describe(model)["notes"][-1]


def test_little_work_tries_nothing(model, others, monkeypatch):
    others(openvino_bf16=0.003)
    monkeypatch.setattr(_near, "seconds", lambda run, rounds=1: 1e-6)
    assert "ONNX Runtime" in taken(model)


def test_what_was_measured_is_remembered(model, others, monkeypatch, tmp_path):
    others(openvino_bf16=0.003)
    taken(model)
    monkeypatch.setattr(_near, "measured", lambda *given: pytest.fail("it was measured again"))
    assert taken(model) == "Other 1"
    (tmp_path / "cache" / "engines.json").write_text("{}")
    with pytest.raises(pytest.fail.Exception):
        taken(model)


def test_a_damaged_memory_is_measured_again(model, others, tmp_path):
    others(openvino_bf16=0.003)
    for text in ("[1", "[]", '{"a": 1}'):
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / "engines.json").write_text(text)
        assert taken(model) == "Other 1"


def test_an_integer_network_stays_exact(others):
    others(openvino_bf16=0.0)
    assert "Other" not in taken("x2-clean-balanced")


def test_what_is_said(model, others):
    """Precision and distance stand in what ran, and the way back in a note."""
    others(openvino_bf16=0.003)
    pixels = image().pixels
    result, report = sharpbit.upscale(pixels, model=model, report=True, threads=1)
    exact, plain = sharpbit.upscale(pixels, model=model, report=True, threads=1, exact=True)
    assert isinstance(report, Report)
    assert report.precision == ("bfloat16 (51 dB from float32)",)
    assert "--exact" in report.notes[-1]
    assert plain.precision == ("float32",)
    assert 1 <= np.abs(result.astype(int) - exact).max() <= 2


def test_openvino_in_bfloat16(model):
    """The real one, wherever the processor has it: within the stated distance."""
    pytest.importorskip("openvino")
    tile = engines.sample(image(side=128))
    exact, other = (open_engine(model, name, threads=1) for name in ("onnx", "openvino_bf16"))
    (wanted,), (found,) = exact([tile]), other([tile])
    assert other.precision in ("bfloat16", "float32")
    assert _near._decibels(found, wanted) >= _near.NEAR


def test_pytorch_in_bfloat16(tmp_path):
    sharpbit.save(sharpbit.build("espcn", scale=2), tmp_path / "w.safetensors")
    tile = engines.sample(image(side=128))
    exact, other = (open_engine(tmp_path / "w.safetensors", name, threads=1) for name in ("torch", "torch_bf16"))
    (wanted,), (found,) = exact([tile]), other([tile])
    assert (exact.precision, other.precision) == ("float32", "bfloat16")
    assert np.abs(found - wanted).max() > 0
    assert _near._decibels(found, wanted) >= _near.NEAR


def test_a_quarter_of_the_sample_has_noise():
    flat = ImageData(np.full((100, 50, 1), 7, np.uint8), None, Metadata(), (), "array")
    tile = engines.sample(flat)
    assert (tile.shape, tile.dtype) == ((100, 100, 3), np.float32)
    assert np.ptp(tile[:50]) == 0 < np.ptp(tile[50:, 50:])
    assert engines.sample(flat, 24).shape == (24, 24, 3)
