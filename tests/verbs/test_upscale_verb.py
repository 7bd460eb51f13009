"""`sharpbit.upscale` in Python: the same kind of thing out as in."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

import sharpbit
from sharpbit import ResultWarning, SharpbitError, Size
from sharpbit.errors import ImageError, OutputExists, UsageError
from sharpbit.image import ImageData, Metadata
from sharpbit.runtime.native import NativeRuntime


def smooth(shape, dtype):
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    base = 0.5 + 0.4 * np.sin(x / 5) * np.cos(y / 4)
    values = base if len(shape) == 2 else np.repeat(base[..., None], shape[2], 2)
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return (values * top).astype(dtype)


@pytest.fixture(scope="module")
def x2():
    return sharpbit.Upscaler("x2-clean-balanced")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(15, 18), (15, 18, 1), (15, 18, 2), (15, 18, 3), (15, 18, 4)])
def test_arrays(x2, dtype, shape):
    source = smooth(shape, dtype)
    out = sharpbit.upscale(source, upscaler=x2)
    assert (out.dtype, out.shape) == (source.dtype, (30, 36, *shape[2:]))
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    small = out.astype(np.float64).reshape(15, 2, 18, 2, -1).mean((1, 3)).reshape(shape)
    assert np.abs(small - source).mean() < 0.02 * top


def test_depths_agree(x2):
    source = smooth((20, 20, 3), np.uint8)
    eight = sharpbit.upscale(source, upscaler=x2)
    sixteen = sharpbit.upscale(source.astype(np.uint16) * 257, upscaler=x2)
    real = sharpbit.upscale(source / np.float32(255), upscaler=x2)
    assert np.abs(sixteen / 257 - eight).max() <= 0.51
    assert np.abs(real * 255 - eight).max() <= 0.51


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_pillow_images(x2, mode):
    image = Image.fromarray(smooth((15, 18, 3), np.uint8))
    if mode == "I;16":
        image = Image.fromarray(smooth((15, 18), np.uint16))
    else:
        image = image.convert("L").convert(mode) if mode in ("1", "LA") else image.convert(mode)
    out = sharpbit.upscale(image, upscaler=x2)
    assert isinstance(out, Image.Image)
    assert out.size == (36, 30)
    assert out.mode == {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)


def test_paths(tmp_path):
    source = tmp_path / "a.png"
    Image.fromarray(smooth((15, 18, 3), np.uint8)).save(source)
    assert sharpbit.upscale(source) == tmp_path / "a_x2.png"
    assert sharpbit.upscale(str(source), scale=3) == tmp_path / "a_x3.png"
    written = sharpbit.upscale(source, tmp_path / "b.jpg", fit=(100, 40))
    with Image.open(written) as image:
        assert (image.format, image.size) == ("JPEG", (48, 40))
    with pytest.raises(OutputExists):
        sharpbit.upscale(source)
    sharpbit.upscale(source, overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "a_x2.png", "a_x3.png", "b.jpg"}


BAD = {
    "bool": (np.zeros((4, 4), bool), "bool"),
    "int64": (np.zeros((4, 4), np.int64), "int64"),
    "five channels": (np.zeros((4, 4, 5), np.uint8), "(4, 4, 5)"),
    "one axis": (np.zeros(4, np.uint8), "(4,)"),
    "empty": (np.zeros((0, 4, 3), np.uint8), "(0, 4, 3)"),
    "not a number": (np.full((4, 4), np.nan, np.float32), "no numbers (NaN or infinity); replace them"),
    "infinite": (np.full((4, 4), np.inf), "no numbers (NaN or infinity); replace them"),
    "0 to 255": (np.full((4, 4), 200.0), "divide it by 255"),
    "negative": (np.full((4, 4), -0.5), "[0, 1]"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays(x2, name):
    array, words = BAD[name]
    with pytest.raises(ImageError) as caught:
        sharpbit.upscale(array, upscaler=x2)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lossy_stays_lossy(tmp_path):
    for name, result, kind in (
        ("a.jpeg", "a_x2.jpeg", "JPEG"),
        ("b.webp", "b_x2.webp", "WEBP"),
        ("c.bmp", "c_x2.png", "PNG"),
    ):
        Image.new("RGB", (8, 6), (200, 30, 30)).save(tmp_path / name)
        written = sharpbit.upscale(tmp_path / name)
        assert written.name == result
        with Image.open(written) as image:
            assert image.format == kind


def test_foreign_byte_order_and_floats_a_hair_above_1(x2):
    source = smooth((15, 18, 3), np.uint8)
    little = source.astype(np.uint16) * 257
    big = sharpbit.upscale(little.astype(">u2"), model="x2-clean-float")
    assert big.dtype == np.dtype(">u2")
    assert np.array_equal(big, sharpbit.upscale(little, model="x2-clean-float"))
    real = (source / 255).astype(np.float64)
    real[3, 4], real[5, 6] = 1.0000002, -1e-7
    assert np.array_equal(
        sharpbit.upscale(real, upscaler=x2), sharpbit.upscale(np.clip(real, 0, 1).astype(">f8"), upscaler=x2)
    )


def test_what_is_lost_is_said():
    deep = smooth((15, 18, 3), np.uint16)
    with pytest.warns(ResultWarning, match="8 bits per sample"):
        sharpbit.upscale(deep, model="x2-clean-balanced")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, report = sharpbit.upscale(deep, model="x2-clean-balanced", report=True)
        _, other = sharpbit.upscale(deep, model="x2-clean-float", report=True)
    assert (report.models, report.precision) == (("x2-clean-balanced",), ("int8",))
    assert "8 bits per sample" in report.notes[0]
    assert (other.precision, other.notes) == (("float32",), ())


def test_out(x2):
    for shape in ((15, 18), (15, 18, 1), (15, 18, 3), (15, 18, 4)):
        source = smooth(shape, np.uint8)
        out = np.empty((30, 36, *shape[2:]), np.uint8)
        assert sharpbit.upscale(source, upscaler=x2, out=out) is out
        assert np.array_equal(out, sharpbit.upscale(source, upscaler=x2))
    room = np.zeros((40, 50, 3), np.uint8)  # a part of a larger array
    part = sharpbit.upscale(source[..., :3], upscaler=x2, out=room[5:35, 4:40])
    assert np.array_equal(part, sharpbit.upscale(source[..., :3], upscaler=x2))
    assert not room[:5].any()
    real = smooth((15, 18, 3), np.float64)
    assert np.array_equal(
        sharpbit.upscale(real, scale=1.5, model="x2-clean-float", out=np.empty((23, 27, 3))),
        sharpbit.upscale(real, scale=1.5, model="x2-clean-float"),
    )
    for wrong in (np.empty((30, 36, 3), np.uint16), np.empty((30, 35, 3), np.uint8), [1]):
        with pytest.raises(UsageError, match=r"out is an array \(30, 36, 3\) of uint8"):
            sharpbit.upscale(source[..., :3], upscaler=x2, out=wrong)
    with pytest.raises(UsageError, match="out is for an image that is an array"):
        sharpbit.upscale(Image.new("RGB", (4, 4)), upscaler=x2, out=out)
    same = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(UsageError, match="shares memory"):
        sharpbit.upscale(same[:15, :18], upscaler=x2, out=same[:30, :36])


def test_an_array_is_one_call_of_the_engine(monkeypatch):
    shapes = []
    run = NativeRuntime.run
    monkeypatch.setattr(NativeRuntime, "run", lambda self, x, out=None: shapes.append(x.shape) or run(self, x, out))
    upscaler = sharpbit.Upscaler("x2-clean-balanced")
    source = np.random.default_rng(0).integers(100, 130, (700, 40, 3)).astype(np.uint8)
    out = sharpbit.upscale(source, upscaler=upscaler)
    assert len(shapes) == 1
    strips = upscaler.strips(ImageData(source, None, Metadata(), (), "array"))
    assert np.array_equal(np.concatenate([rows for rows, _ in strips]), out)
    assert len(shapes) > 2


def test_open_files_and_paths_of_other_kinds(tmp_path):
    Image.fromarray(smooth((15, 18, 3), np.uint8)).save(tmp_path / "a.png")

    class Where:
        def __fspath__(self):
            return str(tmp_path / "a.png")

    assert sharpbit.upscale(Where()) == tmp_path / "a_x2.png"
    target = io.BytesIO()
    with (tmp_path / "a.png").open("rb") as file:
        assert sharpbit.upscale(file, target) is target
        assert sharpbit.upscale(file, tmp_path / "b.webp") == tmp_path / "b.webp"
        with pytest.raises(UsageError, match="needs an output"):
            sharpbit.upscale(file)
    assert target.getvalue() == (tmp_path / "a_x2.png").read_bytes()
    with (tmp_path / "a.png").open() as file, pytest.raises(UsageError, match="open for text"):
        sharpbit.upscale(file, target)
    with pytest.raises(UsageError, match="output is a file that is open for text"):
        sharpbit.upscale(tmp_path / "a.png", io.StringIO())


def test_files_that_cannot_seek_and_files_that_were_closed(tmp_path):
    Image.fromarray(smooth((15, 18, 3), np.uint8)).save(tmp_path / "a.png")

    class Reader:
        def __init__(self, file):
            self.read = file.read

    data, target = (tmp_path / "a.png").read_bytes(), io.BytesIO()
    sharpbit.upscale(Reader(io.BytesIO(data)), target)
    assert target.getvalue() == sharpbit.upscale(tmp_path / "a.png").read_bytes()
    closed = (tmp_path / "a.png").open("rb")
    closed.close()
    with pytest.raises(ImageError, match="closed file"):
        sharpbit.upscale(closed, target)
    with pytest.raises(ImageError, match="gives str where bytes are expected"):
        sharpbit.upscale(Reader(io.StringIO("text")), target)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scale": "2"}, "scale is a number such as 2 or 1.5, not '2'"),
        ({"scale": True}, "scale is a number"),
        ({"tile": 8.5}, "tile is a whole number, not 8.5"),
        ({"fit": (100,)}, r"fit is two whole numbers, such as \(1920, 1080\), not \(100,\)"),
        ({"fit": 100}, "fit is two whole numbers"),
        ({"fit": (100, None)}, "fit is two whole numbers"),
        ({"width": "wide"}, "width is a whole number, not 'wide'"),
        ({"scale": 10**400}, "scale is larger than any number"),
        ({"width": 10**400}, "width is larger than any number"),
        ({"fit": (10**9, 2)}, "a size must be above 0 and at most 1048576 pixels, not 1000000000"),
        ({"model": 5}, "model is a name or the path of a file, not 5"),
        ({"height": 1.5}, "height is a whole number, not 1.5"),
        ({"max_pixels": 0}, "max_pixels is a whole number from 1 on, not 0"),
        ({"max_pixels": -3}, "max_pixels is a whole number from 1 on, not -3"),
        ({"threads": "2"}, "threads is a whole number, not '2'"),
    ],
)
def test_arguments_that_cannot_be(given, words):
    with pytest.raises(UsageError, match=words):
        sharpbit.upscale(np.zeros((8, 8, 3), np.uint8), **given)


def test_numbers_of_numpy():
    source = smooth((16, 24, 3), np.uint8)
    for given, shape in (
        ({"scale": np.float32(1.5)}, (24, 36, 3)),
        ({"scale": np.int64(2), "tile": np.uint8(16)}, (32, 48, 3)),
        ({"fit": np.array([48, 48])}, (32, 48, 3)),
        ({"width": np.float64(48), "threads": np.int32(1)}, (32, 48, 3)),
    ):
        assert sharpbit.upscale(source, **given).shape == shape


def test_other_mistakes(x2, tmp_path):
    with pytest.raises(UsageError, match="not list"):
        sharpbit.upscale([[1, 2]], upscaler=x2)
    with pytest.raises(UsageError, match="given by their path"):
        sharpbit.upscale(np.zeros((4, 4), np.uint8), tmp_path / "a.png", upscaler=x2)
    with pytest.raises(SharpbitError, match="does not exist"):
        sharpbit.upscale(tmp_path / "none.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"\.xyz"):
        sharpbit.upscale(tmp_path / "a.png", tmp_path / "b.xyz")
    Image.new("RGB", (5000, 2)).save(tmp_path / "wide.png")
    with pytest.raises(SharpbitError, match="65500"):
        sharpbit.upscale(tmp_path / "wide.png", tmp_path / "b.jpg", width=70000, height=20)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (Size(), (40, 60)),
        (Size(scale=3), (60, 90)),
        (Size(width=45), (30, 45)),
        (Size(height=33), (33, 50)),
        (Size(width=45, height=10), (10, 45)),
        (Size(fit=(50, 50)), (33, 50)),
        (Size(fit=(50, 5000)), (50, 75)),
        (Size(fit=(120, 181)), (120, 181)),
        (Size(fit=(120, 184)), (120, 180)),
        (Size(scale=1.5), (30, 45)),
        (Size(width=1), (1, 1)),
    ],
)
def test_sizes(size, expected):
    assert size.of(20, 30, 2) == expected


@pytest.mark.parametrize(
    ("size", "image", "expected"),
    [
        (Size(scale=1.5), (11, 9), (17, 14)),
        (Size(scale=2.5), (1, 3), (3, 8)),
        (Size(scale=1.005), (100, 100), (101, 101)),
        (Size(width=27), (11, 18), (17, 27)),
        (Size(fit=(100, 27)), (11, 18), (17, 27)),
    ],
)
def test_half_a_pixel_becomes_a_whole_one(size, image, expected):
    assert size.of(*image, 2) == expected


@pytest.mark.parametrize("wrong", [{"scale": 2, "width": 5}, {"width": 0}, {"scale": 17}, {"fit": (0, 4)}])
def test_sizes_that_cannot_be(wrong):
    with pytest.raises(UsageError):
        Size(**wrong)


@pytest.mark.parametrize(("height", "width"), [(480, 854), (240, 426), (768, 1366), (360, 640)])
def test_fit_gives_exactly_the_size_of_the_same_shape(height, width):
    """These are 16 to 9 but for their whole pixels; a factor alone would give 1079 rows."""
    assert Size(fit=(1080, 1920)).of(height, width, 2) == (1080, 1920)
    assert Size(fit=(1080, 1920)).of(480, 640, 2) == (1080, 1440)
