"""Which family of models an image gets, and that the command and Python take it and say so."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

import sharpbit
from sharpbit import image as image_io
from sharpbit import zoo
from sharpbit.app.cli import app
from sharpbit.image import ImageData, Metadata
from sharpbit.image.compression import Compression
from sharpbit.pipeline.choose import choose
from sharpbit.pipeline.upscaler import Upscaler

ALL = ("clean", "photo", "art")


def scene(side: int = 192) -> np.ndarray:
    """A smooth scene with fine, sharp details, such as a reduced photo has."""
    y, x = np.mgrid[:side, :side] / side
    rng = np.random.default_rng(3)
    values = 110 + 70 * np.sin(5 * x + 3 * y) + 12 * np.sin(40 * x * y)
    texture = rng.normal(0, 12, (side, side)) * (np.sin(9 * x) * np.sin(7 * y) > 0.3)
    return np.clip(np.stack([values + texture, values * 0.9 + texture, values * 0.8 + texture], 2), 5, 250).astype(
        np.uint8
    )


def page(side: int = 192) -> Image.Image:
    """Black words on white."""
    image = Image.new("RGB", (side, side), "white")
    for y in range(6, side, 14):
        ImageDraw.Draw(image).text((4, y), "A page of text, with words in lines", fill="black")
    return image


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chosen(data: bytes) -> tuple[str, str]:
    choice = choose(image_io.read(data), ALL)
    return choice.family, choice.why


def test_what_is_sharp_and_whole_is_clean():
    assert chosen(saved(Image.fromarray(scene()), "PNG"))[0] == "clean"
    assert chosen(saved(Image.fromarray(scene()), "JPEG", quality=96))[0] == "clean"


@pytest.mark.parametrize("quality", [40, 75, 85])
def test_a_compressed_photo_is_a_photo(quality):
    data = saved(Image.fromarray(scene()), "JPEG", quality=quality)
    assert chosen(data) == ("photo", f"JPEG quality {quality}")


def test_a_photo_is_one_without_its_file():
    """A JPEG saved again as PNG, noise and softness show in the pixels."""
    sharp = scene()
    pressed = Image.open(io.BytesIO(saved(Image.fromarray(sharp), "JPEG", quality=30)))
    assert chosen(saved(pressed, "PNG")) == ("photo", "blocks of an earlier JPEG")
    grain = np.random.default_rng(1).normal(0, 6, sharp.shape)
    assert chosen(saved(Image.fromarray(np.clip(sharp + grain, 0, 255).astype(np.uint8)), "PNG")) == ("photo", "noise")
    soft = Image.fromarray(sharp).resize((64, 64)).resize((192, 192), Image.Resampling.BICUBIC)
    assert chosen(saved(soft, "PNG")) == ("photo", "soft")


def test_text_is_art_in_any_file():
    for data in (saved(page(), "PNG"), saved(page(), "JPEG", quality=70), saved(page().convert("L"), "PNG")):
        assert chosen(data)[0] == "art"


def test_what_is_not_there_is_not_chosen():
    text = image_io.read(saved(page(), "JPEG", quality=60))
    assert choose(text, ("clean", "photo")).family == "photo"
    assert choose(text, ("clean",)).family == "clean"


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 400, 1), (7, 7, 3), (8, 8, 1), (33, 40, 3)])
def test_any_shape_and_type(shape):
    values = np.random.default_rng(0).random(shape)
    for pixels in ((255 * values).astype(np.uint8), (65535 * values).astype(np.uint16), values.astype(np.float32)):
        image = ImageData(pixels, None, Metadata(), (), "array")
        assert choose(image, ALL) == choose(image, ALL)
    assert choose(ImageData(np.zeros(shape, np.uint8), None, Metadata(), (), "array"), ALL).family == "clean"


def test_samples_of_all_types_mean_the_same():
    bytes_ = scene()
    for pixels in (bytes_.astype(np.uint16) * 257, (bytes_ / 255).astype(np.float32)):
        image = ImageData(pixels, None, Metadata(), (), "array")
        assert choose(image, ALL) == choose(ImageData(bytes_, None, Metadata(), (), "array"), ALL)


@pytest.mark.parametrize(
    ("form", "options", "expected"),
    [
        ("JPEG", {"quality": 100}, Compression("JPEG", 100)),
        ("JPEG", {"quality": 83}, Compression("JPEG", 83)),
        ("JPEG", {"quality": 30}, Compression("JPEG", 30)),
        ("WEBP", {"quality": 80}, Compression("WebP")),
        ("WEBP", {"lossless": True}, None),
        ("WEBP", {"lossless": True, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}, None),
        ("PNG", {}, None),
    ],
)
def test_compression_as_the_file_says(form, options, expected):
    assert image_io.read(saved(Image.fromarray(scene(64)), form, **options)).compression == expected


def test_compression_of_a_pillow_image():
    data = saved(Image.fromarray(scene(64)), "JPEG", quality=77)
    assert image_io.from_pil(Image.open(io.BytesIO(data))).compression == Compression("JPEG", 77)


def test_python_takes_what_was_chosen(tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(saved(Image.fromarray(scene(64)), "JPEG", quality=60))
    made = np.asarray(Image.open(sharpbit.upscale(photo, tmp_path / "a.png")))
    by_hand = np.asarray(Image.open(sharpbit.upscale(photo, tmp_path / "b.png", model="x2-photo-balanced")))
    other = np.asarray(Image.open(sharpbit.upscale(photo, tmp_path / "c.png", model="x2-clean-balanced")))
    assert np.array_equal(made, by_hand) and not np.array_equal(made, other)
    with Image.open(photo) as opened:
        assert np.array_equal(np.asarray(sharpbit.upscale(opened)), by_hand)
    whole = np.asarray(page(64))
    expected = sharpbit.upscale(whole, model="x2-art-balanced")
    assert np.array_equal(sharpbit.upscale(whole), expected)
    assert np.array_equal(sharpbit.upscale(whole, model="auto"), expected)


def test_deep_images_take_the_float_model_of_the_family():
    image = ImageData(np.asarray(page(64)).astype(np.uint16) * 257, None, Metadata(), (), "PNG")
    assert Upscaler().chain_of(image).model == "x2-art-float"
    assert Upscaler("x2-clean-balanced").chain_of(image).model == "x2-clean-balanced"


def test_a_folder_says_of_each_image_which_and_why(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(saved(Image.fromarray(scene(64)), "JPEG", quality=60))
    (folder / "b.png").write_bytes(saved(page(64), "PNG"))
    found = CliRunner().invoke(app, ["upscale", str(folder), "-o", str(tmp_path / "out"), "--json"])
    facts = [(one["model"], one["why"]) for one in json.loads(found.stdout)["pictures"]]
    assert facts == [("x2-photo-balanced", "JPEG quality 60"), ("x2-art-balanced", "flat areas and hard edges")]
    found = CliRunner().invoke(app, ["upscale", str(folder), "-o", str(tmp_path / "again"), "-v"])
    assert "[x2-photo-balanced: JPEG quality 60]" in found.stderr
    assert "x2-art-balanced (1 of 2: flat areas and hard edges)" in found.stderr
    by_hand = ["-n", "x2-clean-balanced", "-o", str(tmp_path / "by_hand.png")]
    found = CliRunner().invoke(app, ["upscale", str(folder / "a.jpg"), *by_hand])
    assert "JPEG quality" not in found.stderr and "x2-clean-balanced" in found.stderr


def test_families_of_a_scale():
    assert {"clean", "photo", "art"} <= set(zoo.families(2))
    assert zoo.for_scale(2, family="art") == "x2-art-balanced"
    assert zoo.for_scale(2, family="none") == "x2-clean-balanced"
