"""Preparing training images: where windows lie, what belongs to what, going on after an interruption, mistakes."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from noise_images import noise, put
from sharpbit import image as image_io
from sharpbit.data import prepare as module
from sharpbit.data.prepare import PreparationPlan, prepare, starts
from sharpbit.errors import ImageError, UsageError
from sharpbit.image.resize import shrink


def got(path):
    return np.asarray(Image.open(path))


@pytest.fixture
def source(tmp_path):
    for k, (height, width) in enumerate([(60, 84), (52, 48)]):
        put(tmp_path / "source" / f"{k:04d}.png", noise(k, height, width))
    return tmp_path / "source"


def plan(source, **change):
    return PreparationPlan(source, source.parent / "out", **{"scales": (2, 4), "size": 24, "step": 12} | change)


def published(length, size, step):
    """As the authors' scripts count: a regular grid, and one more window if anything is left over."""
    space = np.arange(0, length - size + 1, step)
    if length - (space[-1] + size) > 0:
        space = np.append(space, length - size)
    return space.tolist()


def test_windows_begin_where_the_published_ones_do():
    for length in range(480, 2100, 4):
        assert starts(length, 480, 240) == published(length, 480, 240)
        assert starts(length // 4, 120, 60) == [at // 4 for at in starts(length, 480, 240)]
    assert starts(2040, 480, 240) == [0, 240, 480, 720, 960, 1200, 1440, 1560]
    assert len(starts(2040, 480, 240)) * len(starts(1356, 480, 240)) == 40  # the usual image of DIV2K
    assert starts(480, 480, 240) == [0]
    assert starts(481, 480, 240) == [0, 1]
    assert starts(300, 480, 240) == [0]


def test_windows_and_partners_are_pieces_of_the_images(source):
    done = prepare(plan(source))
    assert (done.images, done.windows, done.written, done.notes) == (2, 24 + 9, 33, ())
    for k, (height, width) in enumerate([(60, 84), (48, 48)]):  # the second is cut to multiples of 12
        whole = noise(k, *[(60, 84), (52, 48)][k])[:height, :width]
        corners = [(y, x) for y in starts(height, 24, 12) for x in starts(width, 24, 12)]
        assert len(list((source.parent / "out" / "HR").glob(f"000{k}_*"))) == len(corners)
        for number, (y, x) in enumerate(corners, 1):
            name = f"000{k}_s{number:03d}.png"
            assert np.array_equal(got(source.parent / "out" / "HR" / name), whole[y : y + 24, x : x + 24])
            for scale in (2, 4):
                small = shrink(whole, scale)[y // scale : (y + 24) // scale, x // scale : (x + 24) // scale]
                assert np.array_equal(got(source.parent / "out" / "LR_bicubic" / f"X{scale}" / name), small)


@pytest.mark.parametrize("scale", [2, 3])
def test_windows_at_edges_are_the_published_ones_with_a_cut_of_the_scale(tmp_path, scale):
    """Of images whose sides the scale divides, and 12 does not."""
    height, width = 30 * scale + 2 * scale, 41 * scale
    put(tmp_path / "source" / "a.png", noise(7, height, width))
    prepare(PreparationPlan(tmp_path / "source", tmp_path / "out", (scale,), {}, 12 * scale, 6 * scale, cut=scale))
    whole, small = noise(7, height, width), shrink(noise(7, height, width), scale)
    corners = [
        (y, x) for y in published(height, 12 * scale, 6 * scale) for x in published(width, 12 * scale, 6 * scale)
    ]
    for number, (y, x) in enumerate(corners, 1):
        name, side = f"a_s{number:03d}.png", 12 * scale
        assert np.array_equal(got(tmp_path / "out" / "HR" / name), whole[y : y + side, x : x + side])
        low = got(tmp_path / "out" / f"LR_bicubic/X{scale}" / name)
        assert np.array_equal(low, small[y // scale : y // scale + 12, x // scale : x // scale + 12])
    assert len(list((tmp_path / "out" / "HR").iterdir())) == len(corners)
    with pytest.raises(UsageError, match="prepared otherwise \\(cut"):
        prepare(PreparationPlan(tmp_path / "source", tmp_path / "out", (scale,), {}, 12 * scale, 6 * scale))
    with pytest.raises(UsageError, match="does not divide"):
        prepare(PreparationPlan(tmp_path / "source", tmp_path / "new", (2, 3), {}, 36, 18, cut=scale))


def test_official_small_images_are_cut_not_made(source, tmp_path):
    for k, (height, width) in enumerate([(30, 42), (26, 24)]):
        put(tmp_path / "official" / f"{k:04d}x2.png", noise(9 + k, height, width))
    prepare(plan(source, small={2: tmp_path / "official"}))
    assert np.array_equal(got(tmp_path / "out" / "LR_bicubic" / "X2" / "0000_s002.png"), noise(9, 30, 42)[:12, 6:18])
    settings = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert settings["small"] == {"2": str(tmp_path / "official"), "4": "by bicubic"}


def test_many_threads_make_the_same(source, tmp_path):
    prepare(plan(source))
    prepare(PreparationPlan(source, tmp_path / "other", (2, 4), {}, 24, 12), workers=3)
    one, two = (
        {path.relative_to(out): path.read_bytes() for path in out.rglob("*.png")}
        for out in (tmp_path / "out", tmp_path / "other")
    )
    assert one == two


def test_a_second_run_writes_what_is_missing(source, tmp_path):
    prepare(plan(source))
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    gone = [tmp_path / "out" / "HR" / "0000_s003.png", tmp_path / "out" / "LR_bicubic" / "X4" / "0001_s009.png"]
    for path in gone:
        path.unlink()
    times = {path: path.stat().st_mtime_ns for path in before if path not in gone}
    assert prepare(plan(source)).written == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")} == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert prepare(plan(source)).written == 0
    assert prepare(plan(source, scales=(3,))).written == 33  # another scale of the same windows
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4 * 33


def test_a_killed_run_leaves_whole_files_and_goes_on(source, tmp_path):
    for k in range(8):
        put(source / f"more{k}.png", noise(k, 120, 120))
    sizes = ["--scale", "2", "--scale", "4", "--size", "24", "--step", "12", "--workers", "2"]
    command = [sys.executable, "-m", "sharpbit.app.cli", "prepare", str(source), str(tmp_path / "out"), *sizes]
    process = subprocess.Popen(command)
    large = tmp_path / "out" / "HR"
    while process.poll() is None and (not large.exists() or sum(1 for _ in large.iterdir()) < 50):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = list(large.glob("*.png"))
    for path in (tmp_path / "out").rglob("*.png"):
        got(path)
    done = prepare(plan(source))
    assert 0 < done.written <= done.windows - len(before)
    for folder in (large, *(tmp_path / "out" / "LR_bicubic").iterdir()):
        assert len(list(folder.iterdir())) == done.windows  # nothing half done is left either


def test_folders_keep_their_tree_and_small_images_are_noted(tmp_path):
    source = tmp_path / "source"
    put(source / "a" / "one.png", noise(0, 24, 24))
    put(source / "b" / "one.jpg", noise(1, 13, 40))
    put(source / "icon.png", noise(2, 8, 8))
    Image.fromarray(noise(3, 24, 24)[..., 0].astype(np.uint16) * 257).save(source / "deep.png")
    done = prepare(plan(source))
    assert sorted(str(p.relative_to(tmp_path / "out" / "HR")) for p in (tmp_path / "out" / "HR").rglob("*.png")) == [
        "a/one_s001.png",
        "b/one_s001.png",
        "b/one_s002.png",
        "deep_s001.png",
    ]
    assert got(tmp_path / "out" / "HR" / "b" / "one_s002.png").shape == (12, 24, 3)
    assert np.array_equal(got(tmp_path / "out" / "HR" / "deep_s001.png")[..., 1], noise(3, 24, 24)[..., 0])
    assert [note.split(" ", 1)[1] for note in done.notes] == [
        "is smaller than a window of 24 pixels: taken whole on that side",
        "has fewer than 12 pixels on a side: left out",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": (5,)}, "choose 2, 3, 4 or 6"),
        ({"size": 25}, "windows of 25 every 12 pixels cannot be made 2 times smaller"),
        ({"step": 28}, "would leave gaps"),
        ({"small": {3: "."}}, "add --scale 3"),
    ],
)
def test_sizes_that_do_not_fit_together(source, change, message):
    with pytest.raises(UsageError, match=message):
        prepare(plan(source, **change))
    assert not (source.parent / "out").exists()


def test_mistakes_are_named_before_anything_is_written(source, tmp_path):
    official = tmp_path / "official"
    with pytest.raises(UsageError, match=r"no folder .*official of LR images for x2"):
        prepare(plan(source, small={2: official}))
    put(official / "0000x2.png", noise(0, 30, 42))
    with pytest.raises(UsageError, match=r"0001.png has no LR image 0001x2.png in"):
        prepare(plan(source, small={2: official}))
    put(official / "0001x2.png", noise(0, 13, 12))
    with pytest.raises(UsageError, match=r"12x13 pixels, which is not .*0001.png \(48x52\) made 2 times smaller"):
        prepare(plan(source, small={2: official}))
    with pytest.raises(UsageError, match="choose a folder outside"):
        prepare(PreparationPlan(source, source / "out"))
    with pytest.raises(UsageError, match="there is no folder"):
        prepare(PreparationPlan(tmp_path / "none", tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no images"):
        prepare(PreparationPlan(tmp_path / "empty", tmp_path / "out"))
    put(source / "0000.bmp", noise(0, 24, 24))
    with pytest.raises(UsageError, match="differ in their ending only"):
        prepare(plan(source))
    assert not (tmp_path / "out").exists()


def test_a_damaged_image_is_named_and_the_rest_is_kept(source, tmp_path):
    whole = (source / "0001.png").read_bytes()
    (source / "0001.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"0001.png is damaged"):
        prepare(plan(source))
    (source / "0001.png").write_bytes(whole)
    assert prepare(plan(source)).written == 9


def test_a_folder_is_prepared_in_one_way(source, tmp_path):
    prepare(plan(source))
    with pytest.raises(UsageError, match=r"prepared otherwise \(step 12\)"):
        prepare(plan(source, step=24))
    with pytest.raises(UsageError, match=r"LR x2 by bicubic"):
        for k, (height, width) in enumerate([(30, 42), (26, 24)]):
            put(tmp_path / "official" / f"{k:04d}.png", noise(9 + k, height, width))
        prepare(plan(source, small={2: tmp_path / "official"}))
    (tmp_path / "out" / "prepared.json").write_text("[")
    with pytest.raises(UsageError, match="not what this command wrote"):
        prepare(plan(source))
    (tmp_path / "out" / "prepared.json").unlink()
    with pytest.raises(UsageError, match="was not made by this command"):
        prepare(plan(source))


def test_an_interruption_ends_the_threads(source, tmp_path, monkeypatch):
    calls = []

    def read(path):
        calls.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "read", read)
    with pytest.raises(KeyboardInterrupt):
        prepare(plan(source))
    monkeypatch.setattr(module, "read", image_io.read)
    assert prepare(plan(source)).written == 33
