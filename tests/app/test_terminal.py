"""The command at a terminal: a bar that goes away, and sentences instead of waiting or binary data."""

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from sharpbit import zoo

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
COMMAND = Path(sys.executable).with_name("sharpbit")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    y, x = np.mgrid[0:48, 0:64] / 9
    pixels = ((0.5 + 0.4 * np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1)) * 255).astype(np.uint8)
    for name in ("a", "b", "c"):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{name}.png")
    return tmp_path


def at_terminal(*arguments):
    """Exit code and what the terminal got, all three streams being one of 100 columns."""
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = subprocess.Popen([COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # Linux ends a terminal that nobody holds with an error
            piece = b""
        if not piece:
            break
        seen += piece
    os.close(ours)
    return process.wait(timeout=300), seen.decode()


def on_screen(text):
    """What is left to see: a carriage return writes over what was there."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = ""
        for piece in line.split("\r"):
            shown = piece + shown[len(piece) :]
        lines.append(shown.rstrip())
    return [line for line in lines if line]


def test_the_bar_goes_away(folder):
    code, text = at_terminal("upscale", folder / "in", "-o", folder / "out", "-v")
    assert code == 0
    assert "upscaling:" in text
    assert "100%" in text
    lines = on_screen(text)
    assert [line.split(":")[0] for line in lines[:3]] == ["done"] * 3
    assert lines[3].startswith("3 done in ")
    assert len(lines) == 4


def test_a_short_run_shows_no_bar(folder):
    code, text = at_terminal("upscale", folder / "in", "-o", folder / "out", "--skip-existing", "--dry-run")
    assert code == 0
    assert "upscaling:" not in text


@pytest.mark.parametrize(
    ("arguments", "words"), [(["-"], "redirect"), (["in/a.png", "-o", "-"], "redirect"), (["-", "-o", "x.png"], "pipe")]
)
def test_no_binary_to_a_terminal_and_no_waiting_for_it(folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    code, text = at_terminal("upscale", *arguments)
    assert code == 2
    assert words in text
    assert len(on_screen(text)) == 1


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_closed_stream_is_a_sentence(folder, stream):
    line = {"stdin": f"{COMMAND} upscale - -o x.png <&-", "stdout": f"{COMMAND} upscale in/a.png -o - >&-"}[stream]
    done = subprocess.run(line, shell=True, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("sharpbit: ")


def test_an_endless_stream_is_no_endless_memory(folder):
    line = f"head -c 300000000 /dev/zero | {COMMAND} upscale - -o x.png --max-pixels 1000000"
    done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1
    assert "--max-pixels" in done.stderr
    assert not (folder / "x.png").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are not text")
def test_names_that_are_no_text(folder):
    name = os.fsdecode(b"\xff\n.png")
    (folder / "in" / "a.png").rename(folder / "in" / name)
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [COMMAND, "upscale", folder / "in", "-o", folder / "out"]
    done = subprocess.run([*command, "--json"], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "out" / name).exists()
    again = subprocess.run(command, env=environment, capture_output=True)
    assert again.returncode == 1
    assert b"Traceback" not in again.stderr
    assert b"3 failed" in again.stderr


def test_a_broken_model_writes_nothing_to_standard_output(folder):
    """The engine announces its second try there, in front of whatever a pipe expects."""
    model = onnx.load(zoo.path_of("x2-clean-balanced"))
    del model.metadata_props[:]  # of somebody else now: nothing is verified beforehand
    data = model.SerializeToString().replace(b"DepthToSpace", b"DepthToSpac\xff")
    (folder / "bad.onnx").write_bytes(data)
    done = subprocess.run(
        [COMMAND, "upscale", folder / "in", "-o", folder / "out", "-n", folder / "bad.onnx", "--json"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "bad.onnx is not a complete onnx file; get it again" in done.stderr


NAMES = {
    "too long": (["in/a.png", "-o", "n" * 300 + ".png"], 1, "File name too long"),
    "input too long": (["n" * 300 + ".png", "-o", "out"], 1, "File name too long"),
    "empty input": ([""], 2, "is empty"),
    "empty output": (["in/a.png", "-o", ""], 2, "is empty"),
    "empty model": (["in/a.png", "-n", ""], 2, "is empty"),
    "below a file": (["in/a.png", "-o", "in/b.png/x.png"], 1, "Not a directory"),
    "a device for a folder": (["in/a.png", "-o", "/dev/null"], 1, "Not a directory"),
    "a loop of links": (["loop.png"], 1, "symbolic links"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_cannot_be(folder, name):
    arguments, code, words = NAMES[name]
    (folder / "loop.png").symlink_to("loop.png")
    before = sorted(folder.rglob("*"))
    done = subprocess.run([COMMAND, "upscale", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout == ""
    assert words in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("sharpbit: ")
    assert sorted(folder.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_is_not_waited_for_and_a_named_one_is_read(folder):
    pipe = folder / "in" / "pipe.png"
    os.mkfifo(pipe)
    done = subprocess.run([COMMAND, "upscale", folder / "in", "-o", folder / "out"], capture_output=True, timeout=300)
    assert done.returncode == 0
    assert {path.name for path in (folder / "out").iterdir()} == {"a.png", "b.png", "c.png"}
    line = f"cat in/a.png > {pipe} & {COMMAND} upscale {pipe} -o one.png"
    assert subprocess.run(line, shell=True, cwd=folder, capture_output=True, timeout=300).returncode == 0
    assert (folder / "one.png").read_bytes() == (folder / "out" / "a.png").read_bytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_for_a_pipe_can_be_ended(folder, number):
    pipe = folder / "in" / "pipe.png"
    os.mkfifo(pipe)
    process = subprocess.Popen([COMMAND, "upscale", pipe, "-o", folder / "x.png"], stderr=subprocess.PIPE, text=True)
    descriptor = os.open(pipe, os.O_WRONLY)  # waits until the command has opened the other end
    process.send_signal(number)
    try:
        _, told = process.communicate(timeout=300)
    finally:
        process.kill()  # if it is still there
        os.close(descriptor)
    assert process.returncode == 128 + number
    assert "Traceback" not in told
    assert ("terminated" if number == signal.SIGTERM else "interrupted") in told and "nothing to do" not in told
