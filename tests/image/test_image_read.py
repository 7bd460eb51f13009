"""What `read` and `probe` make of images that other programs wrote, whole, turned, deep and broken."""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
import tifffile
from image_samples import AVIF_12_BITS, SRGB, XMP, array, cmyk_profile, encoded, exif, png16, with_chunk
from PIL import Image, ImageCms

from sharpbit.errors import ImageError, ImageTooLarge
from sharpbit.image import MAX_PIXELS, from_pil, is_image_name, probe, read, to_pil

T = Image.Transpose
TOO_MUCH = [("f4", "floating-point"), ("f2", "floating-point"), ("i2", "signed"), ("u4", "32-bit")]
STORED = {  # how an image lies in a file whose orientation tag makes it upright
    1: None,
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}


def stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    how = STORED[orientation]
    if how is None:
        return pixels
    planes = [Image.fromarray(np.ascontiguousarray(pixels[..., k])).transpose(how) for k in range(pixels.shape[2])]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def sentence(source: Any, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read(source, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message.replace(str(source), "")) < 400
    return message


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "PNG16", "JPEG", "WEBP", "AVIF", "TIFF", "TIFF16"])
def test_every_orientation_is_applied_and_reset(kind: str, orientation: int, tmp_path: Path) -> None:
    deep = kind.endswith("16")
    upright = np.kron(array(6, 9, 3, np.uint16 if deep else np.uint8), np.ones((8, 8, 1), np.uint8))
    upright = upright.astype(np.uint16 if deep else np.uint8)
    lying = stored(upright, orientation)
    tag = Image.Exif()
    tag[274] = orientation
    if kind == "PNG16":
        data = with_chunk(png16(lying), b"eXIf", exif(orientation), last=True)
    elif kind == "TIFF16":
        out = io.BytesIO()
        tifffile.imwrite(out, lying, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
        data = out.getvalue()
    else:
        options: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
        options |= {"quality": 100, "subsampling": "4:4:4"} if kind == "AVIF" else {}
        data = encoded(Image.fromarray(lying), kind, exif=tag if kind == "TIFF" else tag.tobytes(), **options)
    path = tmp_path / "picture"
    path.write_bytes(data)
    got = read(path)
    assert got.pixels.shape == upright.shape
    assert np.abs(got.pixels.astype(int) - upright).max() <= (8 if kind in ("JPEG", "AVIF") else 0)
    assert probe(path) == upright.shape[:2]
    if got.metadata.exif is not None:
        values = Image.Exif()
        values.load(got.metadata.exif)
        assert values.get(274, 1) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_keeps_every_byte_but_the_orientation(order: str) -> None:
    before = exif(6, order)
    image = Image.fromarray(array(4, 6, 3, np.uint8))
    after = read(encoded(image, "JPEG", exif=b"Exif\0\0" + before, xmp=XMP)).metadata
    assert after.exif is not None and len(after.exif) == len(before)
    changed = [at for at in range(len(before)) if before[at] != after.exif[at]]
    assert set(changed) <= {*range(30, 34), *range(46, 50)}  # the value of the orientation, the link to the thumbnail
    assert after.xmp == XMP.replace(b'"6"', b'"1"')


def test_orientation_in_xmp_counts_where_exif_has_none() -> None:
    image = Image.fromarray(array(4, 6, 3, np.uint8))
    assert read(encoded(image, "JPEG", xmp=XMP)).pixels.shape == (6, 4, 3)
    assert read(encoded(image, "JPEG", xmp=XMP, exif=b"Exif\0\0" + exif(1))).pixels.shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("mode", "kind", "channels", "alpha"),
    [
        ("1", "PNG", 1, False),
        ("L", "PNG", 1, False),
        ("LA", "PNG", 1, True),
        ("P", "PNG", 3, False),
        ("RGB", "PNG", 3, False),
        ("RGBA", "PNG", 3, True),
        ("1", "TIFF", 1, False),
        ("LA", "TIFF", 1, True),
        ("P", "TIFF", 3, False),
        ("RGBA", "TIFF", 3, True),
        ("RGBX", "TIFF", 3, False),
        ("YCbCr", "TIFF", 3, False),
        ("RGBA", "TGA", 3, True),
        ("RGBA", "ICO", 3, True),
        ("RGB", "PCX", 3, False),
        ("RGBA", "SGI", 3, True),
        ("RGB", "PPM", 3, False),
        ("1", "PPM", 1, False),
        ("RGBA", "JPEG2000", 3, True),
        ("L", "JPEG", 1, False),
        ("RGBA", "DDS", 3, True),
        ("RGBA", "QOI", 3, True),
        ("P", "BMP", 3, False),
    ],
)
def test_every_mode(mode: str, kind: str, channels: int, alpha: bool) -> None:
    source = Image.fromarray(array(32, 32, 4, np.uint8), "RGBA").convert("RGB" if "A" not in mode else "RGBA")
    image = source.convert(mode)
    got = read(encoded(image, kind, **({"quality": 100} if kind == "JPEG" else {})))
    assert got.pixels.shape == (32, 32, channels)
    assert got.pixels.dtype == np.uint8
    assert (got.alpha is not None) == alpha
    wanted = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(32, 32, channels)
    assert np.abs(got.pixels.astype(int) - wanted).max() <= (3 if kind == "JPEG" else 1 if mode == "YCbCr" else 0)
    if got.alpha is not None:
        assert np.array_equal(got.alpha, np.asarray(image.getchannel("A")))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_transparent_colours_become_alpha(mode: str) -> None:
    image = Image.new("RGB", (4, 2), "black")
    image.paste("white", (0, 0, 2, 2))
    image = image.convert(mode)
    key: Any = {"RGB": (255, 255, 255), "P": image.getpixel((0, 0))}.get(mode, 255)
    got = read(encoded(image, "PNG", transparency=key))
    assert got.alpha is not None
    assert got.alpha.tolist() == [[0, 0, 255, 255]] * 2
    assert got.pixels.shape[2] == (1 if mode in "1L" else 3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("interlace", [False, True])
def test_png_of_16_bits_is_exact(channels: int, interlace: bool) -> None:
    samples = array(19, 23, channels, np.uint16)
    got = read(png16(samples, interlace=interlace))
    colours = 3 if channels > 2 else 1
    assert got.notes == ()
    assert got.pixels.dtype == np.uint16
    assert np.array_equal(got.pixels, samples[..., :colours])
    assert (got.alpha is not None) == (channels in (2, 4))
    if got.alpha is not None:
        assert np.array_equal(got.alpha, samples[..., -1])


def test_a_transparent_colour_of_16_bits_is_compared_in_16_bits() -> None:
    samples = np.array([[[1000, 2000, 3000], [1000, 2000, 3001]]], np.uint16)
    out = io.BytesIO()
    png.Writer(2, 1, greyscale=False, bitdepth=16, transparent=(1000, 2000, 3000)).write(out, samples.reshape(1, -1))
    got = read(out.getvalue())
    assert got.alpha is not None
    assert got.alpha.tolist() == [[0, 65535]]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_of_16_bits_is_exact(channels: int, order: str, planar: str, compression: str | None) -> None:
    samples = array(19, 23, channels, np.uint16)
    colours = 3 if channels > 2 else 1
    stored_samples = samples if planar == "contig" else np.moveaxis(samples, -1, 0)
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        stored_samples if channels > 1 else samples[..., 0],
        byteorder=order,
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig=planar if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression=compression,
        metadata=None,
    )
    got = read(out.getvalue())
    assert got.format == "TIFF" and got.notes == ()
    assert np.array_equal(got.pixels, samples[..., :colours])
    assert (got.alpha is not None) == (channels in (2, 4))
    if got.alpha is not None:
        assert np.array_equal(got.alpha, samples[..., -1])


def test_tiff_with_white_as_zero_with_colours_multiplied_and_with_extra_channels() -> None:
    grey = array(9, 11, 1, np.uint16)[..., 0]
    out = io.BytesIO()
    tifffile.imwrite(out, grey, photometric="miniswhite")
    assert np.array_equal(read(out.getvalue()).pixels[..., 0], 65535 - grey)

    out = io.BytesIO()
    samples = np.array([[[100, 200, 50, 200], [0, 0, 0, 0], [7, 7, 7, 65535]]], np.uint16)
    tifffile.imwrite(out, samples, photometric="rgb", extrasamples=["assocalpha"])
    got = read(out.getvalue())
    assert got.pixels.tolist() == [[[32768, 65535, 16384], [0, 0, 0], [7, 7, 7]]]

    out = io.BytesIO()
    tifffile.imwrite(out, samples, photometric="rgb", extrasamples=["unspecified"])
    got = read(out.getvalue())
    assert got.alpha is None and got.notes == ("1 extra channel left out",)
    assert np.array_equal(got.pixels, samples[..., :3])


def test_a_tiff_of_very_many_channels_is_refused_before_it_is_decoded() -> None:
    out = io.BytesIO()
    tifffile.imwrite(out, np.zeros((2, 2, 20), np.uint16), photometric="minisblack", planarconfig="contig")
    assert "20 channels" in sentence(out.getvalue())


def test_bigtiff_and_pages() -> None:
    samples = array(9, 11, 3, np.uint16)
    out = io.BytesIO()
    tifffile.imwrite(out, np.stack([samples, samples[::-1]]), photometric="rgb", bigtiff=True)
    got = read(out.getvalue())
    assert np.array_equal(got.pixels, samples)
    assert got.still_notes == ("first of 2 pages",)


@pytest.mark.parametrize(("dtype", "what"), TOO_MUCH)
def test_tiff_samples_that_are_not_supported_say_so(dtype: str, what: str) -> None:
    out = io.BytesIO()
    tifffile.imwrite(out, np.zeros((5, 6), dtype))
    assert what in sentence(out.getvalue()) and "16" in sentence(out.getvalue())


@pytest.mark.parametrize("most", [255, 300, 1023, 4095, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_ppm_of_any_depth_is_scaled_to_the_full_range(channels: int, most: int) -> None:
    deep = most > 255
    values = (array(8, 9, channels, np.uint16).astype(np.uint64) * most // 65535).astype(">u2" if deep else "u1")
    data = f"P{6 if channels == 3 else 5} 9 8 {most}\n".encode() + values.tobytes()
    got = read(data)
    top = 65535 if deep else 255
    assert got.pixels.dtype == (np.uint16 if deep else np.uint8)
    assert np.abs(got.pixels - values.astype(float) * top / most).max() <= 0.51
    assert bool(got.notes) == (255 < most < 65535)
    assert "cut off" in sentence(data[:-3])


def test_depth_is_kept_or_its_loss_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import OpenImageIO as oiio  # noqa: N813

    samples = array(64, 80, 3, np.uint16)
    for suffix in ("sgi", "jp2"):
        path = str(tmp_path / f"image.{suffix}")
        output = oiio.ImageOutput.create(path)
        assert output.open(path, oiio.ImageSpec(80, 64, 3, "uint16"))
        assert output.write_image(samples) and output.close()
        got = read(Path(path))
        if suffix == "sgi":
            assert got.notes == () and np.array_equal(got.pixels, samples)
        else:
            assert got.notes == ("only 8 of 16 bits per sample could be read",)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # without the extra that reads all of them
    got = read(AVIF_12_BITS)
    assert got.notes == ("only 8 of 12 bits per sample could be read; sharpbit[formats] reads all",)
    assert np.abs(got.pixels[8, 8].astype(int) - 124).max() <= 2


def test_cmyk_goes_through_its_profile_and_lab_to_srgb() -> None:
    ink = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    ink.paste((255, 0, 0, 0), (0, 0, 4, 8))
    with_profile = read(encoded(ink, "TIFF", icc_profile=cmyk_profile()))
    assert with_profile.notes == ("CMYK converted to sRGB by its colour profile",)
    left, right = with_profile.pixels[4, 1].astype(int), with_profile.pixels[4, 6]
    assert right.min() > 250
    assert left.max() - left.min() < 12 and 90 < left.mean() < 150  # the profile's grey, not cyan
    assert with_profile.metadata.icc is not None and with_profile.metadata.icc[16:20] == b"RGB "
    for icc in (None, SRGB, b"broken"):
        without = read(encoded(ink, "TIFF", **({"icc_profile": icc} if icc else {})))
        assert without.metadata.icc is None
        assert "without a colour profile" in without.notes[0]
        assert without.pixels[4, 1].tolist() == [0, 255, 255]
    lab = Image.frombytes("LAB", (1, 1), bytes([255, 0, 0]))
    got = read(encoded(lab, "TIFF"))
    assert got.pixels.min() > 250 and got.metadata.icc is not None


def test_profiles_that_do_not_fit_the_pixels_are_left_out() -> None:
    grey = bytearray(SRGB)
    grey[16:20] = b"GRAY"
    image = Image.fromarray(array(5, 5, 3, np.uint8))
    assert read(encoded(image, "PNG", icc_profile=SRGB)).metadata.icc == SRGB
    for profile, why in ((bytes(grey), "for GRAY"), (SRGB[:200], "cut off"), (b"no profile at all", "broken")):
        got = read(encoded(image, "PNG", icc_profile=profile))
        assert got.metadata.icc is None and why in got.notes[0]
    assert read(encoded(image.convert("L"), "JPEG", icc_profile=SRGB)).notes


def test_broken_blocks_cost_the_block_only() -> None:
    image = Image.fromarray(array(5, 5, 3, np.uint8))
    data = encoded(image, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f", xmp=b"nothing of the kind")
    got = read(data)
    assert got.metadata.exif is None and got.metadata.xmp is None
    assert [note.split(" left out")[0] for note in got.notes] == ["XMP block", "EXIF block"]
    whole = encoded(image, "PNG")
    bomb = b"Comment\0\0" + zlib.compress(bytes(100 << 20))
    for chunk, body in ((b"zTXt", bomb), (b"iCCP", bomb), (b"iCCP", b"x\0\1nonsense"), (b"eXIf", b"II*\0")):
        got = read(with_chunk(whole, chunk, body))
        assert np.array_equal(got.pixels, np.asarray(image))
        assert len(got.notes) == 1 and "left out" in got.notes[0]
    damaged = bytearray(with_chunk(whole, b"tEXt", b"Title\0words"))
    damaged[50] ^= 255  # the checksum no longer fits
    assert np.array_equal(read(bytes(damaged)).pixels, np.asarray(image))


def png_header(height: int, width: int) -> bytes:
    head = b"IHDR" + struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">L", 13)
        + head
        + struct.pack(">L", zlib.crc32(head))
        + b"\0\0\0\1IDAT"
        + bytes(99)
    )


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    for data in (png_header(100_000, 100_000), b"P6 100000 100000 255\n" + bytes(99)):
        with pytest.raises(ImageTooLarge, match=r"has 10,000,000,000 pixels, more than .*--max-pixels 10000000000$"):
            read(data)
        with pytest.raises(ImageTooLarge):
            probe(data)
    out = io.BytesIO()
    tifffile.imwrite(out, np.zeros((40, 50, 3), np.uint16))
    for data in (out.getvalue(), encoded(Image.new("RGB", (50, 40)), "JPEG")):
        assert read(data, max_pixels=2000).pixels.shape == (40, 50, 3)
        with pytest.raises(ImageTooLarge, match="50 x 40"):
            read(data, max_pixels=1999)
    assert MAX_PIXELS >= 12000 * 8000
    large = encoded(Image.new("1", (12000, 8000)), "TIFF")
    assert probe(large) == (8000, 12000)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_an_icon_cannot_hide_its_size() -> None:
    inner = encoded(Image.new("L", (3000, 3000)), "PNG")
    entry = struct.pack("<BBBBHHLL", 16, 16, 0, 0, 1, 32, len(inner), 22)
    with pytest.raises(ImageTooLarge, match="--max-pixels"):
        read(struct.pack("<HHH", 0, 1, 1) + entry + inner, max_pixels=10**6)


def test_sources(tmp_path: Path) -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

    for data in (encoded(Image.fromarray(array(5, 5, 3, np.uint8)), "JPEG"), png16(array(5, 5, 3, np.uint16))):
        path = tmp_path / "a b ä %04d?x=1 #.png"
        path.write_bytes(data)
        wanted = read(data)
        with path.open("rb") as file:
            for source in (path, file, io.BytesIO(data), Stream(data)):
                got = read(source)
                assert np.array_equal(got.pixels, wanted.pixels)
                assert got.pixels.flags.c_contiguous and got.pixels.flags.writeable
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    odd.write_bytes(png16(array(5, 5, 3, np.uint16)))
    assert read(odd).pixels.dtype == np.uint16
    with pytest.raises(ImageTooLarge, match="longer than"):
        read(Stream(bytes(66 << 20)), max_pixels=10)


def test_what_is_no_image_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    assert "does not exist" in sentence(tmp_path / "missing.png")
    assert "is a folder" in sentence(tmp_path)
    assert "is empty" in sentence(b"")
    assert "not an image of a known format" in sentence(b"hello, this is a letter\n" * 50)
    assert "a PDF document" in sentence(b"%PDF-1.7 ...")
    assert "a PostScript file" in sentence(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    assert "a HEIC image" in sentence(b"\0\0\0\x18ftypheic" + bytes(99))
    assert "cannot be opened" in sentence(tmp_path / ("x" * 300))
    assert sentence(b"", name="my image").startswith("my image ")
    locked = tmp_path / "locked.png"
    locked.touch(0)
    if os.geteuid() != 0:
        assert "may not be read" in sentence(locked)


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "TGA", "PNG16", "TIFF16"]
)
def test_cut_or_garbled_files_give_a_image_or_one_sentence(kind: str, capfd: Any) -> None:
    pixels = array(64, 64, 3, np.uint16 if kind.endswith("16") else np.uint8)
    if kind == "PNG16":
        data = png16(pixels)
    elif kind == "TIFF16":
        out = io.BytesIO()
        tifffile.imwrite(out, pixels, photometric="rgb", compression="zlib")
        data = out.getvalue()
    else:
        data = encoded(Image.fromarray(pixels), kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    random = np.random.default_rng(7)
    for part in (0.3, 0.6, 0.9):
        assert "damaged or cut off" in sentence(data[: int(len(data) * part)]) or kind == "TGA"
    for _ in range(60):
        garbled = bytearray(data)
        for at in random.integers(0, min(len(data), random.choice([40, 400, len(data)])), 3):
            garbled[at] = random.integers(0, 256)
        try:
            assert read(bytes(garbled), max_pixels=10**6).pixels.size
        except ImageError as error:
            assert re.fullmatch(r"[^\n]{20,400}", str(error))
    assert capfd.readouterr().err == ""


def test_threads_leave_warnings_and_limits_as_they_were() -> None:
    data = encoded(Image.fromarray(array(64, 64, 3, np.uint8)), "JPEG")
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    workers = [threading.Thread(target=lambda: [read(data) for _ in range(30)]) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert list(warnings.filters) == filters
    assert limit == Image.MAX_IMAGE_PIXELS


def test_frames_are_counted() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        got = read(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert got.still_notes == (f"first of 3 {'pages' if kind == 'TIFF' else 'frames'}",)
        assert np.abs(got.pixels[4, 4].astype(int) - [255, 0, 0]).max() < 8


def test_from_and_to_pil() -> None:
    metadata = read(encoded(Image.new("RGB", (3, 2)), "PNG", icc_profile=SRGB, dpi=(300, 300))).metadata
    for channels in (1, 3):
        for dtype in (np.uint8, np.uint16):
            pixels = array(5, 7, channels, dtype)
            for alpha in (None, array(5, 7, 1, dtype, seed=1)[..., 0]):
                image = to_pil(pixels, alpha, metadata if channels == 3 else None)
                back = from_pil(image)
                exact = dtype == np.uint8 or (channels == 1 and alpha is None)
                assert np.array_equal(back.pixels, pixels if exact else (pixels / 257).round())
                assert (back.alpha is None) == (alpha is None)
                assert back.metadata.icc == (SRGB if channels == 3 else None)
    with pytest.raises(ImageError, match="floating-point"):
        from_pil(Image.new("F", (2, 2)))
    tag = Image.new("RGB", (4, 2))
    tag.getexif()[274] = 6
    tag.info["exif"] = tag.getexif().tobytes()
    assert from_pil(tag).pixels.shape == (4, 2, 3)


def test_names() -> None:
    assert all(is_image_name(Path(name)) for name in ("a.PNG", "b.jpeg", "c.TIF", "d.avif", "x/e.webp"))
    assert not any(is_image_name(Path(name)) for name in ("a.txt", ".hidden.png", "png", "a.pdf", "a.eps", "a.svg"))


def test_profile_of_the_tests_is_one() -> None:
    ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile()))
