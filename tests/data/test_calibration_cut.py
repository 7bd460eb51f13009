"""How calibration crops are taken: by detail, at random, or as somebody has prepared them."""

import numpy as np
import pytest
import torch
from PIL import Image

from sharpbit.data.calibration import Cut, from_folder, from_images, split
from sharpbit.errors import ResultWarning, UsageError
from sharpbit.image.resize import shrink


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def pixels(crops):
    return crops.permute(0, 2, 3, 1).numpy()


def test_random_crops_lie_anywhere_in_the_shrunk_image_and_follow_the_seed():
    image = photo(400, 600)
    crops, used = from_images([image, image], 2, Cut(5, 32, "random", seed=3))
    assert (tuple(crops.shape), used) == ((5, 3, 32, 32), 2)
    windows = np.lib.stride_tricks.sliding_window_view(shrink(image, 2)[..., 0], (32, 32))
    where = [np.argwhere((windows == crop[..., 0]).all((2, 3))) for crop in pixels(crops)]
    assert all(len(found) == 1 for found in where)
    assert any((found % 16).any() for found in where)  # those of most detail lie on a raster
    again = [from_images([image, image], 2, Cut(5, 32, "random", seed=seed))[0] for seed in (3, 4)]
    assert torch.equal(crops, again[0])
    assert not torch.equal(crops, again[1])


@pytest.mark.parametrize("scale", [2, 4])
def test_prepared_crops_are_neither_shrunk_nor_cut(tmp_path, scale):
    for number in range(5):
        Image.fromarray(photo(128, 128, number)).save(tmp_path / f"{number}.png")
    crops, used = from_folder(tmp_path, scale, Cut(3, 0, "prepared"))
    assert used == 3
    assert all(np.array_equal(crop, photo(128, 128, number)) for number, crop in enumerate(pixels(crops)))
    middle, _ = from_folder(tmp_path, scale, Cut(3, 64, "prepared"))
    assert np.array_equal(pixels(middle)[2], photo(128, 128, 2)[32:96, 32:96])


def test_prepared_crops_of_two_sizes_are_refused():
    with pytest.raises(UsageError, match="differ in size \\(40x32 and 64x64\\)"):
        from_images([photo(64, 64), photo(32, 40)], 2, Cut(9, 0, "prepared"))


def test_what_looks_like_prepared_crops_is_said():
    small = [photo(128, 128, seed) for seed in range(4)]
    with pytest.warns(ResultWarning, match="--prepared"):
        from_images(small, 2, Cut(4))


def test_random_crops_that_are_kept_come_on_top():
    crops, _ = from_images([photo(200, 200)], 2, Cut(18, 32, "random"))
    assert [len(part) for part in split(crops, Cut(18, 32, "random"))[:2]] == [18, 2]


def test_all_prepared_crops_are_calibrated_on():
    crops = torch.arange(20)
    assert [len(part) for part in split(crops, Cut(20, 0, "prepared"))[:2]] == [20, 20]
    learned, measured, apart = split(crops, Cut())
    assert (len(learned), measured.tolist(), apart) == (18, [9, 19], True)


@pytest.mark.parametrize("given", [{"place": "middle"}, {"count": 0}, {"side": 0}])
def test_wrong_cuts(given):
    with pytest.raises(UsageError):
        Cut(**given)


def test_fewer_crops_than_asked_for_are_said():
    small = [photo(48, 48), photo(20, 48)]  # the second has no room for one
    for cut in (Cut(4, 32, "random"), Cut(2, 32, "prepared")):
        with pytest.warns(ResultWarning, match=f"fewer than the {cut.count}"):
            from_images(small, 1, cut)


def test_the_seed_is_a_fact_where_it_decides():
    assert Cut(4, 32, "random", seed=3).facts(32) == {"side": 32, "place": "random", "seed": 3}
    assert Cut(4, 0, "prepared", seed=3).facts(16) == {"side": 16, "place": "prepared"}
