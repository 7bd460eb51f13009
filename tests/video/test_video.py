"""Videos: all streams kept, all frames right, exact times."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import sharpbit
from sharpbit.pipeline.size import Size

av = pytest.importorskip("av", reason="videos need the extra 'video'")

from sharpbit.video.colour import colour_of, to_rgb  # noqa: E402
from sharpbit.video.opening import Source  # noqa: E402
from video_clips import RATE, clip, frames_of, packets_of, picture, screen  # noqa: E402

FAST = "x2-clean-fast"


@pytest.fixture(scope="session")
def upscaler():
    return sharpbit.Upscaler(FAST, size=Size(2))


def stills(path, upscaler):
    """What each frame becomes as a still image."""
    with av.open(str(path)) as file:
        frames = list(file.decode(file.streams.video[0]))
    colour = colour_of(frames[0], "clip")
    return [sharpbit.upscale(to_rgb(frame, colour), upscaler=upscaler) for frame in frames]


def test_all_streams_metadata_and_chapters_are_kept(tmp_path):
    source = clip(
        tmp_path / "a.mkv",
        audio=2,
        subtitles=2,
        attachment=True,
        chapters=True,
        metadata={"title": "A clip", "artist": "Nobody"},
    )
    report = sharpbit.upscale_video(source, tmp_path / "b.mkv", model=FAST)
    assert report.frames == 10
    assert report.result_size == (64, 96)
    assert packets_of(tmp_path / "b.mkv") == packets_of(source)
    assert len(packets_of(source)) == 5
    with av.open(str(source)) as before, av.open(str(tmp_path / "b.mkv")) as after:
        assert after.chapters() == before.chapters()
        assert after.metadata["title"] == "A clip"
        assert after.metadata["ARTIST"] == "Nobody"
        assert [s.disposition for s in after.streams] == [s.disposition for s in before.streams]
        assert after.streams.video[0].language == "fra"
    assert frames_of(source)[1] == frames_of(tmp_path / "b.mkv")[1]


@pytest.mark.parametrize("bits", [8, 10])
def test_with_a_lossless_encoder_every_frame_is_the_still_image(tmp_path, bits):
    codec, pix_fmt = ("libx264", "yuv420p") if bits == 8 else ("ffv1", "yuv420p10le")
    source = clip(tmp_path / "a.mkv", 5, codec=codec, pix_fmt=pix_fmt)
    model = FAST if bits == 8 else "x2-clean-float"
    sharpbit.upscale_video(source, tmp_path / "b.mkv", model=model, encoder="ffv1")
    wanted = stills(source, sharpbit.Upscaler(model, size=Size(2)))
    with av.open(str(tmp_path / "b.mkv")) as file:
        form = "rgb24" if bits == 8 else "rgb48le"
        got = [frame.to_ndarray(format=form) for frame in file.decode(video=0)]
    assert len(got) == len(wanted) == 5
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path, ending):
    times = [0, 512, 1600, 1700, 3000, 9000, 9512, 20000, 20001, 30000]
    source = clip(tmp_path / f"a.{ending}", times=times, options={"bf": "3"})
    encoder = "h264" if ending == "mov" else "av1"
    sharpbit.upscale_video(source, tmp_path / f"b.{ending}", model=FAST, encoder=encoder)
    before = frames_of(source)[1]
    if ending == "mkv":  # milliseconds: two frames of the source fell onto one
        assert before[8] == before[7]
        before[8] += Fraction(1, 1000)
    assert frames_of(tmp_path / f"b.{ending}")[1] == before
    assert len(before) == 10


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("encoder", ["h265", "h264", "av1"])
def test_of_few_frames_none_is_lost(tmp_path, frames, encoder):
    """Encoders look ahead and show frames in another order than they code them, also where there are hardly any."""
    source = clip(tmp_path / "a.mp4", frames, audio=1)
    sharpbit.upscale_video(source, tmp_path / "b.mp4", model=FAST, encoder=encoder)
    assert frames_of(tmp_path / "b.mp4")[1] == frames_of(source)[1]
    assert packets_of(tmp_path / "b.mp4") == packets_of(source)


def test_parts_that_are_equal_are_reused_and_exactly_right(tmp_path, upscaler):
    source = clip(tmp_path / "a.mkv", 12, size=(96, 128), codec="ffv1", pix_fmt="bgr0", draw=screen)
    report = sharpbit.upscale_video(source, tmp_path / "b.mkv", model=FAST, encoder="ffv1")
    assert report.reused > 0.75  # two of three frames equal the one before, and of the others a part does
    for one, other in zip(frames_of(tmp_path / "b.mkv")[0], stills(source, upscaler), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [{"scale": 1.5}, {"fit": (200, 100)}, {"scale": 6}, {"width": 48}])
def test_any_size_is_that_of_the_still_image(tmp_path, size):
    source = clip(tmp_path / "a.mkv", 3)
    sharpbit.upscale_video(source, tmp_path / "b.mkv", model=FAST, encoder="ffv1", **size)
    turned = {**size, "fit": size["fit"][::-1]} if "fit" in size else size
    wanted = stills(source, sharpbit.Upscaler(FAST, size=Size(**turned)))
    for one, other in zip(frames_of(tmp_path / "b.mkv")[0], wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_late_part_is_sought_and_right(tmp_path, monkeypatch, upscaler):
    source = clip(tmp_path / "a.mp4", 24 * 24, options={"g": "30", "bf": "2"})
    wanted = stills(source, upscaler)[20 * 24 :]
    decoded = []
    own = Source._time
    monkeypatch.setattr(Source, "_time", lambda self, frame, before: (decoded.append(frame), own(self, frame, before)))
    sharpbit.upscale_video(source, tmp_path / "b.mkv", model=FAST, encoder="ffv1", start=20)
    frames, times = frames_of(tmp_path / "b.mkv")
    assert len(frames) == len(wanted) == 96
    assert times[0] == 0
    for one, other in zip(frames, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(decoded) < 24 * 24


MEMORY = """if True:
    import sys, sharpbit
    from sharpbit.video import making, parts
    making.LENGTH = parts.LENGTH = 4
    held, done = [], 0
    def progress(frames):
        global done
        done += frames
        held.append(int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20)
    sharpbit.upscale_video(sys.argv[1], sys.argv[2], model="x2-clean-fast", progress=progress)
    print(max(held[: len(held) // 3]), max(held))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="how much memory a process holds is read from /proc")
def test_a_long_video_takes_no_more_memory_than_a_short_one(tmp_path):
    """Segments are made short here: encoders leave memory behind, a hundred MB for twelve of them."""
    source = clip(tmp_path / "a.mp4", 72, size=(180, 320))
    command = [sys.executable, "-c", MEMORY, str(source), str(tmp_path / "b.mkv")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    early, most = map(int, done.stdout.split())
    assert most < early + 60


def test_a_part_with_its_sound(tmp_path):
    source = clip(tmp_path / "a.mp4", 48, audio=1)
    report = sharpbit.upscale_video(source, tmp_path / "b.mp4", model=FAST, start=0.5, end=1)
    assert report.frames == 12
    _, times = frames_of(tmp_path / "b.mp4")
    assert times == [Fraction(k, RATE) for k in range(12)]
    ((*_, sound),) = packets_of(tmp_path / "b.mp4").values()
    assert 0 <= sound[0][0] < Fraction(1024, 48000)
    assert Fraction(20, 48) < sound[-1][0] < Fraction(1, 2)
    assert picture(12).shape == frames_of(source)[0][12].shape
