"""Sets of test images: layouts, partners, sizes, and what is said of mistakes."""

import numpy as np
import pytest
from PIL import Image

from sharpbit.errors import ImageError, UsageError
from sharpbit.image.resize import shrink
from sharpbit.measure.benchmarks import Shelf, find

RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 256, (50, 63, 3), np.uint8)  # 48x60 when cut to multiples of 12


def put(path, pixels=TRUE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("inner", ["GTmod12", "GTmode12", "HR", "."])
def test_small_images_are_made(tmp_path, inner):
    put(tmp_path / "Five" / inner / "a.png")
    (found,) = find(tmp_path / "Five")
    assert found.name == "Five"
    small, large = found.pair(found.large[0], 3)
    assert np.array_equal(large, TRUE[:48, :60])
    assert np.array_equal(small, shrink(TRUE[:48, :60], 3))
    assert found.protocol(3) == "HR cropped to multiples of 12, LR made of it by MATLAB-style bicubic, 8 bits"


@pytest.mark.parametrize(
    ("large", "small"),
    [
        ("Five/GTmod12/a.png", "Five/LRbicx2/a.png"),
        ("Five/HR/a.png", "Five/LR_bicubic/X2/ax2.png"),
        ("Five/a.png", "Five/LR_bicubic/X2/a.png"),
        ("Five_HR/a.png", "Five_LR_bicubic/X2/ax2.png"),
    ],
)
def test_small_images_are_read(tmp_path, large, small):
    other = RNG.integers(0, 256, (25, 30, 3), np.uint8)
    put(tmp_path / large)
    put(tmp_path / small, other)
    (found,) = find((tmp_path / large).parents[len(large.split("/")) - 2])
    pair = found.pair(found.large[0], 2)
    assert np.array_equal(pair[0], other)
    assert np.array_equal(pair[1], TRUE[:50, :60])
    assert "LR read from" in found.protocol(2)
    assert found.pair(found.large[0], 4)[0].shape == (12, 15, 3)  # no folder for this scale
    (anew,) = find((tmp_path / large).parent, make_small=True)
    assert not anew.small


def test_the_folder_of_true_images_will_do(tmp_path):
    put(tmp_path / "Five" / "GTmod12" / "a.png")
    put(tmp_path / "Five" / "LRbicx2" / "a.png", TRUE[:24, :30])
    (found,) = find(tmp_path / "Five" / "GTmod12")
    assert (found.name, list(found.small)) == ("Five", [2])


def test_a_folder_of_sets(tmp_path):
    for name, count in (("Fourteen", 3), ("Five", 2)):
        for k in range(count):
            put(tmp_path / name / "HR" / f"{k}.png")
    put(tmp_path / "LRbicx2" / "a.png")
    (tmp_path / "notes").mkdir()
    assert [item.name for item in find(tmp_path)] == ["Five", "Fourteen"]


def test_grey_and_deep_images(tmp_path):
    put(tmp_path / "a.png", TRUE[..., 0])
    put(tmp_path / "b.png", TRUE[..., 0].astype(np.uint16) * 257)
    (found,) = find(tmp_path)
    for path in found.large:
        large = found.pair(path, 2)[1]
        assert np.array_equal(large, np.repeat(TRUE[:48, :60, :1], 3, 2))


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        find(tmp_path / "nothing")
    with pytest.raises(UsageError, match="holds no test images"):
        find(tmp_path)
    put(tmp_path / "HR" / "a.png")
    put(tmp_path / "LRbicx2" / "b.png")
    (found,) = find(tmp_path)
    with pytest.raises(ImageError, match=r"has no partner a\.png in .*LRbicx2"):
        found.pair(found.large[0], 2)
    put(tmp_path / "LRbicx3" / "a.png", TRUE[:20, :20])
    (found,) = find(tmp_path)
    with pytest.raises(ImageError, match="20x20 pixels, which times 3 is not the size"):
        found.pair(found.large[0], 3)
    (found,) = find(tmp_path, crop=10)
    with pytest.raises(UsageError, match="cut to multiples of 10 cannot be made 4 times smaller"):
        found.pair(found.large[0], 4)
    put(tmp_path / "HR" / "a.png", TRUE[:8])
    with pytest.raises(ImageError, match="smaller than the 12 pixels"):
        find(tmp_path)[0].pair(found.large[0], 4)


def test_a_full_shelf_keeps_nothing_more():
    shelf = Shelf(10)
    first = shelf.get("a", lambda: np.zeros(8, np.uint8))
    assert shelf.get("a", lambda: np.ones(8, np.uint8)) is first
    shelf.get("b", lambda: np.zeros(8, np.uint8))
    assert shelf.get("b", lambda: np.ones(8, np.uint8)).all()
