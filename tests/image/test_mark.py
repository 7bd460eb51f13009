"""The mark of a result: read again from every format, with everything else in its place."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sharpbit
from sharpbit.image import Metadata, made_by, open_writer, read
from sharpbit.image import exif as exif_block

KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "AVIF")


def written(kind, metadata):
    target = io.BytesIO()
    how = {"height": 8, "width": 9, "channels": 3, "alpha": False, "dtype": np.uint8, "metadata": metadata}
    with open_writer(target, kind, **how) as writer:
        writer.write(np.zeros((8, 9, 3), np.uint8))
    return target.getvalue()


def some_exif(**tags):
    values = Image.Exif()
    values[0x010F] = "Maker of cameras"
    values.get_ifd(0x8769)[0x927C] = b"maker's note with offsets" * 4
    for tag, value in tags.items():
        values[int(tag[1:], 16)] = value
    return exif_block.strip_prefix(values.tobytes())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", ["x2-clean-balanced x2", "mein Größenmodell.onnx x1.5", "网络.onnx x4"])
def test_every_format_says_what_made_it(kind, made):
    assert made_by(written(kind, Metadata(made=made))) == made
    assert made_by(written(kind, Metadata())) is None


@pytest.mark.parametrize("kind", KINDS[:4])
@pytest.mark.parametrize("before", [{}, {"x0131": "Cam 1"}, {"x0131": "a program with a name that is long enough" * 3}])
def test_the_mark_leaves_the_rest_of_exif_alone(kind, before):
    block = some_exif(**before)
    data = written(kind, Metadata(exif=block, dpi=(300, 300), made="m x2"))
    assert made_by(data) == "m x2"
    kept = read(data).metadata
    values = Image.Exif()
    values.load(kept.exif)
    assert values[0x010F] == "Maker of cameras"
    assert values.get_ifd(0x8769)[0x927C] == b"maker's note with offsets" * 4
    assert kept.dpi == pytest.approx((300, 300), abs=0.01)


def test_what_stands_in_an_exif_block_stays_in_its_place():
    block = some_exif()
    marked = exif_block.with_software(block, "sharpbit")
    assert marked[8 : len(block)] == block[8:]
    again = exif_block.with_software(marked, "other")
    assert len(again) == len(marked)
    assert exif_block.with_software(b"broken", "sharpbit") == exif_block.with_software(None, "sharpbit")


def test_a_result_of_a_result_names_the_last_model():
    first = written("JPEG", Metadata(exif=some_exif(), made="one x2"))
    second = written("JPEG", Metadata(exif=read(first).metadata.exif, made="another x3"))
    assert made_by(second) == "another x3"


def test_what_was_not_made_here(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(written("PNG", Metadata(made="m x2"))[:40])
    for path in (tmp_path, tmp_path / "missing.png", tmp_path / "text.png", tmp_path / "cut.png"):
        assert made_by(path) is None
    other = io.BytesIO()
    Image.new("RGB", (4, 4)).save(other, "JPEG", comment=b"sharpbit is a nice program")
    assert made_by(other.getvalue()) is None


@pytest.mark.parametrize(
    ("how", "made"),
    [
        ({}, "x2-clean-balanced x2"),
        ({"width": 45}, "x2-clean-balanced x1.5"),
        ({"scale": 3}, "x3-clean-balanced x3"),
        ({"width": 15}, "bicubic x0.5"),
    ],
)
def test_upscale_marks_its_results(tmp_path, how, made):
    Image.new("RGB", (30, 20), (200, 30, 40)).save(tmp_path / "a.png")
    assert made_by(tmp_path / "a.png") is None
    for name in ("b.png", "b.jpg"):
        assert made_by(Path(sharpbit.upscale(tmp_path / "a.png", tmp_path / name, **how))) == made
    bare = sharpbit.upscale(tmp_path / "a.png", tmp_path / "c.png", strip_metadata=True, **how)
    assert made_by(bare) is None
