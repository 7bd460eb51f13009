"""HEIC, JPEG XL and AVIF of more than 8 bits: pixels, colours and metadata; a sentence where the extra is missing."""

import io
import struct
import sys
from pathlib import Path

import heic_samples
import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from image_samples import AVIF_12_BITS
from PIL import Image

import sharpbit
from sharpbit.errors import ImageError
from sharpbit.image import EXTRA_FORMATS, Metadata, is_image_name, made_by, missing_extra, open_writer, probe, read
from sharpbit.image import exif as exif_block
from sharpbit.image.space import ColourSpace

HEIC = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('pi_heif')", reason="needs pi-heif")
DEEP = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('imagecodecs')", reason="needs imagecodecs")


@HEIC
def test_heic_is_upright_with_its_colours_and_metadata():
    image = read(heic_samples.PHOTO)
    assert image.format == "HEIF" and image.notes == ()
    assert image.pixels.shape == (48, 32, 3) == (*probe(heic_samples.PHOTO), 3)
    assert np.abs(image.pixels[10, 24].astype(int) - [200, 60, 40]).max() <= 4
    assert np.abs(image.pixels[10, 8].astype(int) - [40, 160, 90]).max() <= 4
    assert image.metadata.icc is not None and b"P\0003" in image.metadata.icc
    assert exif_block.orientation(image.metadata.exif) == 1
    assert image.metadata.xmp.startswith(b"<x:xmpmeta")


@HEIC
def test_heic_of_ten_bits_keeps_them():
    image = read(heic_samples.TEN_BITS)
    assert image.pixels.dtype == np.uint16
    assert image.metadata.colour.cicp == (12, 16, 1, 1)
    assert image.notes == ("10-bit samples scaled to 16 bits",)
    row = image.pixels[4, :, 0].astype(float) / 257
    assert np.abs(row - (200 + np.arange(48) * 64 / 257)).max() < 1.5


@HEIC
def test_heic_with_alpha():
    image = read(io.BytesIO(heic_samples.ALPHA))
    assert np.abs(image.alpha[[2, 20], 10].astype(int) - [255, 128]).max() <= 2
    assert image.pixels.shape == (32, 48, 3)


@HEIC
def test_broken_and_large_heic():
    for data in (heic_samples.ALPHA[:600], heic_samples.ALPHA[:12], heic_samples.ALPHA[:300] + bytes(600)):
        with pytest.raises(ImageError):
            read(data)
    with pytest.raises(ImageError, match="max-pixels"):
        read(heic_samples.ALPHA, max_pixels=1000)


def test_heic_without_the_extra_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError, match=r"a.heic is a HEIC image.*pip install 'sharpbit\[formats\]'"):
        read(heic_samples.PHOTO, name="a.heic")


def test_names_of_images_that_an_extra_reads(monkeypatch):
    assert EXTRA_FORMATS[".heic"] == "formats"
    assert is_image_name(Path("IMG_1.HEIC")) and is_image_name(Path("a.jxl"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing_extra(Path("a.HEIC")) == "formats"
    assert missing_extra(Path("a.jxl")) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert missing_extra(Path("a.heic")) is None


def jxl(path, samples, **tags):
    spec = oiio.ImageSpec(samples.shape[1], samples.shape[0], samples.shape[2], str(samples.dtype))
    spec["compression"] = "jpegxl:100"
    for name, value in tags.items():
        spec[name] = value
    writer = oiio.ImageOutput.create(str(path))
    assert writer.open(str(path), spec) and writer.write_image(samples)
    writer.close()
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_xl(tmp_path, dtype, channels):
    samples = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (20, 30, channels)).astype(dtype)
    path = jxl(tmp_path / "a.jxl", samples)
    image = read(path)
    assert image.format == "JPEGXL" and image.notes == ()
    assert probe(path) == (20, 30)
    assert np.array_equal(image.pixels, samples[..., : 1 if channels == 1 else 3])
    assert channels < 4 or np.array_equal(image.alpha, samples[..., 3])
    assert image.metadata.icc is None and image.metadata.colour.cicp is None  # plain sRGB
    assert np.array_equal(read(path.read_bytes()).pixels, image.pixels)
    with pytest.raises(ImageError, match="max-pixels"):
        read(path, max_pixels=100)
    with pytest.raises(ImageError):
        read(path.read_bytes()[: path.stat().st_size // 2])


def box(kind, body):
    return struct.pack(">L4s", len(body) + 8, kind) + body


def boxes_of(data):
    at = 12
    while at < len(data):
        length, kind = struct.unpack_from(">L4s", data, at)
        yield kind, data[at + 8 : at + length if length else None]
        at += length or len(data)


def test_jpeg_xl_with_metadata(tmp_path):
    stream = jxl(tmp_path / "a.jxl", np.full((8, 9, 3), 100, np.uint8)).read_bytes()
    if not stream.startswith(b"\xff\x0a"):
        stream = b"".join(
            body[4:] if kind == b"jxlp" else body for kind, body in boxes_of(stream) if kind[:3] == b"jxl"
        )
    values = Image.Exif()
    values[0x010F], values[0x0112] = "maker", 6
    parts = [box(b"JXL ", b"\r\n\x87\n"), box(b"ftyp", b"jxl \0\0\0\0jxl ")]
    parts += [box(b"Exif", bytes(4) + exif_block.strip_prefix(values.tobytes())), box(b"xml ", b"<x:xmpmeta/>")]
    image = read(b"".join([*parts, box(b"jxlc", stream)]))
    assert image.pixels.shape == (8, 9, 3)  # the decoder turns it by its own header, not by EXIF
    values.load(image.metadata.exif)
    assert values[0x010F] == "maker" and values[0x0112] == 1
    assert image.metadata.xmp == b"<x:xmpmeta/>"


@DEEP
def test_jpeg_xl_with_compressed_metadata(tmp_path):
    """As most encoders write it."""
    path = jxl(tmp_path / "a.jxl", np.full((8, 9, 3), 100, np.uint8), Make="maker")
    assert b"brobExif" in path.read_bytes()
    values = Image.Exif()
    values.load(read(path).metadata.exif)
    assert values[0x010F] == "maker"


@DEEP
def test_avif_keeps_its_bits(tmp_path):
    image = read(AVIF_12_BITS)
    assert image.pixels.dtype == np.uint16
    assert image.notes == ("12-bit samples scaled to 16 bits",)
    assert np.abs(image.pixels[8, 8] / 257 - 124).max() <= 2
    (tmp_path / "a.avif").write_bytes(AVIF_12_BITS)
    assert read(sharpbit.upscale(tmp_path / "a.avif", tmp_path / "b.png")).pixels.dtype == np.uint16


def avif(pixels, alpha=None, **metadata):
    target = io.BytesIO()
    height, width, channels = pixels.shape
    how = {"height": height, "width": width, "channels": channels, "alpha": alpha is not None, "dtype": pixels.dtype}
    with open_writer(target, "AVIF", **how, metadata=Metadata(**metadata)) as writer:
        writer.write(pixels, alpha)
    return target.getvalue()


@DEEP
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("bits", [10, 12, None])
def test_avif_is_written_with_all_its_bits_and_metadata(channels, alpha, bits):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (3, 4, channels), np.uint16).repeat(8, 0).repeat(8, 1)
    cover = rng.integers(0, 65536, (3, 4), np.uint16).repeat(8, 0).repeat(8, 1) if alpha else None
    values = Image.Exif()
    values[0x010F] = "maker"
    block = exif_block.strip_prefix(values.tobytes())
    for colour in (ColourSpace(cicp=(9, 16, 9, 1)), ColourSpace(gamma=0.5), ColourSpace()):
        data = avif(pixels, cover, bits=bits, colour=colour, exif=block, xmp=b"<x:xmpmeta/>", made="m x2")
        image = read(data)
        assert image.metadata.bits == (bits or 12)
        assert np.abs(image.pixels / 65535 - pixels / 65535).max() < 0.02
        assert cover is None or np.abs(image.alpha / 65535 - cover / 65535).max() < 0.002
        assert image.metadata.colour.cicp == colour.cicp
        assert (image.metadata.icc is not None) == (colour.gamma is not None)
        assert image.metadata.xmp == b"<x:xmpmeta/>"
        values.load(image.metadata.exif)
        assert values[0x010F] == "maker" and made_by(data) == "m x2"


@DEEP
def test_the_numbers_of_avif_stay_the_same(shared, tmp_path):
    source = shared / "data" / "reports" / "pictures" / "nclx_p3pq.avif"
    data = sharpbit.upscale(source, tmp_path / "out.avif").read_bytes()
    assert struct.unpack_from(">HHH", data, data.index(b"colrnclx") + 8) == (12, 16, 1)
    assert np.abs(read(data).pixels[::2, ::2].astype(int) - read(source).pixels).mean() < 4


def test_grey_profiles_fit_formats_that_store_rgb():
    """WebP always, and AVIF with alpha, hold grey as RGB; a profile for grey would be ignored there."""
    profile = ColourSpace(gamma=0.5).profile(1)
    pixels, cover = np.full((8, 8, 1), 100, np.uint8), np.full((8, 8), 200, np.uint8)
    for kind, alpha in (("WEBP", None), ("WEBP", cover), ("AVIF", cover), ("AVIF", None), ("PNG", cover)):
        target = io.BytesIO()
        how = {"height": 8, "width": 8, "channels": 1, "alpha": alpha is not None, "dtype": np.uint8}
        with open_writer(target, kind, **how, metadata=Metadata(icc=profile)) as writer:
            writer.write(pixels, alpha)
        image = read(target.getvalue())
        assert image.notes == () and writer.notes == ()
        assert image.metadata.icc[16:20] == (b"GRAY" if image.pixels.shape[2] == 1 else b"RGB ")


def test_the_reported_names(shared):
    """Files of a few bytes with names of newer formats are named as what they are."""
    for name in ("phone.heic", "a.jxl"):
        with pytest.raises(ImageError, match=name):
            read(shared / "data" / "reports" / "pictures" / name)


@DEEP
@pytest.mark.parametrize("alpha", [False, True])
def test_saturated_colours_of_an_avif_are_those_that_were_written(tmp_path, alpha):
    """Flat patches, as another reader decodes them; libavif rounds those of BT.601 by up to 3 of 255."""
    rng = np.random.default_rng(3)
    colours = [[60, 220, 40], [0, 255, 0], [20, 200, 20], [255, 0, 0], [0, 0, 255], *rng.integers(0, 256, (19, 3))]
    pixels = np.array(colours, np.uint8).reshape(4, 6, 3).repeat(32, 0).repeat(32, 1)
    samples = np.dstack([pixels, np.full(pixels.shape[:2], 200, np.uint8)]) if alpha else pixels
    icc = ColourSpace(cicp=(12, 13, 0, 1)).profile(3)
    Image.fromarray(samples).save(tmp_path / "a.png", icc_profile=icc, dpi=(300, 300))
    for name, options in (("b", {}), ("c", {"strip_metadata": True})):
        with Image.open(sharpbit.upscale(tmp_path / "a.png", tmp_path / f"{name}.avif", **options)) as image:
            assert image.info["icc_profile"] == icc
            off = np.asarray(image).astype(int) - samples.repeat(2, 0).repeat(2, 1)
        centres = off.reshape(4, 64, 6, 64, -1)[:, 24:40, :, 24:40]
        assert np.abs(centres.mean((1, 3))).max() <= 1
