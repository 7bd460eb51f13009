"""The threshold of a pair: what is predicted on photos is what is measured, and the bound is kept."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sharpbit import model as models
from sharpbit import zoo
from sharpbit.errors import UsageError
from sharpbit.export import EXPORTS
from sharpbit.image.resize import shrink
from sharpbit.measure.psnr import psnr
from sharpbit.runtime import open_engine
from sharpbit.twopass import schedule as passes
from sharpbit.verbs import pair as pairing
from sharpbit.verbs.pair import Photo, chosen, measured, outlook

PATCH, SHARED, SCALE = 24, 6, 2


def photo(seed):
    """Large pixels, `(208, 208, 3)`: one of three squares of an image with smooth and detailed places."""
    with Image.open(Path(__file__).parents[2] / "docs" / "images" / "demo.png") as demo:
        return np.ascontiguousarray(np.asarray(demo.convert("RGB"))[:208, 52 * seed : 52 * seed + 208])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(3):
        Image.fromarray(photo(seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairing") / "bicubic.onnx"
    EXPORTS["onnx"](models.build("bicubic", scale=SCALE), path)
    return [open_engine(one, "onnx", threads=1) for one in (zoo.path_of("x2-clean-float"), path)]


@pytest.fixture(scope="module")
def photos(networks, folder):
    return measured(*networks, folder, PATCH, SHARED)


class Pair:
    """Two engines as one network."""

    scale = SCALE

    def __init__(self, networks):
        self.networks = [pairing.by(network) for network in networks]

    def reference(self, patches):
        return np.stack([self.networks[0](patch) for patch in patches]), ()

    def query(self, patches, features):
        return np.stack([self.networks[1](patch) for patch in patches])


def test_the_prediction_is_what_happens(networks, photos):
    threshold = float(np.median(photos[0].detail))
    expected = outlook(photos, threshold)
    drops, shares = [], []
    for seed in range(3):
        large = photo(seed)
        ends = []
        for detailed in (0.0, threshold):
            out, found = passes.run(Pair(networks), shrink(large, SCALE), patch=PATCH, shared=SHARED, detailed=detailed)
            ends.append(psnr(out, large, border=SCALE))
        drops.append(ends[0] - ends[1])
        shares.append(found.queries)
    assert expected.drop == pytest.approx(np.mean(drops), abs=1e-9)
    assert expected.share == pytest.approx(np.mean(shares))
    assert expected.drop > 0.01
    assert 0.3 < expected.share < 0.7


def test_the_bound_is_kept_and_used_up(photos):
    shares = []
    details = np.unique(np.concatenate([one.detail for one in photos]))
    for most in (0.0, 0.02, 0.1, 0.5, 50.0):
        found = chosen(photos, most)
        assert found.drop <= most
        assert found == outlook(photos, found.detail)
        larger = details[details > found.detail]
        assert all(np.mean([photo.loss(one) for photo in photos]) > most for one in larger)
        shares.append(found.share)
    assert shares == sorted(shares)
    assert shares[1] < shares[3]
    assert shares[-1] == 1


def test_a_small_network_that_is_never_good_enough():
    detail = np.array([0.0, 1.0, 2.0])
    one = Photo(detail, np.ones(3), large=np.ones(3), small=np.full(3, 9.0), compared=3)
    assert chosen([one], 0.01) == pairing.Outlook(0.0, 0.0, 0.0)
    assert chosen([one], 10 * np.log10(11 / 3) + 1e-9).detail == 1.0
    exact = Photo(detail, np.ones(3), large=np.zeros(3), small=np.zeros(3), compared=3)
    assert chosen([exact], 0.0).share == 1


def test_what_the_small_network_does_better_pays_for_nothing():
    one = Photo(np.array([1.0, 2.0, 3.0]), np.ones(3), np.full(3, 2.0), small=np.array([1.0, 3.0, 2.0]), compared=3)
    assert one.drop(2.5) == pytest.approx(0)
    assert one.loss(2.5) == pytest.approx(10 * np.log10(7 / 6))
    assert one.loss(9) == one.loss(2.5) > one.drop(9)
    assert chosen([one], 0.0).detail == 2.0


def test_photos_are_cut_to_their_middle(networks, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pairing, "LARGEST", 50)
    done = []
    whole = np.pad(photo(0)[40:140, 80:180], ((40, 41), (80, 79), (0, 0)))
    Image.fromarray(whole).save(tmp_path / "one.png")
    Image.fromarray(photo(0)[:30, :30]).save(tmp_path / "small.png")
    (found,) = measured(*networks, tmp_path, PATCH, SHARED, progress=done.append)
    assert found.compared == (100 - 2 * SCALE) ** 2
    assert found.detail.min() > 1, "nothing of the black frame"
    assert sum(done) == pytest.approx(1)


def test_some_photos_of_many(networks, folder):
    assert len(measured(*networks, folder, PATCH, SHARED, count=2)) == 2


def test_folders_that_do_not_do(networks, folder, tmp_path):
    for where, message in ((tmp_path / "none", "there is no folder"), (tmp_path, "holds no images")):
        with pytest.raises(UsageError, match=message):
            measured(*networks, where, PATCH, SHARED)
    with pytest.raises(UsageError, match=r"no image of .* has 400 pixels on both sides"):
        measured(*networks, folder, 200, SHARED)
