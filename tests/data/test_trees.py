"""The folders that training sets come in: read as they are meant, or refused."""

import re

import numpy as np
import pytest
from PIL import Image

from sharpbit import model as models
from sharpbit import recipe
from sharpbit.data.pairs import Pairs
from sharpbit.data.trees import find_tree
from sharpbit.errors import UsageError
from sharpbit.image.resize import shrink
from small_recipes import small, written


def put(path, side, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(image).save(path)
    return image


def pair(large, low, seed):
    """An HR image, and an LR image that nobody would make of it."""
    return put(large, 16, seed), put(low, 8, 100 + seed)


def values(pairs):
    """The LR pixels, image by image."""
    return pairs.small.numpy().reshape(-1, 8, 8, 3)


@pytest.fixture
def etds(tmp_path):
    root = tmp_path / "DIV2K"
    put(root / "HR" / "original" / "0001.png", 32, 9)
    put(root / "LR" / "bicubic" / "X2" / "original" / "0001x2.png", 16, 9)
    for name in ("0001_s001", "0001_s002"):
        pair(
            root / "HR" / "subs" / f"{name}.png", root / "LR" / "bicubic" / "X2" / "subs" / f"{name}.png", int(name[-1])
        )
    return root


@pytest.fixture
def basicsr(tmp_path):
    root = tmp_path / "datasets"
    for kind, end in (("train", ""), ("train", "_sub"), ("valid", "")):
        low = root / f"DIV2K_{kind}_LR_bicubic" / f"X2{end}" / "0001x2.png"
        pair(root / f"DIV2K_{kind}_HR{end}" / "0001.png", low, len(kind + end))
    return root


@pytest.mark.parametrize("inside", ["", "HR", "HR/subs"])
def test_windows_of_etds_with_their_given_small_images(etds, inside):
    pairs = Pairs.from_folder(etds / inside, 2, quiet=True)
    expected = [np.array(Image.open(path)) for path in sorted((etds / "LR" / "bicubic" / "X2" / "subs").iterdir())]
    assert np.array_equal(values(pairs), expected)
    assert re.match("2 images of .*HR/subs, LR images of .*LR/bicubic/X2/subs", pairs.origin)


def test_whole_images_of_etds(etds):
    pairs = Pairs.from_folder(etds / "HR" / "original", 2, quiet=True)
    assert np.array_equal(pairs.small.numpy().reshape(16, 16, 3), put(etds / "x.png", 16, 9))


@pytest.mark.parametrize("inside", ["", "DIV2K_train_HR_sub", "DIV2K_train_HR"])
def test_the_tree_of_basicsr(basicsr, inside):
    tree = find_tree(basicsr / inside, 2)
    end = "" if inside == "DIV2K_train_HR" else "_sub"
    assert tree.large == basicsr / f"DIV2K_train_HR{end}"
    assert tree.small == basicsr / "DIV2K_train_LR_bicubic" / f"X2{end}"
    expected = np.array(Image.open(tree.small / "0001x2.png"))
    assert np.array_equal(values(Pairs.from_folder(basicsr / inside, 2, quiet=True))[0], expected)


def test_validation_images_only_where_they_are_given(basicsr, tmp_path):
    assert find_tree(basicsr / "DIV2K_valid_HR", 2).small == basicsr / "DIV2K_valid_LR_bicubic" / "X2"
    for kind in ("train", "valid"):
        put(tmp_path / "photos" / kind / "0.png", 16, 1)
    with pytest.raises(UsageError, match="valid is not for training"):
        find_tree(tmp_path / "photos", 2)
    assert find_tree(tmp_path / "photos" / "train", 2).files() == [tmp_path / "photos" / "train" / "0.png"]


@pytest.mark.parametrize("scale", [3, 4])
def test_another_scale_is_missing(etds, basicsr, scale):
    for folder in (etds, basicsr):
        with pytest.raises(UsageError, match=f"not .*X{scale}.*by bicubic"):
            find_tree(folder, scale)


def test_small_images_that_nobody_would_read(tmp_path):
    put(tmp_path / "photos" / "0.png", 16, 1)
    put(tmp_path / "photos" / "LR" / "0.png", 8, 1)
    with pytest.raises(UsageError, match="seems to hold LR images"):
        find_tree(tmp_path / "photos", 2)
    with pytest.raises(UsageError, match="seems to hold LR images"):
        find_tree(tmp_path / "photos" / "LR", 2)


def test_one_missing_small_image(etds):
    (etds / "LR" / "bicubic" / "X2" / "subs" / "0001_s002.png").unlink()
    with pytest.raises(UsageError, match=r"0001_s002.* has no LR image"):
        Pairs.from_folder(etds, 2, quiet=True)


def test_without_small_images_they_are_made(tmp_path):
    image = put(tmp_path / "set" / "HR" / "subs" / "0.png", 16, 1)
    pairs = Pairs.from_folder(tmp_path / "set", 2, quiet=True)
    assert np.array_equal(values(pairs)[0], shrink(image, 2))
    assert pairs.origin.endswith("LR images made by bicubic")


def test_several_sets(basicsr):
    put(basicsr / "Flickr2K_HR" / "0.png", 16, 1)
    with pytest.raises(UsageError, match="several sets"):
        find_tree(basicsr, 2)


def test_the_header_says_what_was_read(etds, tmp_path):
    step = '[[step]]\nverb = "train"\nsteps = 1\nbatch = 1\npatch = 4'
    path = written(tmp_path, small("plain", "scale = 2, blocks = 1, width = 4", step))
    recipe.run(path, data=str(etds), out=str(tmp_path / "out"), quiet=True)
    data = models.load(tmp_path / "out" / "trained.safetensors").about["data"]
    digest = Pairs.from_folder(etds, 2, quiet=True).digest()
    assert data == f"2 images of DIV2K/HR/subs, LR images of DIV2K/LR/bicubic/X2/subs; sha256 of the pixels {digest}"
    put(etds / "HR" / "subs" / "0001_s002.png", 16, 77)
    assert Pairs.from_folder(etds, 2, quiet=True).digest() != digest


@pytest.mark.parametrize("name", ["LRx2", "LRbicx2", "LR_mild/X2", "x2"])
def test_small_images_beside_large_ones_are_not_left_unread(tmp_path, name):
    put(tmp_path / "set" / "HR" / "subs" / "0.png", 16, 1)
    put(tmp_path / "set" / "DIV2K_valid_LR_bicubic" / "X2" / "0.png", 8, 1)
    assert find_tree(tmp_path / "set", 2).small is None
    put(tmp_path / "set" / name / "0.png", 8, 1)
    for inside in (".", "HR"):
        with pytest.raises(UsageError, match=f"{name} seems to hold LR images, which are looked for in"):
            find_tree(tmp_path / "set" / inside, 2)
