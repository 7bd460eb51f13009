"""Images through integer networks: bytes stay bytes, tiles stay exact, deep images take a float model."""

import numpy as np
import pytest

import integer_files
import sharpbit
from sharpbit import zoo
from sharpbit.errors import ResultError, UsageError
from sharpbit.image import ImageData, Metadata
from sharpbit.pipeline import cutting, engines
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler

SCALE, DEPTH = 2, 4


@pytest.fixture(scope="module")
def chain():
    return integer_files.chain(scale=SCALE, depth=DEPTH)


@pytest.fixture(scope="module")
def path(chain, tmp_path_factory):
    return integer_files.write(chain, tmp_path_factory.mktemp("bytes") / "i.onnx")


class Reference:
    """The integer chain itself, as an engine; `wide` or not. Notes the shapes that it got."""

    engine, precision, instruction_set, device, threads = "reference", "int8", "", "cpu", 1
    tile, notes, samples = None, (), np.uint8

    def __init__(self, chain, wide, spoil=lambda result: result):
        self.spoil = spoil
        self.chain, self.wide, self.scale, self.halo = chain, wide, chain.scale, len(chain.layers)
        self.seen = []

    def __call__(self, tiles):
        for tile in tiles:
            assert tile.dtype == np.uint8
            self.seen.append(tile.shape)
            yield self.spoil(self.chain.run(tile))


def image(height, width, dtype=np.uint8, channels=3, alpha=False):
    rng = np.random.default_rng(0)
    blocks = rng.random((height // 5 + 1, width // 5 + 1, channels)).repeat(5, 0).repeat(5, 1)[:height, :width]
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    cover = np.clip(np.hypot(*np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]) * 2 - 0.3, 0, 1)
    samples = (blocks * top).astype(dtype)
    return ImageData(np.ascontiguousarray(samples), (cover * top).astype(dtype) if alpha else None, Metadata(), (), "x")


def whole(strips):
    return np.concatenate([rows for rows, _ in strips])


def mirrored(chain, pixels):
    """What the network makes of an image that goes on beyond its edges."""
    halo = len(chain.layers)
    out = chain.run(np.pad(pixels, ((halo, halo), (halo, halo), (0, 0)), mode="symmetric"))
    return out[halo * SCALE : -halo * SCALE, halo * SCALE : -halo * SCALE]


@pytest.mark.parametrize("tile", [None, 8, 17, 300])
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (61, 37)])
def test_bytes_are_the_networks_own(chain, path, size, tile):
    source = image(*size)
    out = whole(Upscaler(path, tile=tile, engine="onnx", threads=1).strips(source))
    assert out.dtype == np.uint8
    assert np.array_equal(out, mirrored(chain, source.pixels))


@pytest.mark.parametrize("wide", [False, True])
def test_wide_engines_get_whole_rows(chain, path, wide, monkeypatch):
    monkeypatch.setattr(cutting, "WIDE", 1)
    monkeypatch.setattr(cutting, "LOW", 16)
    monkeypatch.setattr(cutting, "TILE", 20)
    engine = Reference(chain, wide)
    monkeypatch.setattr(engines, "open_engine", lambda *args, **more: engine)
    source = image(61, 50)
    assert np.array_equal(whole(Upscaler(path).strips(source)), mirrored(chain, source.pixels))
    widths = {shape[1] - 2 * DEPTH for shape in engine.seen}
    assert widths == {50} if wide else max(widths) <= 20
    assert max(shape[0] - 2 * DEPTH for shape in engine.seen) <= (16 if wide else 20)


@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_and_grey(path, channels):
    source = image(40, 33, channels=channels, alpha=True)
    strips = list(Upscaler(path, engine="onnx").strips(source))
    assert whole(strips).shape == (80, 66, channels)
    assert {rows.dtype for rows, _ in strips} == {np.dtype(np.uint8)}
    if channels == 1:
        same = ImageData(source.pixels.repeat(3, 2), source.alpha, Metadata(), (), "x")
        colour = whole(Upscaler(path, engine="onnx").strips(same)).astype(float)
        assert np.abs(whole(strips)[..., 0] - colour @ [0.299, 0.587, 0.114]).max() <= 0.51


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_deep_image_in_an_8_bit_model_is_said(path, dtype, tmp_path):
    source = image(24, 20, dtype)
    opened = Upscaler(path, engine="onnx")
    out = whole(opened.strips(source))
    assert out.dtype == dtype
    assert opened.losses(source) == (f"{path} has 8 bits per sample: so has the result",)
    assert opened.losses(image(24, 20)) == ()
    levels = out.astype(np.float64) / (np.iinfo(dtype).max if dtype == np.uint16 else 1) * 255
    assert np.abs(levels - np.rint(levels)).max() < 1e-4


def test_the_ensemble_of_bytes(path):
    source = image(24, 24)
    straight = whole(Upscaler(path, ensemble=True, engine="onnx").strips(source))
    assert straight.dtype == np.uint8
    turned = ImageData(np.ascontiguousarray(np.rot90(source.pixels)), None, Metadata(), (), "x")
    assert np.array_equal(whole(Upscaler(path, ensemble=True, engine="onnx").strips(turned)), np.rot90(straight))


def test_other_sizes(path):
    out = whole(Upscaler(path, size=Size(width=50), engine="onnx").strips(image(40, 33)))
    assert out.shape == (61, 50, 3)


def test_wrong_bytes_are_caught(chain, path, monkeypatch):
    engine = Reference(chain, True, lambda result: 255 - result)
    monkeypatch.setattr(engines, "open_engine", lambda *args, **more: engine)
    dark = ImageData(np.full((40, 40, 3), 20, np.uint8), None, Metadata(), (), "x")
    with pytest.raises(ResultError, match="colour"):
        list(Upscaler(path).strips(dark))


@pytest.fixture
def two_models(path, tmp_path, monkeypatch):
    """A zoo of an integer and a float model of one scale."""
    (tmp_path / "x2-clean-balanced.onnx").write_bytes(path.read_bytes())
    (tmp_path / "x2-clean-float.onnx").write_bytes(zoo.path_of("x2-clean-float").read_bytes())
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    zoo.models.cache_clear()
    yield
    zoo.models.cache_clear()


def test_deep_images_take_the_float_model(two_models):
    assert (zoo.for_scale(2), zoo.for_scale(2, True), zoo.for_scale(3)) == (
        "x2-clean-balanced",
        "x2-clean-float",
        None,
    )
    assert zoo.scales() == [2]
    opened = Upscaler(engine="onnx")
    assert opened.plan(20, 30)[0] == "x2-clean-balanced"
    assert opened.plan(20, 30, np.uint16)[0] == "x2-clean-float"
    assert Upscaler(engine="native").plan(20, 30, np.uint16)[0] == "x2-clean-balanced"
    source = image(24, 20, np.uint16)
    assert opened.losses(source) == ()
    assert len(np.unique(whole(opened.strips(source)))) > 256
    assert sharpbit.upscale(source.pixels, engine="onnx").dtype == np.uint16


def test_one_model_for_all_where_there_is_no_other(two_models, tmp_path):
    (tmp_path / "x2-clean-float.onnx").unlink()
    zoo.models.cache_clear()
    assert zoo.for_scale(2, True) == zoo.for_scale(2) == "x2-clean-balanced"


def test_each_scale_has_both_models():
    for scale in zoo.scales():
        names = zoo.for_scale(scale), zoo.for_scale(scale, True)
        assert [zoo.models()[name].precision for name in names] == ["int8", "float32"]


def test_engines_that_are_none():
    with pytest.raises(UsageError, match="no runtime called 'onnnx'"):
        list(Upscaler(engine="onnnx").strips(image(8, 8)))
