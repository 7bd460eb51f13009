"""Colours of videos: against the formulas of ITU-T H.273, written here once more; and what files say of them."""

from fractions import Fraction

import numpy as np
import pytest

import sharpbit

av = pytest.importorskip("av", reason="videos need the extra 'video'")

from sharpbit.video.colour import Colour, Painter, colour_of, to_rgb  # noqa: E402
from video_clips import clip  # noqa: E402

FAST = "x2-clean-fast"
WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def frame_of(y, u, v, fmt, matrix, span):
    frame = av.VideoFrame(y.shape[1], y.shape[0], fmt)
    for plane, values in zip(frame.planes, (y, u, v), strict=True):
        rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range = matrix, span
    return frame


def waves(height, width, low, high, seed):
    y, x = np.mgrid[:height, :width]
    return low + (high - low) * (0.5 + 0.5 * np.sin(y / (5 + seed) + x / (6 - seed) + seed))


def formula(y, u, v, matrix, span, bits):
    """RGB from 0 to 1 of planes of one size."""
    red, blue = WEIGHTS[matrix]
    step, most = 1 << (bits - 8), (1 << bits) - 1
    if span == 1:
        y, u, v = (y - 16 * step) / (219 * step), (u - 128 * step) / (224 * step), (v - 128 * step) / (224 * step)
    else:
        y, u, v = y / most, (u - 128 * step) / most, (v - 128 * step) / most
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return np.clip(np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], -1), 0, 1)


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("span", [1, 2])
@pytest.mark.parametrize("bits", [8, 10])
def test_rgb_is_what_the_formulas_give_and_comes_back(matrix, span, bits):
    step, dtype = 1 << (bits - 8), np.uint8 if bits == 8 else np.uint16
    planes = [
        np.rint(waves(48, 64, low * step, high * step, k)).astype(dtype)
        for k, (low, high) in enumerate([(80, 170), (112, 144), (112, 144)])
    ]
    fmt = "yuv444p" if bits == 8 else "yuv444p10le"
    frame = frame_of(*planes, fmt, matrix, span)
    colour = colour_of(frame, "made")
    assert (colour.matrix, colour.range, colour.bits, colour.shift) == (matrix, span, bits, (0, 0))
    rgb = to_rgb(frame, colour)
    wanted = formula(*(plane.astype(float) for plane in planes), matrix, span, bits)
    most = np.iinfo(rgb.dtype).max
    assert np.abs(rgb / most - wanted).max() * 255 < (0.52 if bits == 8 else 0.01)
    again = Painter(frame, colour, (48, 64), fmt, deep=bits > 8)(rgb)
    for plane, values in zip(again.planes, planes, strict=True):
        got = np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width]
        assert np.abs(got.astype(int) - values).max() <= (2 if bits == 8 else 0)
    assert (again.colorspace, again.color_range) == (5 if matrix == 6 and bits == 8 else matrix, span) or (
        again.colorspace == 6 and matrix == 6
    )


@pytest.mark.parametrize("size", [(31, 47), (32, 48)])
def test_grey_stays_grey_and_colour_planes_lie_where_they_did(size):
    """Of 10 bits and half resolution: to RGB and back moves no edge, also where sides are odd."""
    y = np.rint(waves(*size, 64, 940, 1)).astype(np.uint16)
    half = (-(-size[0] // 2), -(-size[1] // 2))
    grey = np.full(half, 512, np.uint16)
    frame = frame_of(y, grey, grey, "yuv420p10le", 9, 1)
    colour = colour_of(frame, "made")
    assert colour.shift == (1, 1)
    rgb = to_rgb(frame, colour)
    assert np.abs(rgb.astype(int) - rgb[..., :1]).max() <= 1
    assert rgb.shape == (*size, 3)
    slope = np.rint(np.linspace(400, 600, half[1]) + np.zeros(half)).astype(np.uint16)
    frame = frame_of(y, slope, slope, "yuv420p10le", 9, 1)
    again = Painter(frame, colour, size, "yuv420p10le", deep=True)(to_rgb(frame, colour))
    got = np.frombuffer(again.planes[1], "<u2").reshape(half[0], -1)[:, : half[1]]
    bright = np.frombuffer(again.planes[0], "<u2").reshape(size[0], -1)[:, : size[1]]
    assert np.abs(bright.astype(int) - y).max() <= 60  # dark and light colours that RGB cannot hold are clipped
    inner = (y > 300) & (y < 700)
    assert inner[::2, ::2].any()
    assert np.median(np.abs(got.astype(int) - slope)[inner[::2, ::2]]) <= 2


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [((1, 1, 1, 1), (1, 1, 1, 1)), ((9, 1, 9, 16), (9, 1, 9, 16)), (None, (6, 1, 2, 2)), ((5, 2, 2, 2), (5, 2, 2, 2))],
)
def test_files_say_what_their_colours_are(tmp_path, tags, wanted):
    """One that says nothing is taken for BT.601 as small as it is; its result says so, however large it is."""
    codec, fmt = ("ffv1", "yuv420p10le") if tags and tags[0] == 9 else ("libx264", "yuv420p")
    source = clip(tmp_path / "a.mkv", 3, codec=codec, pix_fmt=fmt, tags=tags)
    sharpbit.upscale_video(source, tmp_path / "b.mp4", model=FAST if fmt == "yuv420p" else "x2-clean-float")
    with av.open(str(tmp_path / "b.mp4")) as file:
        frame = next(file.decode(video=0))
    got = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    assert tuple(map(int, got)) == wanted or (wanted[0] == 5 and int(got[0]) == 6)
    assert frame.format.name == fmt


def test_rotation_and_the_shape_of_pixels_are_kept(tmp_path):
    source = clip(tmp_path / "a.mp4", 3, turn=90, aspect=Fraction(4, 3))
    report = sharpbit.upscale_video(source, tmp_path / "b.mp4", model=FAST, fit=(64, 96))
    assert report.result_size == (64, 96)  # as stored; a size is asked for as the video is shown
    with av.open(str(tmp_path / "b.mp4")) as file:
        frame = next(file.decode(video=0))
        assert frame.rotation == 90
        assert file.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    with pytest.raises(sharpbit.SharpbitError, match="pixels of 4:3 cannot be written into matroska"):
        sharpbit.upscale_video(source, tmp_path / "b.mkv", model=FAST)


def test_an_interlaced_video_gets_a_note(tmp_path):
    source = clip(tmp_path / "a.mkv", 3, interlaced=True)
    report = sharpbit.upscale_video(source, tmp_path / "b.mkv", model=FAST)
    assert any("is interlaced: each frame holds two moments" in note for note in report.notes)


@pytest.mark.parametrize("encoder", ["av1", "h264", "vp9", "ffv1"])
def test_odd_sizes(tmp_path, encoder):
    source = clip(tmp_path / "a.mkv", 2, size=(33, 51), codec="ffv1")
    report = sharpbit.upscale_video(source, tmp_path / "b.mkv", model="x3-clean-fast", encoder=encoder)
    assert report.result_size == (99, 153)
    with av.open(str(tmp_path / "b.mkv")) as file:
        frame = next(file.decode(video=0))
        assert (frame.height, frame.width) == (99, 153)
        wanted = sharpbit.upscale(to_rgb(frame_at(source), colour_of(frame_at(source), "a")), model="x3-clean-fast")
        assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - wanted).mean() < 6
    assert any("takes odd sizes in full colour" in note for note in report.notes) == (encoder == "h264")


def frame_at(path):
    with av.open(str(path)) as file:
        return next(file.decode(video=0))


def test_streams_that_the_output_cannot_hold_are_named(tmp_path):
    source = clip(tmp_path / "a.mkv", 3, audio=1, subtitles=1, attachment=True)
    report = sharpbit.upscale_video(source, tmp_path / "b.mp4", model=FAST)
    named = [note for note in report.notes if "is not in the result" in note]
    assert len(named) == 2
    assert any("subtitle 2 (subrip, eng)" in note and "mp4 cannot hold it" in note for note in named)
    with pytest.raises(sharpbit.SharpbitError, match="mpegts holds no video of libsvtav1"):
        sharpbit.upscale_video(source, tmp_path / "b.ts", model=FAST)


def test_a_broken_end_is_told_of(tmp_path):
    source = clip(tmp_path / "a.mkv", 48)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    report = sharpbit.upscale_video(source, tmp_path / "b.mkv", model=FAST)
    assert 10 < report.frames < 48
    assert any("before the file says: its end is missing" in note for note in report.notes)


def test_a_tolerance_reuses_what_is_nearly_equal(tmp_path):
    def noisy(number, height, width):
        page = np.full((height, width, 3), 128, np.uint8)
        return page + np.random.default_rng(number).integers(0, 3, page.shape, np.uint8)

    source = clip(tmp_path / "a.mkv", 5, size=(64, 64), codec="ffv1", pix_fmt="bgr0", draw=noisy)
    exact = sharpbit.upscale_video(source, tmp_path / "b.mkv", model=FAST)
    near = sharpbit.upscale_video(source, tmp_path / "c.mkv", model=FAST, tolerance=3)
    assert exact.reused == 0
    assert near.reused == 0.8


def test_a_matrix_that_cannot_be_undone(tmp_path):
    frame = av.VideoFrame(16, 16, "yuv420p10le")
    frame.colorspace = 14
    with pytest.raises(sharpbit.SharpbitError, match="the colours of made are in ICtCp"):
        colour_of(frame, "made")
    assert Colour(1, 1, 1, 1, 10, (1, 1), grey=False, guessed=False).deep
