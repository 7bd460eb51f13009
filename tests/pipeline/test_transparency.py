"""Transparency: alpha is as good as a grey image, clean where nothing or everything is seen, and without fringes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sharpbit import image as image_io
from sharpbit.image import ImageData, Metadata
from sharpbit.image.alpha import fill
from sharpbit.image.resize import shrink, upscale
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler

X2 = "x2-clean-balanced"


def through(upscaler, pixels, alpha=None):
    strips = list(upscaler.strips(ImageData(pixels, alpha, Metadata(), (), "array")))
    return np.concatenate([rows for rows, _ in strips]), alpha is not None and np.concatenate([a for _, a in strips])


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.fixture(scope="module")
def logo():
    """A ring and a bar: its alpha at 48x48, and the truth at 96x96."""
    drawing = Image.new("L", (768, 768), 0)
    draw = ImageDraw.Draw(drawing)
    draw.ellipse((100, 100, 650, 650), outline=255, width=60)
    draw.line((50, 700, 720, 90), fill=255, width=24)
    truth = np.asarray(drawing.resize((96, 96), Image.Resampling.BOX))
    return shrink(truth[..., None], 2)[..., 0], truth


def test_alpha_is_upscaled_by_the_network(logo):
    alpha, truth = logo
    colours = np.full((*alpha.shape, 3), 90, np.uint8)
    _, cover = through(Upscaler(X2), colours, alpha)
    grey, _ = through(Upscaler(X2), alpha[..., None])
    bicubic = np.clip(np.rint(upscale(alpha / np.float32(255), 2) * 255), 0, 255)
    assert psnr(cover, truth) >= psnr(grey[..., 0], truth) - 0.01
    assert psnr(cover, truth) >= psnr(bicubic, truth) + 4


def test_alpha_does_not_ring_into_what_is_wholly_seen_or_not_at_all(logo):
    alpha = np.where(logo[0] > 128, np.uint8(255), np.uint8(0))
    _, cover = through(Upscaler(X2), np.zeros((*alpha.shape, 3), np.uint8), alpha)
    for value in (0, 255):
        around = np.pad(alpha == value, 1, mode="edge")
        flat = np.logical_and.reduce([np.roll(around, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)])
        flat = flat[1:-1, 1:-1].repeat(2, 0).repeat(2, 1)
        assert flat.any()
        assert (cover[flat] == value).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [Size(2), Size(width=70)])
def test_opaque_alpha_changes_nothing(dtype, size):
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    pixels = (np.random.default_rng(0).random((30, 40, 3)) * top).astype(dtype)
    plain, _ = through(Upscaler(size=size), pixels)
    opaque, cover = through(Upscaler(size=size), pixels, np.full((30, 40), top, dtype))
    assert (cover == top).all()
    assert np.array_equal(opaque, plain)


def test_tiles_do_not_change_alpha(logo):
    """Flat tiles are left out; the result is that of the image in one piece all the same."""
    alpha = np.zeros((96, 96), np.uint8)
    alpha[30:78, 20:68] = logo[0]
    alpha[80:, 60:] = 255
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    one = through(Upscaler(X2, tile=500), pixels, alpha)
    for tile in (16, 23):
        many = through(Upscaler(X2, tile=tile), pixels, alpha)
        assert all(np.array_equal(a, b) for a, b in zip(one, many, strict=True))


@pytest.mark.parametrize("faint", [0, 1, 2, 5, 10])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_junk_under_faint_alpha_does_not_bleed(logo, faint, dtype):
    factor = np.iinfo(dtype).max // 255
    alpha = np.maximum(logo[0], faint).astype(dtype) * dtype(factor)
    pixels = np.full((*alpha.shape, 3), (200, 30, 40), dtype) * dtype(factor)
    rng = np.random.default_rng(1)
    junk = alpha <= faint * factor
    pixels[junk] = rng.integers(0, 256, (junk.sum(), 3)) * factor
    out, cover = through(Upscaler(X2), pixels, alpha)
    seen = out[cover > 16 * factor].astype(int) / factor
    assert np.abs(seen - [200, 30, 40]).max() <= 2


@pytest.mark.parametrize("width", [70, 90, 130])
def test_other_sizes_keep_the_colours_of_what_is_hardly_seen(logo, width):
    """Bicubic has negative lobes: colours weighed by next to nothing were anything (108 of 255 away)."""
    pixels = np.full((*logo[0].shape, 3), (200, 30, 40), np.uint8)
    pixels[logo[0] == 0] = (0, 255, 0)
    out, cover = through(Upscaler(X2, size=Size(width=width)), pixels, logo[0])
    assert np.abs(out[cover > 0].astype(int) - [200, 30, 40]).max() <= 2
    small, cover = through(Upscaler(X2, size=Size(width=20)), pixels, logo[0])
    assert np.abs(small[cover > 0].astype(int) - [200, 30, 40]).max() <= 2


def test_what_is_faint_everywhere_keeps_its_colours():
    """A watermark of alpha 5 is no junk: there is nothing near that is seen better."""
    pixels = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    alpha = np.full((80, 80), 5, np.uint8)
    assert fill(pixels, alpha) is pixels
    alpha[:8, :8] = 255
    filled = fill(pixels, alpha)
    assert np.array_equal(filled[24:], pixels[24:])
    assert np.array_equal(filled[:, 24:], pixels[:, 24:])
    assert not np.array_equal(filled[8:24, :8], pixels[8:24, :8])


def test_the_reported_logo(shared):
    """Junk colours under alpha 2, where others have black under alpha 0: the same is seen."""
    folder = shared / "data" / "reports" / "pictures"
    named = {name: image_io.read(folder / f"{name}.png") for name in ("logo_a2", "logo_black", "mask")}
    upscaler = Upscaler(X2)
    junk, _ = through(upscaler, named["logo_a2"].pixels, named["logo_a2"].alpha)
    black, cover = through(upscaler, named["logo_black"].pixels, named["logo_black"].alpha)
    mask, _ = through(upscaler, named["mask"].pixels)
    assert np.abs(junk.astype(int) - black)[cover > 0].max() <= 2
    edge = (cover > 0) & (cover < 255)
    assert np.abs(cover.astype(int) - mask[..., 0])[edge].mean() < 1


@pytest.mark.parametrize("junk", [1, 5, 10])
def test_junk_far_away_does_not_reach_what_is_seen(junk):
    """Hidden pixels between the two take their colours from what is seen, and not from what is faint everywhere."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] - 48
    alpha = np.where(np.hypot(y, x) < 14, 255, junk).astype(np.uint8)
    pixels = rng.integers(0, 256, (96, 96, 3), np.uint8)
    pixels[alpha == 255] = (230, 0, 18)
    out, cover = through(Upscaler(X2), pixels, alpha)
    assert (out[cover > 16] == (230, 0, 18)).all()
