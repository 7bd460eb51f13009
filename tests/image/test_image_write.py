"""What `open_writer` writes, read back by other readers than ours."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_samples import SRGB, XMP, array, exif
from isal import isal_zlib
from PIL import Image, ImageCms

from sharpbit.errors import ImageError, OutputExists, UsageError
from sharpbit.image import Metadata, WriteOptions, deflate, losses, open_writer, png, read, webp
from sharpbit.image.avif import is_deep

DTYPES = (np.uint8, np.uint16)
KINDS = ("PNG", "TIFF", "JPEG", "WEBP", "BMP", "GIF", "AVIF")
METADATA = Metadata(icc=SRGB, exif=exif(), xmp=b"<x:xmpmeta/>", dpi=(300.0, 150.0))


class Pipe(io.RawIOBase):
    """A stream that cannot seek, as standard output into a pipe."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


def written(
    kind: str, pixels: np.ndarray, alpha: np.ndarray | None = None, *, step: int = 7, target: Any = None, **options: Any
) -> bytes:
    target = io.BytesIO() if target is None else target
    height, width, channels = pixels.shape
    size = {"height": height, "width": width, "channels": channels}
    with open_writer(target, kind, **size, alpha=alpha is not None, dtype=pixels.dtype, **options) as writer:
        for y in range(0, height, step):
            writer.write(pixels[y : y + step], None if alpha is None else alpha[y : y + step])
    return target.getvalue() if isinstance(target, io.BytesIO) else target.data


def samples_of(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    return pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)


@pytest.mark.parametrize(("dtype", "channels", "alpha"), list(product(DTYPES, (1, 3), (False, True))))
def test_png_is_exact_to_pypng(dtype: Any, channels: int, alpha: bool) -> None:
    from png import Reader

    pixels = array(41, 53, channels, dtype)
    cover = array(41, 53, 1, dtype, seed=1)[..., 0] if alpha else None
    width, height, rows, info = Reader(bytes=written("PNG", pixels, cover)).read()
    assert info["bitdepth"] == 8 * np.dtype(dtype).itemsize
    assert info["greyscale"] == (channels == 1)
    assert info["alpha"] == alpha
    got = np.vstack([np.asarray(row, dtype) for row in rows]).reshape(height, width, -1)
    assert np.array_equal(got, samples_of(pixels, cover))


@pytest.mark.parametrize(("dtype", "channels", "alpha"), list(product(DTYPES, (1, 3), (False, True))))
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_is_exact_to_tifffile(dtype: Any, channels: int, alpha: bool, order: str) -> None:
    import tifffile

    pixels = array(41, 53, channels, dtype)
    cover = array(41, 53, 1, dtype, seed=1)[..., 0] if alpha else None
    data = written("TIFF", pixels, cover, metadata=Metadata(exif=exif(order=order)))
    assert data[:2] == {"<": b"II", ">": b"MM"}[order]
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert page.photometric.name == ("MINISBLACK" if channels == 1 else "RGB")
        assert [int(kind) for kind in page.extrasamples] == ([2] if alpha else [])
        assert page.tags["Make"].value == "Cameramak"
        inner = page.tags["ExifTag"].value
        assert inner["MakerNote"] == b"note of the make"
        assert (inner["PixelXDimension"], inner["PixelYDimension"]) == (53, 41)
        got = page.asarray().reshape(41, 53, -1)
    assert np.array_equal(got, samples_of(pixels, cover))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_beyond_4_gib_is_a_big_one(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    import tifffile

    monkeypatch.setattr("sharpbit.image.tiff._LIMIT", 1000)
    pixels = array(40, 50, 3, np.uint8)
    metadata = Metadata(exif=exif(order=order), icc=SRGB, dpi=(72.0, 300.0), xmp=XMP)
    data = written("TIFF", pixels, metadata=metadata)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.is_bigtiff
        page = file.pages[0]
        assert np.array_equal(page.asarray(), pixels)
        assert page.tags["InterColorProfile"].value == SRGB
        assert page.tags["ExifTag"].value["MakerNote"] == b"note of the make"
    if order == ">":
        return  # Pillow takes the number 43 of a big file for the order "<" alone
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), pixels)
        assert image.info["icc_profile"] == SRGB
        assert image.getexif()[0x010F] == "Cameramak"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_strips_come_back_and_do_not_depend_on_threads(kind: str, dtype: Any) -> None:
    pixels = array(700, 1501, 3, dtype)
    files = {
        written(kind, pixels, step=step, threads=threads) for step, threads in ((700, 1), (1, 1), (33, 2), (64, 5))
    }
    assert len(files) == 1
    assert np.array_equal(read(files.pop()).pixels, pixels)


@pytest.mark.parametrize("kind", range(5))
def test_filters_do_not_depend_on_blocks(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = array(40, 50, 3, np.uint8).reshape(40, 150)
    above = rows[20].copy()
    whole = png._filter(kind, rows, above, 3)
    monkeypatch.setattr(png, "_BLOCK", 700)
    assert np.array_equal(png._filter(kind, rows, above, 3), whole)


def test_fast_files_are_nearly_as_small_as_those_of_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = array(400, 500, 3, np.uint8)
    for image in (pixels, np.kron(pixels[::20, ::20], np.ones((20, 20, 1), np.uint8)), np.full_like(pixels, 7)):
        fast = len(written("PNG", image))
        with monkeypatch.context() as patched:
            patched.setattr(deflate, "FAST", 0)  # zlib for every level
            patched.setattr(isal_zlib, "compressobj", None)
            assert fast <= 1.08 * len(written("PNG", image)) + 100


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_every_level_is_exact(kind: str, level: int) -> None:
    pixels = array(60, 70, 3, np.uint8)
    assert np.array_equal(read(written(kind, pixels, options=WriteOptions(compression=level))).pixels, pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_images(kind: str, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 200, np.uint8)
    got = read(written(kind, pixels))
    assert got.pixels.shape == pixels.shape or (kind == "GIF" and got.pixels.shape[:2] == shape)
    assert np.abs(got.pixels.astype(int) - 200).max() <= 2


@pytest.mark.parametrize(
    ("kind", "dtype", "channels", "alpha"), list(product(KINDS[2:], DTYPES, (1, 3), (False, True)))
)
def test_other_formats_hold_what_losses_says(kind: str, dtype: Any, channels: int, alpha: bool) -> None:
    pixels = array(48, 64, channels, dtype)
    pixels[16:32] = np.iinfo(dtype).max // 2
    cover = np.zeros((48, 64), dtype) if alpha else None
    if cover is not None:
        cover[:, :32] = np.iinfo(dtype).max
    notes = " ".join(losses(kind, dtype=dtype, alpha=alpha, height=48, width=64))
    held = "12 bits" if kind == "AVIF" and is_deep() else "8 bits"
    assert (held in notes) == (dtype == np.uint16)
    got = Image.open(io.BytesIO(written(kind, pixels, cover)))
    got.load()
    wanted = pixels.astype(float) / np.iinfo(dtype).max * 255
    wanted = np.broadcast_to(wanted, (48, 64, 3)).copy()
    if alpha and "no alpha" in notes:
        assert not got.has_transparency_data
        wanted[:, 32:] = 255
    elif cover is not None:
        assert got.has_transparency_data
        seen = np.asarray(got.convert("RGBA"))
        assert np.array_equal(seen[..., 3], (cover > 0) * np.uint8(255))
        wanted = wanted[:, :32]  # what colour the transparent half has does not matter
    away = np.abs(np.asarray(got.convert("RGB"))[:, : wanted.shape[1]] - wanted).mean()
    assert away < {"BMP": 0.6, "GIF": 14, "JPEG": 3, "WEBP": 6, "AVIF": 6}[kind]


def test_jpeg_has_full_colour_at_high_quality_only() -> None:
    pixels = array(48, 64, 3, np.uint8)
    for quality, layers in ((95, 1), (90, 1), (80, 2)):
        got = Image.open(io.BytesIO(written("JPEG", pixels, options=WriteOptions(quality=quality))))
        assert got.layer[0][1] == layers
    for subsampling, layers in (("4:4:4", 1), ("4:2:0", 2)):
        options = WriteOptions(quality=85, subsampling=subsampling)
        assert Image.open(io.BytesIO(written("JPEG", pixels, options=options))).layer[0][1] == layers
    with pytest.raises(UsageError, match="4:2:1"):
        WriteOptions(subsampling="4:2:1")


def test_lossless_webp_keeps_every_pixel() -> None:
    pixels = array(48, 64, 3, np.uint8)
    data = written("WEBP", pixels, options=WriteOptions(lossless=True))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), pixels)
    assert webp.is_lossless(io.BytesIO(data))
    assert not webp.is_lossless(io.BytesIO(written("WEBP", pixels)))
    assert not webp.is_lossless(io.BytesIO(data[:14]))
    assert read(data).lossless


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_is_kept_where_the_format_holds_it(kind: str) -> None:
    data = written(kind, array(40, 50, 3, np.uint8), metadata=METADATA)
    image = Image.open(io.BytesIO(data))
    image.load()
    if kind not in ("BMP", "GIF"):
        assert image.info["icc_profile"] == SRGB
        assert image.info["xmp"] == b"<x:xmpmeta/>"
        values = image.getexif()
        assert values[271] == "Cameramak"
        inner = values.get_ifd(0x8769)
        assert (inner[0xA002], inner[0xA003]) == (50, 40)
    if kind not in ("WEBP", "GIF", "AVIF"):
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    ours = read(data).metadata
    if kind in ("PNG", "JPEG", "WEBP", "AVIF"):
        assert ours.exif is not None and b"note of the make" in ours.exif
    if kind in ("WEBP", "AVIF"):
        alone = read(written(kind, array(40, 50, 3, np.uint8), metadata=Metadata(dpi=(300.0, 150.0))))
        assert alone.metadata.dpi == pytest.approx((300, 150))


@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_for_other_colours_is_not_written(kind: str) -> None:
    pixels = array(8, 8, 1, np.uint8)
    with open_writer(
        io.BytesIO(), kind, height=8, width=8, channels=1, alpha=False, dtype=np.uint8, metadata=METADATA
    ) as writer:
        writer.write(pixels)
    bare = (f"EXIF and XMP left out ({kind} holds none)",) if kind in ("GIF", "BMP") else ()
    assert writer.notes == ("colour profile left out (it is for RGB and the pixels are grey)", *bare)


def test_blocks_too_large_for_jpeg_are_left_out() -> None:
    target = io.BytesIO()
    large = Metadata(exif=exif() + bytes(70000), xmp=b"<x>" + bytes(70000))
    with open_writer(
        target, "JPEG", height=1, width=1, channels=3, alpha=False, dtype=np.uint8, metadata=large
    ) as writer:
        writer.write(np.zeros((1, 1, 3), np.uint8))
    assert [note.split()[0] for note in writer.notes] == ["EXIF", "XMP"]
    assert read(target.getvalue()).metadata == Metadata()


@pytest.mark.parametrize("kind", KINDS)
def test_streams_that_cannot_seek(kind: str) -> None:
    pixels = array(30, 40, 3, np.uint8)
    assert written(kind, pixels, target=Pipe()) == written(kind, pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_appears_whole_or_not_at_all(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "picture"
    pixels = array(30, 40, 3, np.uint8)
    how: dict[str, Any] = {"height": 30, "width": 40, "channels": 3, "alpha": False, "dtype": np.uint8, "threads": 2}
    with pytest.raises(RuntimeError, match="20 of 30 rows"), open_writer(path, kind, **how) as writer:
        writer.write(pixels[:20])
    with pytest.raises(KeyError), open_writer(path, kind, **how) as writer:
        writer.write(pixels)
        raise KeyError
    assert list(path.parent.iterdir()) == []
    with open_writer(path, kind, **how) as writer:
        writer.write(pixels)
    before = path.read_bytes()
    with pytest.raises(OutputExists), open_writer(path, kind, **how):
        pass
    assert path.read_bytes() == before
    with open_writer(path, kind, overwrite=True, **how) as writer:
        writer.write(pixels[::-1])
    assert path.read_bytes() != before
    assert [file.name for file in path.parent.iterdir()] == ["picture"]


def test_rows_that_do_not_fit_are_a_mistake() -> None:
    how: dict[str, Any] = {"height": 3, "width": 4, "channels": 3, "alpha": False, "dtype": np.uint8}
    for rows, alpha in (
        (np.zeros((4, 4, 3), np.uint8), None),
        (np.zeros((1, 5, 3), np.uint8), None),
        (np.zeros((1, 4, 1), np.uint8), None),
        (np.zeros((1, 4, 3), np.uint16), None),
        (np.zeros((1, 4, 3), np.uint8), np.zeros((1, 4), np.uint8)),
    ):
        with pytest.raises(ValueError, match=r"fit|continue"), open_writer(io.BytesIO(), "PNG", **how) as writer:
            writer.write(rows, alpha)


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    how: dict[str, Any] = {"dtype": np.uint8, "alpha": False}
    assert losses("PNG", height=70000, width=70000, **how) == ()
    for kind, side in (("JPEG", 65536), ("WEBP", 16384), ("GIF", 65536), ("AVIF", 65537)):
        with pytest.raises(ImageError, match=f"{kind} holds at most"):
            losses(kind, height=1, width=side, **how)
    with pytest.raises(UsageError, match="choose one of"):
        losses("XYZ", height=1, width=1, **how)
    for wrong in ({"compression": 10}, {"quality": 0}):
        with pytest.raises(UsageError):
            WriteOptions(**wrong)
    (tmp_path / "file").touch()
    with (
        pytest.raises(ImageError, match="cannot be written"),
        open_writer(tmp_path / "file" / "x.png", "PNG", height=1, width=1, channels=1, **how),
    ):
        pass


def test_a_full_disk_is_one_sentence() -> None:
    how: dict[str, Any] = {"height": 900, "width": 900, "channels": 3, "alpha": False, "dtype": np.uint8}
    pixels = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    for kind in KINDS:
        with (
            Path("/dev/full").open("wb", buffering=0) as full,
            pytest.raises(ImageError, match="No space left"),
            open_writer(full, kind, **how) as writer,
        ):
            writer.write(pixels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_memory_does_not_grow_with_the_image(kind: str, tmp_path: Path) -> None:
    code = f"""
import resource, sys, numpy as np
from pathlib import Path
from sharpbit.image import open_writer, WriteOptions
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = np.tile(np.arange(64, dtype=np.uint8)[:, None, None], (1, 16000, 3))
how = dict(height=8000, width=16000, channels=3, alpha=False, dtype=np.uint8, threads=2)
with open_writer(Path({str(tmp_path / "x")!r}), {kind!r}, options=WriteOptions(compression=1), **how) as writer:
    for _ in range(125):
        writer.write(rows)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 60  # MiB; the image has 366


def test_profiles_made_here_are_accepted_by_littlecms() -> None:
    ImageCms.ImageCmsProfile(io.BytesIO(SRGB))
    assert XMP
