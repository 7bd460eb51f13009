"""The command `video`: what it prints, what it refuses, and how it goes on after it was killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit.app.cli import app

pytest.importorskip("av", reason="videos need the extra 'video'")

from video_clips import clip, frames_of

FAST = ["-n", "x2-clean-fast"]
SHORT = """if True:
    import sharpbit.video.job, sharpbit.video.making, sharpbit.video.parts
    for module in (sharpbit.video.job, sharpbit.video.making, sharpbit.video.parts):
        module.LENGTH = 8
    from sharpbit.app.cli import main
    main()
"""


def run(*arguments):
    return CliRunner().invoke(app, ["video", *map(str, arguments)])


def test_a_video_gets_its_summary(tmp_path):
    clip(tmp_path / "a.mp4")
    done = run(tmp_path / "a.mp4", "-o", tmp_path / "b.mp4", *FAST)
    assert done.exit_code == 0, done.output
    assert "10 frames, 48x32 -> 96x64" in done.output
    assert "[x2-clean-fast; libsvtav1 (BSD-3-Clause-Clear, SVT-AV1)]" in done.output
    assert "BT.601 by its height" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_folder_of_videos(tmp_path):
    for name in ("a.mp4", "in/b.mkv"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        clip(tmp_path / "all" / name, 2)
    (tmp_path / "all" / "c.mp4").write_bytes(b"no video")
    done = run(tmp_path / "all", "-o", tmp_path / "out", "--json", *FAST)
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [report["frames"] for report in found["videos"]] == [2, 2]
    assert "c.mp4 is no video" in found["failed"][0]["error"]
    assert (tmp_path / "out" / "in" / "b.mkv").exists()


@pytest.mark.parametrize(
    ("make", "arguments", "sentence"),
    [
        (None, ["-o", "b.mp4"], "a.mp4 cannot be read: No such file or directory"),
        (lambda path: path.write_bytes(b"text"), ["-o", "b.mp4"], "a.mp4 is no video that can be read"),
        (lambda path: Image.new("RGB", (9, 9)).save(path, "PNG"), ["-o", "b.mp4"], "is an image, not a video; run: sh"),
        (
            lambda path: path.write_bytes(b"YUV4MPEG2 W48 H32 F24:1\n"),
            ["-o", "b.mp4"],
            "a.mp4 has no frame that can be decoded",
        ),
        (lambda path: clip(path, 2), ["-o", "a.mp4"], "a.mp4 exists and was left as it is"),
        (lambda path: clip(path, 2), ["-o", "a.mp4", "--overwrite"], "a.mp4 is the source itself"),
        (lambda path: clip(path, 2), ["-o", "b.xyz"], "the ending .xyz is no format of videos"),
        (lambda path: clip(path, 2), ["-o", "b.mp4", "--encoder", "nix"], "there is no video encoder 'nix' here"),
        (lambda path: clip(path, 2), ["-o", "b.webm", "--encoder", "h264"], "webm holds no video of libx264"),
        (lambda path: clip(path, 2), ["-o", "b.mov"], "mov holds no video of libsvtav1"),
        (
            lambda path: clip(path, 2),
            ["-o", "b.mp4", "--option", "preset=x"],
            "does not take 96x64 yuv420p with the op",
        ),
        (lambda path: clip(path, 2, size=(8, 96)), ["-o", "b.mp4"], "takes no side of less than 32 pixels, and the"),
        (lambda path: clip(path, 2), ["-o", "b.mp4", "--start", "60"], "a.mp4 has no frame in the part"),
        (lambda path: clip(path, 2), ["-o", "b.mp4", "--start", "soon"], "'soon' is not a time in seconds"),
        (lambda path: clip(path, 2), ["-o", "b.mp4", "--option", "sped=9"], "libsvtav1 has no option sped"),
        (
            lambda path: clip(path, 2),
            ["-o", "b.mp4", "--pix-fmt", "no"],
            "libsvtav1 has no pixel format 'no'",
        ),
    ],
)
def test_mistakes_get_one_sentence(tmp_path, monkeypatch, make, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    if make:
        make(tmp_path / "a.mp4")
    done = run("a.mp4", *arguments, *FAST)
    assert done.exit_code in (1, 2)
    assert sentence in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert [path.name for path in tmp_path.iterdir() if path.name != "a.mp4"] == []


def test_sound_alone_is_no_video(tmp_path):
    import av

    with av.open(str(tmp_path / "a.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame(format="s16", layout="stereo", samples=80)
        frame.sample_rate = 8000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        out.mux(stream.encode(frame))
    done = run(tmp_path / "a.wav", "-o", tmp_path / "b.mp4")
    assert "has no video stream, only audio" in done.output


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_run_goes_on_and_gives_the_same(tmp_path, monkeypatch, ending):
    """Segments are made short here, so that a small video has some."""
    clip(tmp_path / "a.mp4", 40, audio=1)
    command = [sys.executable, "-c", SHORT, "video", str(tmp_path / "a.mp4"), *FAST]
    environment = {**os.environ, "SVT_LOG": "1"}
    whole, again = tmp_path / "whole.mkv", tmp_path / "again.mkv"
    subprocess.run([*command, "-o", str(whole)], check=True, env=environment, capture_output=True)
    process = subprocess.Popen([*command, "-o", str(again)], env=environment, stderr=subprocess.PIPE)
    parts = tmp_path / ".again.mkv.parts"
    while process.poll() is None and len(list(parts.glob("*.segment"))) < 2:
        time.sleep(0.01)
    process.send_signal(ending)
    _, said = process.communicate()
    kept = len(list(parts.glob("*.segment")))
    if ending == signal.SIGINT and process.returncode == 130:
        assert b"the same command goes on" in said
    done = subprocess.run([*command, "-o", str(again), "--overwrite"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if kept:
        assert f"{8 * kept} of them kept from an earlier run" in done.stderr
    assert again.read_bytes() == whole.read_bytes()
    assert len(frames_of(again)[0]) == 40
    assert not parts.exists()


def test_a_pipe_of_y4m_goes_in_and_out(tmp_path):
    clip(tmp_path / "a.mkv", 4, codec="ffv1")
    environment = {**os.environ, "SVT_LOG": "1"}
    command = [sys.executable, "-m", "sharpbit", "video"]
    out = subprocess.run(
        [*command, str(tmp_path / "a.mkv"), "-o", "-", *FAST], env=environment, capture_output=True, check=True
    )
    assert out.stdout.startswith(b"YUV4MPEG2 W96 H64 F24:1")
    assert out.stdout.count(b"FRAME\n") == 4
    back = [*command, "-", "-o", str(tmp_path / "b.mkv"), *FAST, "--encoder", "ffv1"]
    subprocess.run(back, input=out.stdout, env=environment, capture_output=True, check=True)
    frames, times = frames_of(tmp_path / "b.mkv")
    assert [frame.shape for frame in frames] == [(128, 192, 3)] * 4
    assert times == sorted(set(times))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("data", [b"", b"not a video at all" * 99, bytes(5000)])
def test_standard_input_that_is_no_y4m(tmp_path, data):
    command = [sys.executable, "-m", "sharpbit", "video", "-", "-o", str(tmp_path / "b.mkv")]
    done = subprocess.run(command, input=data, capture_output=True)
    assert done.returncode == 1
    assert done.stderr == b"sharpbit: standard input is no y4m\n"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_is_no_mistake(tmp_path):
    source = clip(tmp_path / "a.mkv", 24)
    command = [sys.executable, "-m", "sharpbit", "video", str(source), "-o", "-", *FAST]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(9) == b"YUV4MPEG2"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_preview_shows_before_beside_after(tmp_path):
    clip(tmp_path / "a.mkv", 24 * 8, codec="mpeg4")
    done = run(tmp_path / "a.mkv", "--preview", "--encoder", "ffv1", *FAST)
    assert done.exit_code == 0, done.output
    frames, _ = frames_of(tmp_path / "a_preview.mkv")
    assert len(frames) == 96
    assert frames[0].shape == (64, 192, 3)
    before, after = frames[0][:, :94].astype(int), frames[0][:, 96:190].astype(int)
    assert 0 < abs(before - after).mean() < 12


def test_upscale_names_the_videos_of_a_folder(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (16, 16), "red").save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.mp4").touch()
    done = CliRunner().invoke(app, ["upscale", str(tmp_path / "in"), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "b.mp4: ignored: it is a video, which 'sharpbit video' upscales" in done.output


def test_without_pyav_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    done = run(tmp_path / "a.mp4", "-o", tmp_path / "b.mp4")
    assert done.exit_code == 2
    assert (
        done.output
        == "sharpbit: sharpbit video needs packages that are not installed; run: pip install 'sharpbit[video]'\n"
    )
