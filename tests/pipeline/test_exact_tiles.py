"""Tiled output equals untiled output exactly: every embedded model, every kind of sample, odd sizes and tiles."""

import numpy as np
import pytest

from sharpbit import zoo
from sharpbit.image import ImageData, Metadata
from sharpbit.pipeline import tiles
from sharpbit.pipeline.upscaler import Upscaler

SIZES = [(1, 1), (1, 7), (5, 3), (37, 53), (40, 131)]
TILES = [8, 9, 31, 64]
SAMPLES = [np.uint8, np.uint16, np.float32]
WHOLE = 4096


def image(height, width, dtype, channels=3, alpha=False, seed=0):
    """Flat areas, edges and noise, from black to white."""
    rng = np.random.default_rng(seed)
    base = np.repeat(np.repeat(rng.random((height // 6 + 1, width // 6 + 1, channels)), 6, 0), 6, 1)[:height, :width]
    values = np.clip(base * 1.2 - 0.1 + rng.normal(0, 0.03, base.shape), 0, 1)
    cover = np.clip(rng.random((height, width)) * 3 - 1, 0, 1) if alpha else None
    return ImageData(_as(values, dtype), None if cover is None else _as(cover, dtype), Metadata(), (), "array")


def _as(values, dtype):
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return np.ascontiguousarray((values * top).round(0 if top > 1 else 7).astype(dtype))


def result(upscaler, source):
    strips = list(upscaler.strips(source))
    pixels = np.concatenate([rows for rows, _ in strips])
    return pixels if source.alpha is None else np.dstack([pixels, np.concatenate([rows for _, rows in strips])])


@pytest.fixture(scope="module", params=zoo.models())
def opened(request):
    return {
        tile: Upscaler(request.param, tile=tile, threads=1 + number % 2) for number, tile in enumerate([WHOLE, *TILES])
    }


@pytest.mark.parametrize("dtype", SAMPLES)
def test_tiled_equals_untiled(opened, dtype):
    """Each size meets each tile with one kind of sample, and each kind all sizes and all tiles."""
    for number, (height, width) in enumerate(SIZES):
        source = image(height, width, dtype)
        whole = result(opened[WHOLE], source)
        scale = whole.shape[0] // height
        assert whole.shape == (height * scale, width * scale, 3)
        assert whole.dtype == dtype
        for place, tile in enumerate(TILES):
            if (number + place) % 3 == SAMPLES.index(dtype):
                assert np.array_equal(result(opened[tile], source), whole), (height, width, tile)


@pytest.mark.parametrize("channels", [1, 3])
def test_with_alpha(opened, channels):
    source = image(37, 53, np.uint8, channels, alpha=True)
    whole = result(opened[WHOLE], source)
    assert whole.shape[2] == channels + 1
    for tile in TILES:
        assert np.array_equal(result(opened[tile], source), whole), tile


def test_the_ensemble_too():
    name = next(iter(zoo.models()))
    source = image(37, 41, np.uint8)
    whole, tiled = (result(Upscaler(name, tile=tile, ensemble=True), source) for tile in (WHOLE, 15))
    assert np.array_equal(whole, tiled)
    assert not np.array_equal(whole, result(Upscaler(name), source))


def test_a_halo_one_pixel_too_small_would_show(opened, monkeypatch):
    """The test itself can fail: with a smaller halo the results differ."""
    source = image(40, 131, np.float32)
    whole = result(opened[WHOLE], source)
    cut = tiles.rows
    monkeypatch.setattr(tiles, "rows", lambda height, width, tile, halo, grid: cut(height, width, tile, halo - 2, grid))
    assert not np.array_equal(result(opened[31], source), whole)


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (40, 33)])
@pytest.mark.parametrize("tile", [8, 15, 100])
def test_a_cut_tile_is_a_piece_of_the_mirrored_image(size, tile):
    source = np.random.default_rng(0).random((*size, 3))
    halo = 8
    mirrored = np.pad(source, ((halo, halo), (halo, halo), (0, 0)), mode="symmetric")
    for row in tiles.rows(*size, tile, halo):
        for piece in row:
            expected = mirrored[piece.top : piece.bottom + 2 * halo, piece.left : piece.right + 2 * halo]
            assert np.array_equal(piece.cut(source), expected)
            assert np.array_equal(piece.trim(expected, 1), source[piece.top : piece.bottom, piece.left : piece.right])


@pytest.mark.parametrize("name", zoo.models())
def test_one_colour_stays_one_colour_up_to_the_edge(name):
    """However small the image: a network that saw black beyond the edge would darken it."""
    upscaler = Upscaler(name)
    for colour in ([250, 250, 250], [200, 30, 90], [0, 0, 0]):
        pixel = np.array(colour, np.uint8).reshape(1, 1, 3)
        one = result(upscaler, ImageData(pixel, None, Metadata(), (), "array"))
        assert np.abs(one.astype(int) - colour).max() <= 6
        for size in [(1, 9), (4, 2), (30, 20)]:
            out = result(upscaler, ImageData(np.tile(pixel, (*size, 1)), None, Metadata(), (), "array"))
            assert np.array_equal(out, np.tile(one, (*size, 1)))


@pytest.mark.parametrize(("height", "width", "tile", "halo"), [(1, 1, 8, 3), (50, 33, 16, 5), (17, 200, 64, 0)])
def test_tiles_cover_every_pixel_once(height, width, tile, halo):
    seen = np.zeros((height, width), int)
    for row in tiles.rows(height, width, tile, halo):
        for piece in row:
            seen[piece.top : piece.bottom, piece.left : piece.right] += 1
            assert max(piece.bottom - piece.top, piece.right - piece.left) <= tile
            assert piece.halo == halo
    assert (seen == 1).all()
